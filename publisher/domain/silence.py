"""The silence clock: the days of an account without a new post. Pure.

Inspections report 14 of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum
from itertools import pairwise


class SilenceLevel(StrEnum):
    """How near an account is to the limit of inspections, by the days since its last post."""

    NONE = "none"
    NOTICE = "notice"
    ALARM = "alarm"
    RED = "red"


RED_DAYS = 14
"""From this day on an inspection reports the account as not kept up."""
FIRST_DAY_OF_LEVEL = {
    SilenceLevel.RED: RED_DAYS,
    SilenceLevel.ALARM: 12,
    SilenceLevel.NOTICE: 10,
    SilenceLevel.NONE: 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountActivity:
    """When the database first knew an account, and when its newest present post was published.

    The post counts if it is verified and still there.
    """

    known_since: datetime
    last_post_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceClock:
    """The days of the calendar since an account's last verified post, or since `since` without one.

    `red_on` is the first day at RED_DAYS if nothing is published.
    """

    since: date
    days: int
    last_post_at: datetime | None

    @property
    def level(self) -> SilenceLevel:
        return next(
            level
            for level, first_day in FIRST_DAY_OF_LEVEL.items()
            if self.days >= first_day
        )

    @property
    def red_on(self) -> date:
        return self.since + timedelta(days=RED_DAYS)


def read_silence_clock(
    activity: AccountActivity, now: datetime, timezone: tzinfo
) -> SilenceClock:
    """Return an account's clock. Its days begin at midnight in this zone."""
    since = (activity.last_post_at or activity.known_since).astimezone(timezone).date()
    # a clock that was wrong may have dated it ahead
    days = max(0, (now.astimezone(timezone).date() - since).days)
    return SilenceClock(since=since, days=days, last_post_at=activity.last_post_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceFigures:
    """The silence of an account within some days: the longest, and the days at RED_DAYS or more.

    `days_now` is how long it has been silent until now.
    """

    longest: int
    red_days: int
    days_now: int = 0


def measure_silence(
    known_since: datetime,
    posts: Sequence[datetime],
    first: date,
    last: date,
    timezone: tzinfo,
) -> SilenceFigures:
    """Return the figures of the days from `first` to `last`, by the publishing times of posts.

    Only posts that are still there count. A silence that began before counts from its beginning.
    Days before the account was known count for nothing.
    """
    known_on = known_since.astimezone(timezone).date()
    days = sorted({known_on, *(at.astimezone(timezone).date() for at in posts)})
    longest = red_days = 0
    for since, until in pairwise(
        [*(day for day in days if day <= last), last + timedelta(days=1)]
    ):
        last_silent = until - timedelta(
            days=1
        )  # on the day of a post its account is not silent
        if last_silent < first:
            continue
        longest = max(longest, (last_silent - since).days)
        red_from = max(since + timedelta(days=RED_DAYS), first)
        red_days += max(0, (until - red_from).days)
    return SilenceFigures(longest=longest, red_days=red_days)
