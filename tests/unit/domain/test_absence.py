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
ATTEMPT = Attempt(number=2, fencing_token=3, intended_at=STARTED, ended_at=ENDED, baseline_at=STARTED - 5 * SECOND)
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


def test_two_whole_looks_of_which_the_newest_is_settled_show_absence():
    """An earlier and a settled whole look prove it."""
    assert proves_absent([LOOK, LOOK], ATTEMPT, is_window_over=True)


def test_an_attempt_that_is_not_over_shows_nothing():
    """While the call may still run, nothing is proven."""
    assert not proves_absent([LOOK, LOOK], replace(ATTEMPT, ended_at=None), is_window_over=True)


@pytest.mark.parametrize("looks", [[], [LOOK], [UNREADABLE, LOOK], [LIMITED, LOOK]])
def test_one_look_is_not_enough(looks):
    """A single whole look, even a settled one, even beside a failed read, proves nothing."""
    assert not proves_absent(looks, ATTEMPT, is_window_over=True)


@pytest.mark.parametrize("failed", [UNREADABLE, LIMITED])
def test_a_read_that_brought_nothing_stands_against_no_absence(failed):
    """A failed or limited read beside two whole ones neither counts for them nor against them."""
    assert proves_absent([LOOK, failed, LOOK], ATTEMPT, is_window_over=True)


def test_looks_of_another_attempt_do_not_count():
    """What was seen for an earlier attempt says nothing of this one."""
    assert not proves_absent([replace(LOOK, attempt=1), LOOK], ATTEMPT, is_window_over=True)


def test_a_look_that_does_not_reach_back_does_not_count():
    """A list that ends after the instant before the call is not whole, be it by a second."""
    assert not proves_absent([LOOK, SHORT], ATTEMPT, is_window_over=True)
    assert not proves_absent([SHORT, LOOK], ATTEMPT, is_window_over=True)


def test_the_newest_look_must_be_settled():
    """F25: a look before the end of the settle time is too early; a short list after it does not help."""
    assert not proves_absent([LOOK, LOOK], ATTEMPT, is_window_over=False)
    assert not proves_absent([LOOK, LOOK, SHORT], ATTEMPT, is_window_over=True)
    assert not proves_absent([LOOK, LOOK, UNREADABLE], ATTEMPT, is_window_over=True)


@pytest.mark.parametrize("finding", TELLING, ids=lambda finding: type(finding).__name__)
def test_any_other_finding_forbids_it(finding):
    """One look that showed something outweighs all that showed nothing."""
    seen = replace(LOOK, result=finding)
    assert not proves_absent([LOOK, seen, LOOK], ATTEMPT, is_window_over=True)
    assert proves_absent([LOOK, replace(seen, attempt=1), LOOK], ATTEMPT, is_window_over=True)


looks = st.lists(
    st.builds(
        Readback,
        attempt=st.integers(1, 3),
        at=st.integers(-60, 1200).map(lambda number: ENDED + number * SECOND),
        result=st.sampled_from([LOOK.result, SHORT.result, UNREADABLE.result, *TELLING]),
    ),
    max_size=5,
)


@given(looks, st.booleans())
def test_what_the_wall_clock_showed_changes_nothing(some, is_settled):
    """Instants of looks are evidence for people, not for the rule; looks of other attempts do not count."""
    own = [replace(look, at=ENDED) for look in some if look.attempt == 2]
    assert proves_absent(some, ATTEMPT, is_window_over=is_settled) == proves_absent(
        own, ATTEMPT, is_window_over=is_settled
    )


@given(looks)
def test_failed_looks_before_the_newest_change_nothing(some):
    """Failed reads never tip the scale."""
    telling = [look for look in some if not isinstance(look.result, Unknown)]
    assert proves_absent([*some, LOOK], ATTEMPT, is_window_over=True) == proves_absent(
        [*telling, LOOK], ATTEMPT, is_window_over=True
    )


@given(looks)
def test_more_patience_never_proves_more(some):
    """What is absent before the settle time is absent after it."""
    assert not proves_absent(some, ATTEMPT, is_window_over=False)
