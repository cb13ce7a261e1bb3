"""The silence clock counts calendar days; a report's figures count days of a period."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from publisher.domain.silence import (
    AccountActivity,
    SilenceFigures,
    SilenceLevel,
    measure_silence,
    read_silence_clock,
)

BEIJING = ZoneInfo("Asia/Shanghai")
POSTED_AT = datetime(2026, 11, 1, 15, 30, tzinfo=UTC)
"""Half an hour before midnight in Beijing."""


def on(day, hour=12):
    return datetime(2026, 11, day, hour, tzinfo=BEIJING)


@pytest.mark.parametrize(
    ("days", "level"),
    [
        (0, SilenceLevel.NONE),
        (9, SilenceLevel.NONE),
        (10, SilenceLevel.NOTICE),
        (11, SilenceLevel.NOTICE),
        (12, SilenceLevel.ALARM),
        (13, SilenceLevel.ALARM),
        (14, SilenceLevel.RED),
        (400, SilenceLevel.RED),
    ],
)
def test_the_level_rises_on_days_10_12_and_14(days, level):
    """A notice comes on the tenth day without a post, an alarm on the twelfth.

    From the fourteenth day on the level is red.
    """
    activity = AccountActivity(
        known_since=POSTED_AT - timedelta(days=99), last_post_at=POSTED_AT
    )
    clock = read_silence_clock(activity, POSTED_AT + timedelta(days=days), BEIJING)
    assert (clock.days, clock.level) == (days, level)


def test_days_begin_at_midnight_in_the_workspaces_zone():
    """A post shortly before midnight is a day old half an hour later in Beijing, and not in UTC."""
    activity = AccountActivity(known_since=POSTED_AT, last_post_at=POSTED_AT)
    later = POSTED_AT + timedelta(minutes=31)
    assert read_silence_clock(activity, later, BEIJING).days == 1
    assert read_silence_clock(activity, later, UTC).days == 0
    assert read_silence_clock(activity, later, BEIJING).red_on == date(2026, 11, 15)


def test_without_a_post_the_clock_counts_from_the_day_on_which_the_account_was_first_known():
    """A new account is not overdue on its first day.

    The silence of an account dated ahead is never less than zero days.
    """
    clock = read_silence_clock(AccountActivity(known_since=on(3)), on(13), BEIJING)
    assert (clock.days, clock.level, clock.last_post_at) == (
        10,
        SilenceLevel.NOTICE,
        None,
    )
    assert (
        read_silence_clock(AccountActivity(known_since=on(20)), on(13), BEIJING).days
        == 0
    )


@pytest.mark.parametrize(
    ("posts", "figures"),
    [
        pytest.param([], SilenceFigures(longest=30, red_days=17), id="none at all"),
        pytest.param(
            [on(1), on(10), on(20), on(30)],
            SilenceFigures(longest=9, red_days=0),
            id="kept up",
        ),
        pytest.param(
            [on(1), on(15)],
            SilenceFigures(longest=15, red_days=2),
            id="silent at the end",
        ),
        pytest.param(
            [on(16)],
            SilenceFigures(longest=15, red_days=3),
            id="silent at the beginning",
        ),
        pytest.param(
            [on(5, 0), on(5, 23)],
            SilenceFigures(longest=25, red_days=12),
            id="two on one day",
        ),
    ],
)
def test_a_report_counts_the_longest_silence_and_the_days_from_the_fourteenth_on(
    posts, figures
):
    """Of November, for an account that is known since the last day of October."""
    known_since = on(1) - timedelta(days=1)
    assert (
        measure_silence(
            known_since, posts, date(2026, 11, 1), date(2026, 11, 30), BEIJING
        )
        == figures
    )


def test_a_silence_that_began_before_the_period_counts_from_its_beginning():
    """In a week without a post the whole silence is reported.

    The days before the week are not counted as red.
    """
    posts = [on(1)]
    figures = measure_silence(
        on(1), posts, date(2026, 11, 20), date(2026, 11, 26), BEIJING
    )
    assert figures == SilenceFigures(longest=25, red_days=7)


def test_a_period_before_the_account_was_known_has_no_silence():
    """Days from before the database knew the account have no silence."""
    figures = measure_silence(
        on(20), [], date(2026, 11, 1), date(2026, 11, 10), BEIJING
    )
    assert figures == SilenceFigures(longest=0, red_days=0)
