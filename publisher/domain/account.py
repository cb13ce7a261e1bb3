"""Accounts, the capabilities of their platforms, and their policies. Pure.

A policy sets rate limits, waits and retry times.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from enum import StrEnum
from math import ceil
from typing import Any, NewType, Protocol

Platform = NewType("Platform", str)
AccountId = NewType("AccountId", str)
LoginId = NewType("LoginId", str)
RegionCode = NewType("RegionCode", str)


class Mode(StrEnum):
    API = "api"
    ASSISTED = "assisted"
    OFF = "off"


BEIJING = timezone(timedelta(hours=8))
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationLimit:
    """How many posts that notify followers a platform accepts from an account; None means no limit.

    Days and months are counted in `zone`, the platform's time zone, not the workspace's.
    """

    per_day: int | None = None
    per_month: int | None = None
    zone: tzinfo = BEIJING


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One identity that posts in one place, such as one forum of a platform that has several.

    `profile` names the set of API calls that the platform has granted the login. On an exclusive
    account only publisher posts. `options` are specific to the adapter.
    """

    id: AccountId
    platform: Platform
    identity: str
    secret: str
    region: RegionCode | None = None
    mode: Mode = Mode.API
    forum: str | None = None
    link_template: str | None = None
    base_url: str | None = None
    public_ip: str | None = None
    has_accepted_risk: bool = False
    profile: str | None = None
    is_exclusive: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def login(self) -> LoginId:
        """The credentials of the account.

        Accounts that share them share a rate limit and one call at a time.
        """
        return LoginId(f"{self.platform}/{self.secret}")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Presence:
    """One identity in one place: the account on its platform, apart from its id and address here.

    `server` is the address of a private server. It is empty if the platform is one place for
    everybody. A platform may know an identity by several spellings, such as a number and a user
    name. Each spelling is a presence.
    """

    platform: Platform
    server: str
    forum: str
    identity: str

    def __post_init__(self) -> None:
        for name in ("forum", "identity"):
            object.__setattr__(
                self, name, unicodedata.normalize("NFC", getattr(self, name)).strip()
            )

    def __str__(self) -> str:
        """Return the identity and its place on the platform, as shown to people and stored.

        An attempt stores this text.
        """
        text = f"{self.identity} / {self.forum}" if self.forum else self.identity
        return f"{text} ({self.server})" if self.server else text


