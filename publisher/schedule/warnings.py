"""Warnings about an accepted schedule.

Among them are the days and months with more planned than may be sent.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

from publisher.domain.account import AccountId, AccountPolicy, LoginId, Mode
from publisher.domain.approval import ApprovalRules
from publisher.domain.contacts import MAX_CONTACTS_AGE_DAYS, Contacts
from publisher.domain.errors import Problem, Severity
from publisher.domain.post import (
    CronTrigger,
    EvergreenTrigger,
    OneTimeTrigger,
    Post,
    PostId,
    Schedule,
    Trigger,
)
from publisher.domain.template_rules import EMERGENCY_TOPICS
from publisher.schedule.cron import find_years_without_holidays, list_cron_times
from publisher.schedule.model import POST_KEYS
from publisher.tomlfile.validate import suggest_closest

FAR_FUTURE = timedelta(days=366)
"""An instant further ahead than this is probably a mistyped year."""


def find_overdue_posts(schedule: Schedule, now: datetime) -> list[Problem]:
    """Return the one-time posts overdue by more than `max_delay`.

    They are errors, unless the database has the post. Times in the facts are in the zone of `now`.
    """
    return [
        Problem(
            code="past_time",
            facts={
                "post": post.id,
                "key": "at",
                "at": f"{post.trigger.at.astimezone(now.tzinfo):%Y-%m-%d %H:%M:%S}",
                "minutes": f"{post.max_delay.total_seconds() / 60:g}",
            },
        )
        for post in schedule.posts
        if isinstance(post.trigger, OneTimeTrigger)
        and post.trigger.at is not None
        and post.trigger.at + post.max_delay < now
    ]


def find_early_follow_ups(
    posts: Sequence[Post], originals: Mapping[PostId, Post]
) -> Sequence[Problem]:
    """Return the posts that are due before the one that they follow. They would expire before it.

    It is an error of a new or changed post. A post that has not changed does not hold up the
    original that is moved behind it.
    """
    found = []
    for post in posts:
        original = originals.get(post.follows) if post.follows is not None else None
        at, original_at = _time_of(post), _time_of(original)
        if at is not None and original_at is not None and at < original_at:
            facts = {"post": post.id, "value": str(post.follows), "key": "at"}
            found.append(Problem(code="follows_too_early", facts=facts))
    return found


def find_overtaken_follow_ups(
    post: Post, follow_ups: Iterable[Post]
) -> Sequence[Problem]:
    """Return warnings of the stored posts that follow a post, and are due before it."""
    originals = {post.id: post}
    return [
        _make_warning(
            "followed_too_early", post=post.id, key="at", value=problem.facts["post"]
        )
        for problem in find_early_follow_ups(tuple(follow_ups), originals)
    ]


def _time_of(post: Post | None) -> datetime | None:
    if post is None or not isinstance(post.trigger, OneTimeTrigger):
        return None
    return post.trigger.at


def find_warnings(
    schedule: Schedule, start: datetime, end: datetime, tz: ZoneInfo
) -> list[Problem]:
    """Return warnings of posts without accounts, without holiday data, or with a bad level.

    Posts on working days need holiday data. A bad level is unfounded.
    """
    return [
        *(
            _make_warning("level_without_basis", post=post.id, key="level")
            for post in schedule.posts
            if post.level and not post.data.get("level_basis")
            if (post.kind.traits.topic or post.data.get("topic"))
            not in EMERGENCY_TOPICS
        ),
        *(
            _make_warning("no_recipients", post=post.id, key="to")
            for post in schedule.posts
            if not post.accounts
        ),
        *(
            _make_warning("no_holiday_data", post=post.id, key="days", year=str(year))
            for post in schedule.posts
            for year in find_years_without_holidays(post, start, end, tz)
        ),
    ]


def is_past(post: Post, now: datetime) -> bool:
    """True if every instant of a post is past.

    A post that is due as soon as it is read counts as past.
    """
    if isinstance(post.trigger, CronTrigger):
        return post.trigger.until is not None and post.trigger.until < now
    if isinstance(post.trigger, OneTimeTrigger):
        return post.trigger.at is None or post.trigger.at + post.max_delay < now
    return False


def find_start(trigger: Trigger) -> datetime | None:
    """Return when a post is due, or begins to be, if the schedule says so."""
    match trigger:
        case CronTrigger(since=start) | OneTimeTrigger(at=start):
            return start
        case EvergreenTrigger():
            return None


def find_timing_warnings(
    schedule: Schedule, next_times: Mapping[PostId, Sequence[datetime]], now: datetime
) -> list[Problem]:
    """Return warnings of instants far ahead, and of repeating posts without a next time.

    Far ahead is more than a year. The next times are in `next_times`. Times in the facts are in the
    zone of `now`.
    """
    problems = []
    for post in schedule.posts:
        is_repeating = isinstance(post.trigger, CronTrigger)
        start = find_start(post.trigger)
        for key, moment in (
            ("from" if is_repeating else "at", start),
            ("expires", post.expires_at),
        ):
            if moment is not None and moment - now > FAR_FUTURE:
                local, days = moment.astimezone(now.tzinfo), (moment - now).days
                date = {
                    "year": str(local.year),
                    "month": str(local.month),
                    "day": str(local.day),
                }
                clock = f"{local:%H:%M}"
                problems.append(
                    _make_warning(
                        "far_future",
                        post=post.id,
                        key=key,
                        **date,
                        clock=clock,
                        days=str(days),
                    )
                )
                break  # one mistyped year is often in both
        if is_repeating and not next_times.get(post.id):
            problems.append(_make_warning("cron_never", post=post.id, key="cron"))
    return problems


def find_misplaced_data(
    schedule: Schedule, data_keys: Mapping[str, Collection[str]]
) -> list[Problem]:
    """Return warnings of data that a post's template does not use.

    A template that names no keys may use any.
    """
    problems = []
    for post in schedule.posts:
        used = data_keys.get(post.template, ())
        for name in post.data if used else ():
            if name in used:
                continue
            facts = {
                "post": post.id,
                "key": f"data.{name}",
                "name": name,
                "template": post.template,
            }
            if name in POST_KEYS:
                problems.append(_make_warning("key_of_post", **facts))
            else:
                problems.append(
                    _make_warning(
                        "data_not_used",
                        **facts,
                        choices=suggest_closest(name, sorted(used)),
                    )
                )
    return problems


def find_lone_approvals(schedule: Schedule, rules: ApprovalRules) -> list[Problem]:
    """Return warnings of posts that two people should approve, and fewer do."""
    return [
        _make_warning(
            "kind_needs_two", post=post.id, key="kind", field="kind", kind=post.kind
        )
        for post in schedule.posts
        if rules.lacks_second(post.kind)
    ]


def find_old_contacts(contacts: Contacts, now: datetime) -> list[Problem]:
    """Return a warning of a list of public numbers that nobody has checked for a year."""
    if (now.date() - contacts.checked).days <= MAX_CONTACTS_AGE_DAYS:
        return []
    return [_make_warning("contacts_old", day=contacts.checked.isoformat())]


def find_follow_up_warnings(schedule: Schedule) -> list[Problem]:
    """Return warnings of posts that name accounts without the post they follow.

    That post is not published on these accounts.
    """
    posts = {post.id: post for post in schedule.posts}
    return [
        _make_warning(
            "follows_elsewhere",
            post=post.id,
            key="to",
            original=original.id,
            accounts=_join_names(missing),
        )
        for post in schedule.posts
        if post.follows is not None
        and (original := posts.get(post.follows)) is not None
        and (
            missing := [
                account for account in post.accounts if account not in original.accounts
            ]
        )
    ]


def _make_warning(code: str, **facts: str) -> Problem:
    return Problem(code=code, severity=Severity.WARNING, facts=facts)


DAY_FORMAT, MONTH_FORMAT = "%Y-%m-%d", "%Y-%m"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSend:
    """One occurrence of a post that is due on one account."""

    post: PostId
    account: AccountId
    due_at: datetime
    is_urgent: bool


class LimitKind(StrEnum):
    """The exceeded limit.

    It is calls a day, calls a day for routine posts, notifications a day or a month.
    """

    DAY = "day"
    ROUTINE = "routine"
    NOTIFICATIONS_DAY = "notices_day"
    NOTIFICATIONS_MONTH = "notices_month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """A day or month with more planned than allowed.

    `posts` are in due order; `accounts` share one login's calls.
    """

    limit: LimitKind
    accounts: tuple[AccountId, ...]
    period: str
    planned: int
    allowed: int
    posts: tuple[PostId, ...]


def find_overloads(
    planned_sends: Iterable[PlannedSend],
    policies: Mapping[AccountId, AccountPolicy],
    zone: tzinfo,
) -> list[Overload]:
    """Return every day and month with more planned for a login or account than its limits allow.

    Calls are counted by days of `zone`, notifications by the platform's own calendar. Manual posts
    use no calls.
    """
    calls: dict[tuple[LoginId, str], list[PlannedSend]] = defaultdict(list)
    notifications: dict[tuple[AccountId, LimitKind, str], list[PlannedSend]] = (
        defaultdict(list)
    )
    for planned in sorted(
        planned_sends,
        key=lambda planned: (planned.due_at, planned.post, planned.account),
    ):
        account = policies[planned.account].account
        if account.mode is not Mode.API:
            continue
        calls[account.login, f"{planned.due_at.astimezone(zone):{DAY_FORMAT}}"].append(
            planned
        )
        if planned.is_urgent:
            at = planned.due_at.astimezone(
                policies[planned.account].capabilities.notification_limit.zone
            )
            notifications[
                planned.account, LimitKind.NOTIFICATIONS_DAY, f"{at:{DAY_FORMAT}}"
            ].append(planned)
            notifications[
                planned.account, LimitKind.NOTIFICATIONS_MONTH, f"{at:{MONTH_FORMAT}}"
            ].append(planned)
    overloads: list[Overload] = []
    for (_login, day), sends in calls.items():
        rate_limit = policies[sends[0].account].rate_limit
        routine = [planned for planned in sends if not planned.is_urgent]
        routine_limit = rate_limit.per_day - rate_limit.reserved_for_urgent(
            rate_limit.per_day
        )
        if len(sends) > rate_limit.per_day:
            overloads.append(
                _make_overload(LimitKind.DAY, day, sends, rate_limit.per_day)
            )
        elif len(routine) > routine_limit:
            overloads.append(
                _make_overload(LimitKind.ROUTINE, day, routine, routine_limit)
            )
    for (account_id, kind, period), sends in notifications.items():
        capabilities = policies[account_id].capabilities
        limit = capabilities.notification_limit
        allowed = (
            limit.per_month if kind is LimitKind.NOTIFICATIONS_MONTH else limit.per_day
        )
        if (
            capabilities.notifies_followers
            and allowed is not None
            and len(sends) > allowed
        ):
            overloads.append(_make_overload(kind, period, sends, allowed))
    return overloads


def _make_overload(
    limit: LimitKind, period: str, planned_sends: Sequence[PlannedSend], allowed: int
) -> Overload:
    return Overload(
        limit=limit,
        accounts=tuple(sorted({planned.account for planned in planned_sends})),
        period=period,
        planned=len(planned_sends),
        allowed=allowed,
        posts=tuple(dict.fromkeys(planned.post for planned in planned_sends)),
    )


WARNING_WINDOW = timedelta(days=31)
"""How far ahead planned sends are counted: a whole month, as notification limits are monthly."""
MAX_NAMES = 6
"""At most this many posts or accounts are listed; the rest are counted."""


def find_capacity_warnings(
    schedule: Schedule,
    policies: Mapping[AccountId, AccountPolicy],
    known: Collection[PostId],
    now: datetime,
    tz: ZoneInfo,
) -> list[Problem]:
    """Return warnings of days and months with more planned for an account than it may send.

    Posts due `asap` that the database has are sent or waiting already; past sends are not counted.
    Equal overloads of several accounts are one warning. Overloads of several days are one warning
    too: the first day, with the number of the others.
    """
    planned: list[PlannedSend] = []
    for post in schedule.posts:
        if not isinstance(post.trigger, OneTimeTrigger):
            times = list_cron_times(post, now, now + WARNING_WINDOW, tz)
        elif post.trigger.at is None:
            times = [] if post.id in known else [now]
        else:
            times = (
                [post.trigger.at]
                if now <= post.trigger.at <= now + WARNING_WINDOW
                else []
            )
        planned += [
            PlannedSend(
                post=post.id, account=account, due_at=at, is_urgent=post.is_urgent
            )
            for at in times
            for account in post.accounts
            if account in policies
        ]
    groups: dict[object, list[Overload]] = {}
    for overload in find_overloads(planned, policies, tz):
        key = (
            overload.limit,
            overload.period,
            overload.planned,
            overload.allowed,
            overload.posts,
        )
        groups.setdefault(key, []).append(overload)
    posts = {post.id: post for post in schedule.posts}
    warnings: dict[tuple[str, str, int], list[Problem]] = {}
    for overload, *similar in groups.values():
        accounts = _join_names(
            [name for item in [overload, *similar] for name in item.accounts]
        )
        warnings.setdefault((overload.limit, accounts, overload.allowed), []).append(
            _make_warning(
                f"overloaded_{overload.limit}",
                post=overload.posts[-1],  # the last in line is the first to be moved
                key="at"
                if isinstance(posts[overload.posts[-1]].trigger, OneTimeTrigger)
                else "cron",
                account=accounts,
                day=overload.period,
                wanted=str(overload.planned),
                allowed=str(overload.allowed),
                posts=_join_names(overload.posts),
            )
        )
    return [
        replace(first, facts={**first.facts, "similar": str(len(others))})
        if others
        else first
        for first, *others in warnings.values()
    ]


def _join_names(names: Sequence[str]) -> str:
    more = f" … (+{len(names) - MAX_NAMES})" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
