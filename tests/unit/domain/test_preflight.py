"""The time of a login check before its posts, and the posts that its limits leave out."""

from datetime import timedelta

import pytest

from publisher.domain.account import RateLimit
from publisher.domain.post import DeliveryId
from publisher.domain.preflight import (
    ExpectedCall,
    LoginProof,
    find_late_calls,
    is_check_due,
    needs_check,
)
from publisher.testing.fakes import START_TIME

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
DUE = START_TIME + 24 * HOUR


def checks_before_a_post(proof_at):
    """Return the lead times of the checks of a working login before a post.

    A minute passes between two looks.
    """
    proof, found = LoginProof(checked_at=proof_at, is_working=True), []
    for minute in range(24 * 60):
        now = START_TIME + minute * MINUTE
        if needs_check([DUE], proof, now):
            proof = LoginProof(checked_at=now, is_working=True)
            found.append(DUE - now)
    return found


@pytest.mark.parametrize(
    ("proof_age", "expected"),
    [(7 * HOUR, [24 * HOUR, HOUR, 5 * MINUTE]), (5 * HOUR, [HOUR, 5 * MINUTE])],
    ids=["old", "checked on this day"],
)
def test_a_login_is_checked_24_hours_1_hour_and_5_minutes_before_a_post(
    proof_age, expected
):
    """Each time once, and not where it was checked shortly before."""
    assert checks_before_a_post(START_TIME - proof_age) == expected


def test_a_login_that_has_just_published_needs_no_check():
    """A busy account is not read before each of its posts: some platforms allow few reads a day."""
    proof = LoginProof(
        checked_at=START_TIME, is_working=True, published_at=DUE - 8 * MINUTE
    )
    assert not needs_check([DUE], proof, DUE - 4 * MINUTE)
    assert needs_check(
        [DUE], LoginProof(checked_at=START_TIME, is_working=True), DUE - 4 * MINUTE
    )


@pytest.mark.parametrize(
    ("before", "interval"),
    [(3 * HOUR, 30 * MINUTE), (50 * MINUTE, 5 * MINUTE)],
    ids=["a day", "an hour"],
)
def test_a_login_that_does_not_work_is_checked_again_and_again(before, interval):
    """A failing login is checked every half hour, in the last hour every five minutes.

    The alert therefore ends soon after its cause.
    """
    now = DUE - before
    assert needs_check([DUE], LoginProof(checked_at=now - interval), now)
    assert not needs_check([DUE], LoginProof(checked_at=now - interval + MINUTE), now)


def test_no_login_is_checked_shortly_before_one_of_its_posts():
    """A platform that hangs must not make the post wait for the answer to a check."""
    proof = LoginProof(checked_at=START_TIME)
    assert not needs_check([DUE, DUE - 9 * HOUR], proof, DUE - 9 * HOUR - MINUTE)
    assert needs_check([DUE], proof, DUE - 2 * MINUTE)


def test_what_a_post_needs_is_read_again_at_each_time_before_it():
    """Once after each of the three times, and not in between."""
    assert is_check_due(DUE, None, START_TIME)
    assert not is_check_due(DUE, START_TIME, DUE - 2 * HOUR)
    assert is_check_due(DUE, START_TIME, DUE - HOUR)
    assert not is_check_due(DUE, DUE - HOUR, DUE - 6 * MINUTE)
    assert is_check_due(DUE, DUE - HOUR, DUE - 5 * MINUTE)


def call(number, minute, *, max_delay=30):
    due_at = START_TIME + minute * MINUTE
    latest_at = due_at + max_delay * MINUTE
    return ExpectedCall(
        delivery=DeliveryId(number), due_at=due_at, latest_at=latest_at, is_urgent=True
    )


def test_calls_that_a_limit_delays_too_much_are_found():
    """With three an hour, the fourth of nine o'clock is too late, and the one of ten is not."""
    limit = RateLimit(min_interval=timedelta(0), per_hour=3, per_day=100)
    calls = [*(call(number, 0) for number in range(4)), call(9, 60)]
    assert [late.delivery for late in find_late_calls(calls, [], limit)] == [3]
    assert [
        late.delivery for late in find_late_calls(calls, [START_TIME - MINUTE], limit)
    ] == [
        2,
        3,
    ]


def test_calls_that_only_wait_for_the_gap_are_in_time():
    """Thirty posts of one minute are sent one after the other within half an hour."""
    limit = RateLimit(min_interval=MINUTE, per_hour=100, per_day=100)
    assert find_late_calls([call(number, 0) for number in range(31)], [], limit) == []
    assert (
        len(find_late_calls([call(number, 0) for number in range(33)], [], limit)) == 2
    )