def make_presence(account: Account, server: str) -> Presence:
    """Return the account's presence on its platform."""
    return Presence(
        platform=account.platform,
        server=server,
        forum=account.forum or "",
        identity=account.identity,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The calls and limits of a platform, and how long its results take to become visible.

    `count_text` counts text as the platform does. `server_delay` is the longest time until a call
    takes effect after its response was lost. `listing_lag` is the longest time until a list shows
    the post. `list_size` is how many of the newest posts a list returns, None if it can be paged
    without end. `can_resend`: proven absence allows a second call. `can_retract`: a call deletes a
    post. Without such a call `retract` is never called, and a person deletes the post.
    `first_metrics_after` is how long after publishing the metrics are first worth reading.
    `monitor_interval` is how often the account's list may be read to check that published posts
    still exist. `max_extra_parts` is the number of further parts that a long text may be split
    into, each a call of its own. `notifies_followers`: followers are notified of a new post. If
    not, an urgent post is published silently. `notification_limit` bounds the urgent posts that
    notify. `line_ending` ends the lines of a text as the platform's own editor writes them.
    `picture_length` is how much of the text limit each picture takes. `max_picture_bytes` is the
    size of the largest picture that every call takes: a larger one is shrunk as it is added to a
    post. `has_deletions_in_metrics`: a post that the platform leaves out of its metrics may be
    deleted, so it is worth checking by itself. `longest_review` is how long a review may hide a
    post from the account's own list. It is 0 where that list shows the post. `account_url` is the
    page on which the account's owner sees all its posts, including posts under review.
    `posting_url` is the page on which a person posts as the account. `has_preview`: the adapter is
    a `PostPreviewer`. `prefers_short`: posts are short even where more would be taken.
    """

    count_text: Callable[[str], int]
    text_limit: int
    title_limits: tuple[int, int]
    picture_limit: int
    server_delay: timedelta
    listing_lag: timedelta
    list_size: int | None
    can_resend: bool
    can_retract: bool = True
    is_article: bool = False
    max_extra_parts: int = 0
    notifies_followers: bool = True
    notification_limit: NotificationLimit = field(default_factory=NotificationLimit)
    first_metrics_after: timedelta = timedelta(hours=1)
    monitor_interval: timedelta = timedelta(hours=1)
    has_deletions_in_metrics: bool = False
    longest_review: timedelta = timedelta(0)
    account_url: str | None = None
    posting_url: str | None = None
    has_preview: bool = False
    line_ending: str = "\n"
    picture_length: int = 0
    max_picture_bytes: int | None = None
    prefers_short: bool = False

    @property
    def has_title(self) -> bool:
        """True if the platform has titles.

        If a title may be empty, the shipped `default.txt` prints it in the text.
        """
        return self.title_limits[0] > 0

    def text_limit_beside(self, picture_count: int) -> int:
        """Return the limit of a text that has so many pictures."""
        return self.text_limit - self.picture_length * picture_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """All waits of one platform.

    `request_timeout` bounds one whole call, `lease_timeout` the right to make it. After
    `visibility_window` every effect of a call is surely visible, unless a review hides it. No
    review hides it after `review_window`, which is 0 where lists show posts under review.
    `first_check_after` is the wait before the first readback of an unknown outcome.
    `review_alert_after` and `review_hold_after` bound a review, `unreadable_hold_after` an unknown
    outcome that cannot be read. `max_deletion_delay` is the longest wait between two deletion
    attempts. They may repeat for ever, and the calls of a day are few. `platform_clock_tolerance`
    covers the difference to the platform's clock.
    """

    request_timeout: timedelta = timedelta(seconds=20)
    lease_timeout: timedelta = timedelta(seconds=40)
    visibility_window: timedelta = timedelta(minutes=10)
    review_window: timedelta = timedelta(0)
    first_check_after: timedelta = timedelta(seconds=30)
    max_check_delay: timedelta = timedelta(minutes=15)
    retry_first: timedelta = timedelta(seconds=5)
    max_retry_delay: timedelta = timedelta(minutes=10)
    review_alert_after: timedelta = timedelta(minutes=30)
    review_hold_after: timedelta = timedelta(hours=2)
    unreadable_hold_after: timedelta = timedelta(hours=2)
    max_deletion_delay: timedelta = timedelta(hours=6)
    platform_clock_tolerance: timedelta = timedelta(minutes=2)

    @property
    def has_valid_order(self) -> bool:
        """True if a call ends before its lease and a lease before the window.

        Otherwise one call could overtake another.
        """
        return self.request_timeout < self.lease_timeout < self.visibility_window


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """Limits per login of calls that may create a post: minimum interval, calls per hour and day.

    `urgent_share` is the share of both counts that is reserved for urgent posts. Windows slide, so
    that no fixed window of the platform holds more, wherever it starts. A further part of a post
    counts in no window. It follows the login's last call after `part_interval` if that is shorter
    than `min_interval`.
    """

    min_interval: timedelta
    per_hour: int
    per_day: int
    urgent_share: float = 0.2
    part_interval: timedelta | None = None

    def next_allowed_at(
        self, sent: Sequence[datetime], now: datetime, *, is_urgent: bool
    ) -> datetime:
        """Return the earliest time from `now` on at which one more call keeps every limit.

        `sent` is newest first.
        """
        allowed_at = now
        if sent:
            allowed_at = max(allowed_at, sent[0] + self.min_interval)
        for window, limit in ((HOUR, self.per_hour), (DAY, self.per_day)):
            usable = limit if is_urgent else limit - self.reserved_for_urgent(limit)
            if len(sent) >= usable:
                allowed_at = max(allowed_at, sent[usable - 1] + window)
        return allowed_at

    @property
    def effective_part_interval(self) -> timedelta:
        """The shortest time between two parts of a post."""
        return (
            self.min_interval
            if self.part_interval is None
            else min(self.min_interval, self.part_interval)
        )

    @property
    def always_allowed_calls(self) -> int:
        """The number of calls that fit into every window even without the urgent share."""
        return min(
            limit - self.reserved_for_urgent(limit)
            for limit in (self.per_hour, self.per_day)
        )

    def reserved_for_urgent(self, limit: int) -> int:
        """Return how many of `limit` calls are reserved for urgent posts.

        At least one is left for the others.
        """
        return min(ceil(limit * self.urgent_share), limit - 1)


class CallMethod(Protocol):
    """Return the name of the method that would send a rendered post now.

    The name is empty if there is only one method.
    """

    def __call__(self, rendered: Any, *, is_urgent: bool) -> str: ...  # noqa: ANN401 # posts know accounts


def has_one_method(rendered: object, *, is_urgent: bool) -> str:  # noqa: ARG001 # a CallMethod
    """Name no method: the platform has only one."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPolicy:
    """The policy of one account, set by its adapter and the operator.

    `server` is the server of its `presence`, the account's identity on its platform.
    """

    account: Account
    capabilities: Capabilities
    rate_limit: RateLimit
    timing: Timing
    call_method: CallMethod = has_one_method
    server: str = ""
    presence: Presence = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "presence", make_presence(self.account, self.server))

    @property
    def identity(self) -> str:
        """The account's presence on its platform as text, for attempts and for people.

        It is stored with each attempt.
        """
        return str(self.presence)


