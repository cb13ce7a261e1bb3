"""The seven signs: each state has one, and a state that needs a person stands out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from publisher.domain.approval import AWAITING_APPROVAL, REMINDER_LEAD
from publisher.domain.delivery import Delivery, State
from publisher.domain.glyph import GLYPHS, Glyph, choose_glyph, worst_glyph
from publisher.domain.post import OccurrenceKey
from publisher.domain.results import ManualTask, Ticket

START = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def delivery(state, **changes):
    """Return a delivery in a state, due at START."""
    return Delivery(
        id=1,
        key=OccurrenceKey(post="p", occurrence="once"),
        account="a",
        platform="fake",
        login="fake/a",
        state=state,
        version=1,
        rendered_hash="",
        due_at=START,
        expires_at=START + timedelta(days=1),
        max_delay=timedelta(minutes=30),
        updated_at=START,
        **changes,
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
    assert choose_glyph(delivery(state), START) == glyph
    assert set(GLYPHS) == set(State)


def test_an_open_manual_task_needs_a_person_until_it_is_reported():
    """A post to be placed by hand is somebody's; once reported done it is being checked."""
    task = ManualTask(assigned_at=START)
    opened = delivery(State.SUBMITTED, ticket=Ticket(manual_task=task))
    reported = delivery(
        State.SUBMITTED, ticket=Ticket(manual_task=replace(task, done_at=START))
    )
    assert choose_glyph(opened, START) is Glyph.ACTION
    assert choose_glyph(reported, START) is Glyph.CHECKING


def test_a_missing_approval_needs_a_person_two_hours_before():
    """Long before its time an unapproved post is only waiting."""
    pending = delivery(State.PENDING)
    awaiting = delivery(State.PENDING, reason=AWAITING_APPROVAL)
    assert (
        choose_glyph(pending, START - REMINDER_LEAD - MINUTE, is_unapproved=True)
        is Glyph.WAITING
    )
    assert (
        choose_glyph(pending, START - REMINDER_LEAD, is_unapproved=True) is Glyph.ACTION
    )
    assert choose_glyph(awaiting, START) is Glyph.ACTION


def test_a_pause_needs_a_person_once_something_is_due():
    """A pause holds back only due deliveries, neither later ones nor sent ones."""
    assert (
        choose_glyph(delivery(State.PENDING), START - MINUTE, is_paused=True)
        is Glyph.WAITING
    )
    assert choose_glyph(delivery(State.DUE), START, is_paused=True) is Glyph.ACTION
    assert (
        choose_glyph(delivery(State.UNKNOWN), START, is_paused=True) is Glyph.CHECKING
    )


def test_a_post_has_the_sign_of_its_worst_part():
    """One failure among many published deliveries gives a post its sign."""
    assert worst_glyph([Glyph.PUBLISHED, Glyph.CHECKING, Glyph.FAILED]) is Glyph.FAILED
    assert worst_glyph([]) is Glyph.WAITING
