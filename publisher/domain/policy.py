"""What the core keeps to for one account: its limits, its waits, and what its platform allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from math import ceil

from publisher.domain.account import Account, Capabilities

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
READ_INTERVALS_BY_AGE = ((_DAY, 3 * _HOUR), (7 * _DAY, _DAY), (30 * _DAY, 7 * _DAY))
"""Up to which age a post is read how often: much happens on the first day, little after a week."""
MAX_METRICS_AGE = READ_INTERVALS_BY_AGE[-1][0]
"""A post that is older is not read any more."""


def needs_metrics(published_at: datetime, last_read_at: datetime | None, now: datetime, first_after: timedelta) -> bool:
    """Whether a post live since `live_at` should be read again; the first figures come `first_after` it went live."""
    age = now - published_at
    if last_read_at is None:
        return first_after <= age <= MAX_METRICS_AGE
    pace = next((pace for oldest, pace in READ_INTERVALS_BY_AGE if age <= oldest), None)
    return pace is not None and now - last_read_at >= pace


MAX_FINAL_CHECK_DELAY = timedelta(minutes=1)
"""How long the last look that is needed may be away, where the platform can be read."""

CRASH_RETRY_SPREAD = timedelta(seconds=4)
"""What one death ended together is tried again one by one over this time, so that a killer dies the next time alone."""
MAX_CRASH_SPREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """All waits of one platform.

    `request_timeout` bounds one whole call, `lease_timeout` the right to make it, `visibility_window` the time after
    which the platform has surely done and shown all it will. `first_check_after` is the first pause before reading in
    doubt. `review_alert` and `review_hold` bound a review; `blind_hold` bounds a doubt that cannot be read.
    `removal_most` is the longest pause before a removal that does not succeed is asked for again: it may go on for
    ever, and a day's calls are few. `platform_clock_tolerance` covers clocks that disagree.
    """

    request_timeout: timedelta = timedelta(seconds=20)
    lease_timeout: timedelta = timedelta(seconds=40)
    visibility_window: timedelta = timedelta(minutes=10)
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
        """A call ends before its lease, a lease before the settle time: else one call could overtake another."""
        return self.request_timeout < self.lease_timeout < self.visibility_window


def next_retry_at(timing: Timing, failures: int, now: datetime, jitter: float) -> datetime:
    """Give the instant of the next attempt: doubling waits with a cap; `jitter` in [0, 1) adds up to a quarter."""
    wait = min(timing.retry_first * 2.0 ** min(failures, 16), timing.max_retry_delay)
    return now + wait * (1 + jitter / 4)


def next_crash_retry_at(now: datetime, crashes: int, jitter: float) -> datetime:
    """Return when what a dead worker had is tried again: spread by `jitter`, and more widely with each death."""
    return now + CRASH_RETRY_SPREAD * min(crashes, MAX_CRASH_SPREADS) * jitter


def next_delete_at(timing: Timing, attempts: int, now: datetime, jitter: float) -> datetime:
    """Give the instant of the next try to take something down: waits grow fourfold, from seconds to hours."""
    wait = min(timing.retry_first * 4.0 ** min(attempts, 16), timing.max_deletion_delay)
    return now + wait * (1 + jitter / 4)


def next_check_at(
    timing: Timing, readbacks: int, unknown_since: datetime, now: datetime, *, was_read: bool = False
) -> datetime:
    """Give the instant of the next read in doubt: doubling waits, never sleeping past the end of the settle time.

    After that, a list that could be read leaves one look to take: it comes soon, however often reads failed before.
    """
    wait = min(timing.first_check_after * 2.0 ** min(readbacks, 16), timing.max_check_delay)
    settled_at = unknown_since + timing.visibility_window + timedelta(milliseconds=1)
    if now < settled_at:
        return min(now + wait, settled_at)
    return now + (min(wait, MAX_FINAL_CHECK_DELAY) if was_read else wait)


def next_poll_at(timing: Timing, readbacks: int, requested_at: datetime, now: datetime) -> datetime:
    """Give the instant of the next read of a review: when the adapter wants it, or sooner by our own patience."""
    return min(requested_at, now + min(timing.first_check_after * 2.0 ** min(readbacks, 16), timing.max_check_delay))


def compute_jitter(seed: int, count: int) -> float:
    """Spread retries without dice: the same delivery and try always wait the same."""
    return (seed * 2654435761 + count * 40503) % 1024 / 1024


HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """Calls that may create a post, per login: a gap between two, and most in any hour and any day.

    `reserve` is the share of both that only urgent posts may use. Windows slide, so that no fixed window of the
    platform's, wherever it starts, can hold more. A further floor belongs to its post: it counts in no window, and
    follows the login's last call after `floor_gap`, where that is shorter than the gap between two posts.
    """

    min_interval: timedelta
    per_hour: int
    per_day: int
    urgent_share: float = 0.2
    part_interval: timedelta | None = None

    def next_allowed_at(self, sent: Sequence[datetime], now: datetime, *, is_urgent: bool) -> datetime:
        """Give the earliest instant from `now` on at which one more call keeps every limit. `sent` is newest first."""
        allowed = now
        if sent:
            allowed = max(allowed, sent[0] + self.min_interval)
        for window, most in ((HOUR, self.per_hour), (DAY, self.per_day)):
            usable = most if is_urgent else most - self.reserved_for_urgent(most)
            if len(sent) >= usable:
                allowed = max(allowed, sent[usable - 1] + window)
        return allowed

    @property
    def effective_part_interval(self) -> timedelta:
        """How long a login rests between two floors of a post."""
        return self.min_interval if self.part_interval is None else min(self.min_interval, self.part_interval)

    @property
    def always_allowed_calls(self) -> int:
        """How many calls can never fill a window, whoever makes them."""
        return min(most - self.reserved_for_urgent(most) for most in (self.per_hour, self.per_day))

    def reserved_for_urgent(self, limit: int) -> int:
        """How many of `most` calls only urgent posts may use; at least one is always left for the others."""
        return min(ceil(limit * self.urgent_share), limit - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPolicy:
    """One account's terms, as its adapter and the operator together set them."""

    account: Account
    capabilities: Capabilities
    rate_limit: RateLimit
    timing: Timing


MAX_RETRY_AFTER = timedelta(days=366)
MAX_COOLDOWN = timedelta(days=1)
"""A platform that asks for more is asked again after this."""
_MAX_DIGITS = 20


def parse_retry_after(header: str | None, now: datetime) -> datetime | None:
    """Read the header, seconds or a date, as an instant, a year ahead at most.

    None when it is absent, past or unreadable.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
        return now + min(timedelta(seconds=min(int(text), 10**9)), MAX_RETRY_AFTER) if int(text) else None
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(until, now + MAX_RETRY_AFTER) if until > now else None