MAX_BACKOFF_STEPS = 16
"""Bound of the backoff exponent against overflow. A delay reaches its maximum long before."""


def backoff_delay(
    first: timedelta, steps: int, maximum: timedelta, factor: float = 2.0
) -> timedelta:
    """Return an exponential backoff: `first` times `factor` for each step, at most `maximum`."""
    return min(first * factor ** min(steps, MAX_BACKOFF_STEPS), maximum)


MAX_FINAL_CHECK_DELAY = timedelta(minutes=1)
"""Longest wait for the final readback of an unknown outcome, if the platform is readable."""

MAX_REVIEW_CHECK_DELAY = timedelta(hours=1)
"""Longest wait between two readbacks of a post that a review may hide: daily reads are few."""

CRASH_RETRY_SPREAD = timedelta(seconds=4)
"""Time span for the retries of a crashed worker's deliveries.

The spread makes a poison delivery crash alone.
"""
MAX_CRASH_SPREADS = 8


def next_retry_at(
    timing: Timing, failures: int, now: datetime, jitter: float
) -> datetime:
    """Return the time of the next attempt: doubling waits with a cap.

    `jitter` in [0, 1) adds up to a quarter.
    """
    return now + backoff_delay(timing.retry_first, failures, timing.max_retry_delay) * (
        1 + jitter / 4
    )


def next_crash_retry_at(now: datetime, crashes: int, jitter: float) -> datetime:
    """Return the time of the next attempt after a worker crash.

    It is spread by `jitter`, more widely with each crash.
    """
    return now + CRASH_RETRY_SPREAD * min(crashes, MAX_CRASH_SPREADS) * jitter


def next_delete_at(
    timing: Timing, attempts: int, now: datetime, jitter: float
) -> datetime:
    """Return the time of the next deletion attempt: waits grow fourfold, from seconds to hours."""
    return now + backoff_delay(
        timing.retry_first, attempts, timing.max_deletion_delay, factor=4.0
    ) * (1 + jitter / 4)


