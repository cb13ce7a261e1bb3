"""Absence needs every clause of its rule."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.delivery import Attempt, Readback
from publisher.domain.results import (
    Deleted,
    NotFound,
    PossibleMatch,
    Published,
    RateLimited,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.domain.verification import proves_absent

SECOND = timedelta(seconds=1)
STARTED = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
ENDED = STARTED + 20 * SECOND
ATTEMPT = Attempt(
    number=2,
    fencing_token=3,
    intended_at=STARTED,
    ended_at=ENDED,
    baseline_at=STARTED - 5 * SECOND,
)
LOOK = Readback(attempt=2, at=ENDED, result=NotFound(covered_since=ATTEMPT.baseline_at))
SHORT = replace(LOOK, result=NotFound(covered_since=ATTEMPT.baseline_at + SECOND))
UNREADABLE = replace(LOOK, result=Unknown(reason="unreadable"))
LIMITED = replace(LOOK, result=RateLimited(code="often", until=None))

TELLING = [
    Published(receipt=Receipt(remote_id="1", url="", published_at=STARTED)),
    Submitted(ticket=Ticket(payload="1"), check_again_at=STARTED),
    Rejected(code="review", reason=""),
    PossibleMatch(remote_id="1", url=""),
    Deleted(),
]


def test_two_complete_readbacks_with_the_newest_after_the_window_show_absence():
    """An earlier readback and one after the window, both complete, prove it."""
    assert proves_absent([LOOK, LOOK], ATTEMPT, is_window_over=True)


def test_an_attempt_that_is_not_over_shows_nothing():
    """While the call may still run, nothing is proven."""
    assert not proves_absent(
        [LOOK, LOOK], replace(ATTEMPT, ended_at=None), is_window_over=True
    )


@pytest.mark.parametrize("readbacks", [[], [LOOK], [UNREADABLE, LOOK], [LIMITED, LOOK]])
def test_one_readback_is_not_enough(readbacks):
    """A single complete readback, even one after the window, even beside a failed read, proves nothing."""
    assert not proves_absent(readbacks, ATTEMPT, is_window_over=True)


@pytest.mark.parametrize("failed", [UNREADABLE, LIMITED])
def test_a_failed_read_prevents_no_absence(failed):
    """A failed or limited read beside two complete ones counts neither for nor against absence."""
    assert proves_absent([LOOK, failed, LOOK], ATTEMPT, is_window_over=True)


def test_readbacks_of_another_attempt_do_not_count():
    """A readback for an earlier attempt proves nothing about this one."""
    assert not proves_absent(
        [replace(LOOK, attempt=1), LOOK], ATTEMPT, is_window_over=True
    )


def test_a_readback_that_does_not_reach_back_does_not_count():
    """A list that ends after the instant before the call is not complete, be it by a second."""
    assert not proves_absent([LOOK, SHORT], ATTEMPT, is_window_over=True)
    assert not proves_absent([SHORT, LOOK], ATTEMPT, is_window_over=True)


def test_the_newest_readback_must_be_after_the_window():
    """F25: a readback before the end of the visibility window is too early to prove absence.

    A partial list after the window does not help.
    """
    assert not proves_absent([LOOK, LOOK], ATTEMPT, is_window_over=False)
    assert not proves_absent([LOOK, LOOK, SHORT], ATTEMPT, is_window_over=True)
    assert not proves_absent([LOOK, LOOK, UNREADABLE], ATTEMPT, is_window_over=True)


@pytest.mark.parametrize("finding", TELLING, ids=lambda finding: type(finding).__name__)
def test_any_other_finding_prevents_it(finding):
    """One readback with a finding outweighs all the others."""
    seen = replace(LOOK, result=finding)
    assert not proves_absent([LOOK, seen, LOOK], ATTEMPT, is_window_over=True)
    assert proves_absent(
        [LOOK, replace(seen, attempt=1), LOOK], ATTEMPT, is_window_over=True
    )


readbacks = st.lists(
    st.builds(
        Readback,
        attempt=st.integers(1, 3),
        at=st.integers(-60, 1200).map(lambda number: ENDED + number * SECOND),
        result=st.sampled_from(
            [LOOK.result, SHORT.result, UNREADABLE.result, *TELLING]
        ),
    ),
    max_size=5,
)


@given(readbacks, st.booleans())
def test_the_wall_clock_changes_nothing(some, is_window_over):
    """Wall-clock times and the readbacks of other attempts do not change the rule.

    Wall-clock times are evidence for people.
    """
    own = [replace(readback, at=ENDED) for readback in some if readback.attempt == 2]
    assert proves_absent(some, ATTEMPT, is_window_over=is_window_over) == proves_absent(
        own, ATTEMPT, is_window_over=is_window_over
    )


@given(readbacks)
def test_failed_readbacks_before_the_newest_change_nothing(some):
    """Failed reads never change the result."""
    telling = [
        readback for readback in some if not isinstance(readback.result, Unknown)
    ]
    assert proves_absent([*some, LOOK], ATTEMPT, is_window_over=True) == proves_absent(
        [*telling, LOOK], ATTEMPT, is_window_over=True
    )


@given(readbacks)
def test_more_time_never_refutes_an_absence(some):
    """A post that is absent before the visibility window ends is absent after it."""
    assert not proves_absent(some, ATTEMPT, is_window_over=False)
