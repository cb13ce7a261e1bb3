"""Warnings about an accepted schedule."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from publisher.domain.account import AccountId, AccountPolicy
from publisher.domain.capacity import Overload, PlannedSend, find_overloads
from publisher.domain.errors import Problem, Severity
from publisher.domain.post import OneTimeTrigger, Post, PostId, Schedule
from publisher.schedule.cron import find_years_without_holidays, list_cron_times


def find_overdue_posts(schedule: Schedule, now: datetime) -> list[Problem]:
    """Return the one-time posts that are overdue by more than `max_delay`: errors, unless the database has the post.

    Times in the facts are in the zone of `now`.
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
    """Return warnings of posts without accounts, and of posts on working days of a year without holiday data."""
    return [
        *(_make_warning("no_recipients", post=post.id, key="to") for post in schedule.posts if not post.accounts),
        *(
            _make_warning("no_holiday_data", post=post.id, key="days", year=str(year))
            for post in schedule.posts
            for year in find_years_without_holidays(post, start, end, tz)
        ),
    ]


def _make_warning(code: str, **facts: str) -> Problem:
    return Problem(code=code, severity=Severity.WARNING, facts=facts)


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
    """Return warnings of days and months for which an account has more planned than it may send.

    Posts due `asap` that the database has are sent or waiting already; past sends are not counted. Equal overloads of
    several accounts are one warning.
    """
    planned = [
        PlannedSend(post=post.id, account=account, due_at=at, is_urgent=post.is_urgent)
        for post in schedule.posts
        for at in _list_due_times(post, known, now, tz)
        for account in post.accounts
        if account in policies
    ]
    groups: dict[object, list[Overload]] = {}
    for overload in find_overloads(planned, policies, tz):
        key = (overload.limit, overload.period, overload.planned, overload.allowed, overload.posts)
        groups.setdefault(key, []).append(overload)
    posts = {post.id: post for post in schedule.posts}
    return [
        _make_warning(
            f"overloaded_{overload.limit}",
            post=overload.posts[-1],  # the last in line is the first to be moved
            key="at" if isinstance(posts[overload.posts[-1]].trigger, OneTimeTrigger) else "cron",
            account=_join_names([name for item in [overload, *similar] for name in item.accounts]),
            day=overload.period,
            wanted=str(overload.planned),
            allowed=str(overload.allowed),
            posts=_join_names(overload.posts),
        )
        for overload, *similar in groups.values()
    ]


def _list_due_times(post: Post, known: Collection[PostId], now: datetime, tz: ZoneInfo) -> Sequence[datetime]:
    if not isinstance(post.trigger, OneTimeTrigger):
        return list_cron_times(post, now, now + WARNING_WINDOW, tz)
    if post.trigger.at is None:
        return [] if post.id in known else [now]
    return [post.trigger.at] if now <= post.trigger.at <= now + WARNING_WINDOW else []


def _join_names(names: Sequence[str]) -> str:
    more = f" … (+{len(names) - MAX_NAMES})" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
