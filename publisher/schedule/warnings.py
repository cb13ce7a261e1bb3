"""What is not wrong with an accepted schedule, but should be said."""

from datetime import datetime
from zoneinfo import ZoneInfo

from publisher.domain.post import OneTimeTrigger, Schedule
from publisher.domain.problem import Problem, Severity
from publisher.schedule.cron import find_years_without_holidays


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