def next_check_at(
    timing: Timing,
    readbacks: int,
    unknown_since: datetime,
    now: datetime,
    *,
    was_read: bool = False,
) -> datetime:
    """Return the time of the next readback: doubling waits, never past the visibility window.

    After the window, a successful read leaves one final readback. It comes soon, however many reads
    failed before.
    """
    wait = backoff_delay(timing.first_check_after, readbacks, timing.max_check_delay)
    visible_at = unknown_since + timing.visibility_window + timedelta(milliseconds=1)
    if now < visible_at:
        return min(now + wait, visible_at)
    return now + (min(wait, MAX_FINAL_CHECK_DELAY) if was_read else wait)


def review_ends_at(timing: Timing, unknown_since: datetime) -> datetime:
    """Return the end of the time that a review can hide a post.

    Before it, no absence allows a second call.
    """
    return unknown_since + timing.review_window + timedelta(milliseconds=1)


def next_review_check_at(
    timing: Timing, unknown_since: datetime, now: datetime
) -> datetime:
    """Return the time of the next readback of a post that only a review can hide any more.

    The waits grow with its age, up to MAX_REVIEW_CHECK_DELAY, but never past the end of the longest
    review.
    """
    reviewed_at = review_ends_at(timing, unknown_since)
    if now < reviewed_at:
        wait = max(now - unknown_since, timing.first_check_after)
        return min(now + min(wait, MAX_REVIEW_CHECK_DELAY), reviewed_at)
    return now + min(now - reviewed_at + MAX_FINAL_CHECK_DELAY, timing.max_check_delay)


def next_poll_at(
    timing: Timing, readbacks: int, requested_at: datetime, now: datetime
) -> datetime:
    """Return the time of the next ticket check: the adapter's time, or our own timing if sooner."""
    return min(
        requested_at,
        now
        + backoff_delay(timing.first_check_after, readbacks, timing.max_check_delay),
    )


def compute_jitter(seed: int, count: int) -> float:
    """Return a deterministic jitter in [0, 1), equal for the same delivery and attempt."""
    return (seed * 2654435761 + count * 40503) % 1024 / 1024


READ_INTERVALS_BY_AGE = ((DAY, 3 * HOUR), (7 * DAY, DAY), (30 * DAY, 7 * DAY))
"""Pairs of maximum age and read interval. Metrics change fast on day one, slowly after a week."""
MAX_METRICS_AGE = READ_INTERVALS_BY_AGE[-1][0]
"""Metrics of an older post are no longer read."""


def needs_metrics(
    published_at: datetime,
    last_read_at: datetime | None,
    now: datetime,
    first_after: timedelta,
) -> bool:
    """True if the metrics of a published post are due, first `first_after` its publishing."""
    age = now - published_at
    if last_read_at is None:
        return first_after <= age <= MAX_METRICS_AGE
    interval = next(
        (interval for max_age, interval in READ_INTERVALS_BY_AGE if age <= max_age),
        None,
    )
    return interval is not None and now - last_read_at >= interval


MAX_RETRY_AFTER = timedelta(days=366)
MAX_COOLDOWN = timedelta(days=1)
"""Upper bound of a cooldown that a platform asks for."""
_MAX_DIGITS = 20


def parse_retry_after(header: str | None, now: datetime) -> datetime | None:
    """Return the time in a Retry-After header of seconds or a date, at most a year ahead.

    Return None if the header is absent, past or unreadable.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
        return (
            now + min(timedelta(seconds=min(int(text), 10**9)), MAX_RETRY_AFTER)
            if int(text)
            else None
        )
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(until, now + MAX_RETRY_AFTER) if until > now else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFiles:
    """The files that a process has read at its start.

    These are the hashes of publisher.toml and of the workspace's templates, and the accounts.
    """

    settings: str
    templates: str
    accounts: frozenset[AccountId] = frozenset()
