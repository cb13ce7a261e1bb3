"""What is not wrong with an accepted schedule, but should be said."""

from datetime import datetime
from zoneinfo import ZoneInfo

from publisher.domain.post import At, Schedule
from publisher.domain.problem import Problem, Severity
from publisher.schedule.times import missing_years


def past_posts(schedule: Schedule, now: datetime) -> list[Problem]:
    """Give the one-off posts whose time is further past than `max_delay`: errors, unless the books know the post.

    Times in the facts are written in the zone of `now`.
    """
    return [
        Problem(
            code="past_time",
            facts={
                "post": post.id,
                "key": "at",
                "at": f"{post.timing.when.astimezone(now.tzinfo):%Y-%m-%d %H:%M:%S}",
                "minutes": f"{post.max_delay.total_seconds() / 60:g}",
            },
        )
        for post in schedule.posts
        if isinstance(post.timing, At) and post.timing.when is not None and post.timing.when + post.max_delay < now
    ]


def warnings_of(schedule: Schedule, start: datetime, end: datetime, tz: ZoneInfo) -> list[Problem]:
    """Give posts that reach no account, and posts on working days of a year whose holidays are not known."""
    unread = [_warning("no_recipients", post=post.id, key="to") for post in schedule.posts if not post.accounts]
    unsure = [
        _warning("no_holiday_data", post=post.id, key="days", year=str(year))
        for post in schedule.posts
        for year in missing_years(post, start, end, tz)
    ]
    return [*unread, *unsure]


def _warning(code: str, **facts: str) -> Problem:
    return Problem(code=code, severity=Severity.WARNING, facts=facts)
