"""What is not wrong with an accepted schedule, but should be said."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from publisher.domain.account import AccountId
from publisher.domain.capacity import Overload, PlannedSend, find_overloads
from publisher.domain.errors import Problem, Severity
from publisher.domain.policy import AccountPolicy
from publisher.domain.post import OneTimeTrigger, Post, PostId, Schedule
from publisher.schedule.cron import find_years_without_holidays, list_cron_times


def find_overdue_posts(schedule: Schedule, now: datetime) -> list[Problem]:
    """Give the one-off posts whose time is further past than `max_delay`: errors, unless the books know the post.

    Times in the facts are written in the zone of `now`.
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


def find_warnings(schedule: Schedule, start: datetime, end: datetime, tz: ZoneInfo) -> list[Problem]:
    """Give posts that reach no account, and posts on working days of a year whose holidays are not known."""
    unread = [_make_warning("no_recipients", post=post.id, key="to") for post in schedule.posts if not post.accounts]
    unsure = [
        _make_warning("no_holiday_data", post=post.id, key="days", year=str(year))
        for post in schedule.posts
        for year in find_years_without_holidays(post, start, end, tz)
    ]
    return [*unread, *unsure]


def _make_warning(code: str, **facts: str) -> Problem:
    return Problem(code=code, severity=Severity.WARNING, facts=facts)


WARNING_WINDOW = timedelta(days=31)
"""How far ahead a plan is counted: a whole month of notices."""
MAX_NAMES = 6
"""So many posts or accounts are named; of the others their number."""


def find_capacity_warnings(
    schedule: Schedule,
    policies: Mapping[AccountId, AccountPolicy],
    known: Collection[PostId],
    now: datetime,
    tz: ZoneInfo,
) -> list[Problem]:
    """Warn of days and months in which an account is asked for more than it may send.

    Posts due `asap` that the books know went out, or wait, already; what is past is not counted.
    """
    wishes = [
        PlannedSend(post=post.id, account=account, due_at=at, is_urgent=post.is_urgent)
        for post in schedule.posts
        for at in _list_due_times(post, known, now, tz)
        for account in post.accounts
        if account in policies
    ]
    posts = {post.id: post for post in schedule.posts}
    return [_make_capacity_warning(alike, posts) for alike in _group_alike(find_overloads(wishes, policies, tz))]


def _list_due_times(post: Post, known: Collection[PostId], now: datetime, tz: ZoneInfo) -> Sequence[datetime]:
    if not isinstance(post.trigger, OneTimeTrigger):
        return list_cron_times(post, now, now + WARNING_WINDOW, tz)
    if post.trigger.at is None:
        return [] if post.id in known else [now]
    return [post.trigger.at] if now <= post.trigger.at <= now + WARNING_WINDOW else []


def _group_alike(overloads: Sequence[Overload]) -> Iterator[list[Overload]]:
    """Put together what is the same on many accounts."""
    groups: dict[object, list[Overload]] = {}
    for crowd in overloads:
        groups.setdefault((crowd.limit, crowd.period, crowd.planned, crowd.allowed, crowd.posts), []).append(crowd)
    yield from groups.values()


def _make_capacity_warning(overloads: Sequence[Overload], posts: Mapping[PostId, Post]) -> Problem:
    """Point to the post that is last in line: it is the first to be moved."""
    crowd, accounts = overloads[0], [name for crowd in overloads for name in crowd.accounts]
    last = crowd.posts[-1]
    facts = {
        "post": last,
        "key": "at" if isinstance(posts[last].trigger, OneTimeTrigger) else "cron",
        "account": _join_names(accounts),
        "day": crowd.period,
        "wanted": str(crowd.planned),
        "allowed": str(crowd.allowed),
        "posts": _join_names(crowd.posts),
    }
    return Problem(code=f"overloaded_{crowd.limit}", severity=Severity.WARNING, facts=facts)


def _join_names(names: Sequence[str]) -> str:
    more = f" … (+{len(names) - MAX_NAMES})" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
