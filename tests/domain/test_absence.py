"""Absence needs every clause of its rule."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.absence import shows_absence
from publisher.domain.delivery import Attempt, Look
from publisher.domain.outcome import (
    Gone,
    Lookalike,
    Missing,
    Published,
    RateLimited,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)

SECOND = timedelta(seconds=1)
STARTED = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
ENDED = STARTED + 20 * SECOND
SETTLE = timedelta(minutes=10)
ATTEMPT = Attempt(number=2, epoch=3, intended_at=STARTED, ended_at=ENDED, since=STARTED - 5 * SECOND)
WHOLE = Missing(back_to=ATTEMPT.since)
FIRST = Look(attempt=2, at=ENDED + 30 * SECOND, finding=WHOLE)
LAST = Look(attempt=2, at=ENDED + SETTLE + SECOND, finding=WHOLE)
UNREADABLE = Look(attempt=2, at=LAST.at, finding=Unknown(reason="unreadable"))
LIMITED = Look(attempt=2, at=LAST.at, finding=RateLimited(code="often", until=None))

TELLING = [
    Published(receipt=Receipt(remote_id="1", url="", live_at=STARTED)),
    Submitted(ticket=Ticket(number="1"), look_again_at=STARTED),
    Rejected(code="review", reason=""),
    Lookalike(remote_id="1", url=""),
    Gone(),
]


def test_two_whole_looks_of_which_one_is_late_show_absence():
    """An early and a late whole look prove it, in whatever order they are handed in."""
    assert shows_absence([FIRST, LAST], ATTEMPT, SETTLE)
    assert shows_absence([LAST, FIRST], ATTEMPT, SETTLE)


def test_an_attempt_that_is_not_over_shows_nothing():
    """While the call may still run, nothing is proven."""
    assert not shows_absence([FIRST, LAST], replace(ATTEMPT, ended_at=None), SETTLE)


@pytest.mark.parametrize("looks", [[], [LAST], [LAST, UNREADABLE], [LAST, LIMITED]])
def test_one_look_is_not_enough(looks):
    """A single whole look, even a late one, even beside a failed read, proves nothing."""
    assert not shows_absence(looks, ATTEMPT, SETTLE)


@pytest.mark.parametrize("failed", [UNREADABLE, LIMITED])
def test_a_read_that_brought_nothing_stands_against_no_absence(failed):
    """A failed or limited read beside two whole ones neither counts for them nor against them."""
    assert shows_absence([FIRST, failed, LAST], ATTEMPT, SETTLE)


def test_looks_of_another_attempt_do_not_count():
    """What was seen for an earlier attempt says nothing of this one."""
    assert not shows_absence([replace(FIRST, attempt=1), LAST], ATTEMPT, SETTLE)


def test_a_look_that_does_not_reach_back_does_not_count():
    """A list that ends after the instant before the call is not whole, be it by a second."""
    short = Missing(back_to=ATTEMPT.since + SECOND)
    assert not shows_absence([FIRST, replace(LAST, finding=short)], ATTEMPT, SETTLE)
    assert not shows_absence([replace(FIRST, finding=short), LAST], ATTEMPT, SETTLE)


def test_the_last_look_must_come_after_the_settle_time():
    """F25: a look at the very end of the settle time is too early; a short list after it does not help."""
    at_the_end = replace(LAST, at=ENDED + SETTLE)
    short_and_late = replace(LAST, finding=Missing(back_to=LAST.at))
    assert not shows_absence([FIRST, at_the_end], ATTEMPT, SETTLE)
    assert not shows_absence([FIRST, at_the_end, short_and_late], ATTEMPT, SETTLE)


@pytest.mark.parametrize("finding", TELLING, ids=lambda finding: type(finding).__name__)
def test_any_other_finding_forbids_it(finding):
    """One look that showed something outweighs all that showed nothing."""
    seen = Look(attempt=2, at=FIRST.at, finding=finding)
    assert not shows_absence([FIRST, seen, LAST], ATTEMPT, SETTLE)
    assert shows_absence([FIRST, replace(seen, attempt=1), LAST], ATTEMPT, SETTLE)


looks = st.lists(
    st.builds(
        Look,
        attempt=st.integers(1, 3),
        at=st.integers(-60, 1200).map(lambda number: ENDED + number * SECOND),
        finding=st.sampled_from([WHOLE, Missing(back_to=ENDED), Unknown(reason="unreadable"), *TELLING]),
    ),
    max_size=5,
)


@given(looks)
def test_failed_and_foreign_looks_change_nothing(some):
    """Failed reads and looks of other attempts never tip the scale; nor does the order."""
    telling = [look for look in some if look.attempt == 2 and not isinstance(look.finding, Unknown)]
    assert shows_absence(some, ATTEMPT, SETTLE) == shows_absence(telling, ATTEMPT, SETTLE)
    assert shows_absence(some, ATTEMPT, SETTLE) == shows_absence(some[::-1], ATTEMPT, SETTLE)


@given(looks, st.integers(1, 1200))
def test_more_patience_never_proves_more(some, longer):
    """What is absent after a longer settle time is absent after a shorter one."""
    if shows_absence(some, ATTEMPT, SETTLE + longer * SECOND):
        assert shows_absence(some, ATTEMPT, SETTLE)
