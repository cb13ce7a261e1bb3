"""When repeating posts are due."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from publisher.domain.post import CronTrigger, Post
from publisher.schedule.cron import (
    count_times,
    find_next_occurrence,
    find_years_without_holidays,
    is_working_day,
    list_cron_times,
)
from publisher.schedule.load import parse_schedule
from tests.unit.schedule.contexts import CONTEXT, ZONE, post

MONDAY = datetime(2026, 11, 23, tzinfo=ZONE)
"""A Monday by the local calendar."""


def repeating(cron: str, more: str = "") -> Post:
    return parse_schedule(post(at=f'cron = "{cron}"\n{more}'), context=CONTEXT).posts[0]


def days(
    cron: str, more: str = "", *, start: datetime = MONDAY, length: int = 7
) -> list[str]:
    moments = list_cron_times(
        repeating(cron, more), start, start + timedelta(days=length, seconds=-1), ZONE
    )
    assert all(moment.tzinfo is UTC for moment in moments)
    return [f"{moment.astimezone(ZONE):%a %d %H:%M}" for moment in moments]


@pytest.mark.parametrize("weekdays", ["1-5", "mon-fri", "MON-FRI", "1,2,3,4,5"])
def test_one_to_five_is_monday_to_friday(weekdays: str) -> None:
    """In a week that is known to begin on a Monday, 1-5 means Monday to Friday."""
    assert days(f"0 9 * * {weekdays}") == [
        f"{name} {23 + number} 09:00"
        for number, name in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri"))
    ]


@pytest.mark.parametrize("sunday", ["0", "7", "sun", "SUN"])
def test_sunday_has_two_numbers(sunday: str) -> None:
    """Sunday is 0 as well as 7."""
    assert days(f"30 8 * * {sunday}") == ["Sun 29 08:30"]


def test_the_zone_is_the_workspace_s() -> None:
    """Nine o'clock is one o'clock in UTC, for bounds in any zone."""
    start = MONDAY.astimezone(ZoneInfo("America/New_York"))
    assert list_cron_times(
        repeating("0 9 * * *"), start, start + timedelta(hours=12), ZONE
    ) == [datetime(2026, 11, 23, 1, tzinfo=UTC)]


def test_both_ends_are_included() -> None:
    """An instant at either end of the window belongs to it; one a microsecond outside does not."""
    start = datetime(2026, 11, 23, 1, tzinfo=UTC)
    daily, day, little = (
        repeating("0 9 * * *"),
        timedelta(days=1),
        timedelta(microseconds=1),
    )
    assert list_cron_times(daily, start, start + day, ZONE) == [start, start + day]
    assert list_cron_times(daily, start + little, start + day - little, ZONE) == []


def test_from_and_until_bound_the_instants() -> None:
    """Nothing is due before `from` or after `until`, and both instants themselves count."""
    limits = "from = 2026-11-24T09:00:00\nuntil = 2026-11-26T09:00:00"
    assert days("0 9 * * *", limits) == ["Tue 24 09:00", "Wed 25 09:00", "Thu 26 09:00"]


def test_working_days_follow_the_yearly_arrangement() -> None:
    """Around the Spring Festival of 2026 holidays are left out.

    The make-up Saturdays are kept.
    """
    start = datetime(2026, 2, 13, tzinfo=ZONE)
    assert days("0 9 * * *", 'days = "working"', start=start, length=17) == [
        "Fri 13 09:00",
        "Sat 14 09:00",
        "Tue 24 09:00",
        "Wed 25 09:00",
        "Thu 26 09:00",
        "Fri 27 09:00",
        "Sat 28 09:00",
    ]


def test_a_year_without_an_arrangement_has_plain_weekdays() -> None:
    """Without known holidays, Monday to Friday are working days, and the year is reported."""
    start = datetime(2098, 10, 1, tzinfo=ZONE)
    cron = repeating("0 9 * * *", 'days = "working"')
    assert is_working_day(date(2098, 10, 1)) is True
    assert find_years_without_holidays(
        cron, start, start + timedelta(days=1), ZONE
    ) == [2098]
    assert (
        find_years_without_holidays(cron, MONDAY, MONDAY + timedelta(days=1), ZONE)
        == []
    )
    assert find_years_without_holidays(repeating("0 9 * * *"), start, start, ZONE) == []


def test_a_one_off_has_no_instants_of_its_own() -> None:
    """Only repeating posts have instants to compute."""
    (once,) = parse_schedule(post(), context=CONTEXT).posts
    assert list_cron_times(once, MONDAY, MONDAY + timedelta(days=700), ZONE) == []


def test_a_post_that_begins_later_is_previewed_at_its_first_time() -> None:
    """The next occurrence is the one to be sent, however far ahead it begins.

    Without one the preview is for now.
    """
    later = repeating("0 9 * * mon", "from = 2027-06-01T00:00:00")
    assert find_next_occurrence(later, MONDAY, ZONE).due_at == datetime(
        2027, 6, 7, 1, tzinfo=UTC
    )
    assert (
        find_next_occurrence(later, MONDAY, ZONE).key.occurrence
        == "2027-06-07T01:00:00+00:00"
    )
    over = repeating("0 9 * * mon", "until = 2020-06-01T00:00:00")
    assert find_next_occurrence(over, MONDAY, ZONE).due_at == MONDAY


def test_an_hour_that_is_skipped_still_comes_once() -> None:
    """Where clocks are put forward, a time that does not exist is due once, right after."""
    zone = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 3, 29, tzinfo=zone)
    moments = list_cron_times(
        repeating("30 2 * * *"), start, start + timedelta(hours=20), zone
    )
    assert moments == [datetime(2026, 3, 29, 1, tzinfo=UTC)]


def test_shanghai_has_no_clock_changes() -> None:
    """A daily post is due every 24 hours all year round."""
    daily = repeating("0 9 * * *")
    assert isinstance(daily.trigger, CronTrigger)
    moments = list_cron_times(daily, MONDAY, MONDAY + timedelta(days=365), ZONE)
    assert {later - sooner for sooner, later in pairwise(moments)} == {
        timedelta(days=1)
    }


@pytest.mark.parametrize(
    ("cron", "more"),
    [
        ("0 * * * *", ""),
        ("*/30 8-19 * * *", ""),
        ("* * * * *", "from = 2026-11-23T09:00:00\nuntil = 2026-11-23T09:23:00"),
    ],
)
def test_a_post_may_come_once_an_hour_or_more_often_for_a_while(
    cron: str, more: str
) -> None:
    """As often as any warning is repeated, and a bounded number of times at a pace beyond that."""
    assert len(days(cron, more, length=1)) == 24


def test_a_post_that_begins_later_is_counted_from_its_beginning():
    """The times ahead of an account are bounded, however far away a post begins."""
    week = timedelta(days=7)
    now = repeating("0 * * * *")
    later = repeating("0 * * * *", "from = 2027-03-01T00:00:00")
    numbers = [count_times(one, MONDAY, MONDAY + week, ZONE) for one in (now, later)]
    assert numbers == [7 * 24 + 1] * 2
