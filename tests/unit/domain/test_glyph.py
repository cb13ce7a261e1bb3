"""The seven signs: each state has one, and a state that needs a person stands out."""

import pytest

from publisher.domain.delivery import State
from publisher.domain.glyph import (
    GLYPHS,
    UNPUBLISHED_STATES,
    Glyph,
    choose_glyph,
    worst_glyph,
)


@pytest.mark.parametrize(
    ("state", "glyph"),
    [
        (State.PENDING, "waiting"),
        (State.DUE, "sending"),
        (State.CLAIMED, "sending"),
        (State.SENDING, "sending"),
        (State.RETRYING, "sending"),
        (State.SUBMITTED, "checking"),
        (State.UNKNOWN, "checking"),
        (State.RETRACTING, "checking"),
        (State.HELD, "action"),
        (State.PUBLISHED, "published"),
        (State.FAILED, "failed"),
        (State.EXPIRED, "failed"),
        (State.REMOVED, "failed"),
        (State.RETRACTED, "ended"),
        (State.CANCELLED, "ended"),
    ],
)
def test_each_state_has_its_sign(state, glyph):
    """Of the fifteen states each has exactly one of the seven signs."""
    assert choose_glyph(state) == glyph
    assert set(GLYPHS) == set(State)


@pytest.mark.parametrize("state", State)
def test_what_needs_a_person_has_their_sign(state):
    """Whatever the state, a person's part stands out."""
    assert choose_glyph(state, needs_person=True) is Glyph.ACTION


def test_what_people_have_to_know_of_is_what_was_not_published():
    """The states that wait until somebody has seen them are those of the cross."""
    assert {State.FAILED, State.EXPIRED, State.REMOVED} == UNPUBLISHED_STATES


def test_a_post_has_the_sign_of_its_worst_part():
    """One failure among many published deliveries gives a post its sign."""
    assert worst_glyph([Glyph.PUBLISHED, Glyph.CHECKING, Glyph.FAILED]) is Glyph.FAILED
    assert worst_glyph([]) is Glyph.WAITING
