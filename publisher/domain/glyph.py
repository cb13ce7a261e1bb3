"""The seven signs of the state of a delivery and of the party to act next. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

from publisher.domain.approval import AWAITING_APPROVAL, REMINDER_LEAD
from publisher.domain.delivery import WAITING_STATES, Delivery, State


class Glyph(StrEnum):
    """The signs, the worst first: a post has that of its worst part."""

    ACTION = "action"
    FAILED = "failed"
    CHECKING = "checking"
    SENDING = "sending"
    WAITING = "waiting"
    PUBLISHED = "published"
    ENDED = "ended"

    @property
    def rank(self) -> int:
        """The place in the order of badness, 0 for the worst."""
        return _RANKS[self]


_RANKS = {glyph: rank for rank, glyph in enumerate(Glyph)}
GLYPHS: Mapping[State, Glyph] = {
    State.PENDING: Glyph.WAITING,
    State.DUE: Glyph.SENDING,
    State.RETRYING: Glyph.SENDING,
    State.CLAIMED: Glyph.SENDING,
    State.SENDING: Glyph.SENDING,
    State.SUBMITTED: Glyph.CHECKING,
    State.UNKNOWN: Glyph.CHECKING,
    State.RETRACTING: Glyph.CHECKING,
    State.HELD: Glyph.ACTION,
    State.PUBLISHED: Glyph.PUBLISHED,
    State.RETRACTED: Glyph.ENDED,
    State.CANCELLED: Glyph.ENDED,
    State.FAILED: Glyph.FAILED,
    State.EXPIRED: Glyph.FAILED,
    State.REMOVED: Glyph.FAILED,
}
"""The sign of each state, unless something about the delivery needs a person.

See `choose_glyph` for the exceptions.
"""


def choose_glyph(
    delivery: Delivery,
    now: datetime,
    *,
    is_paused: bool = False,
    is_unapproved: bool = False,
) -> Glyph:
    """Return the sign of a delivery.

    `is_paused`: a pause covers it. `is_unapproved`: its content still needs a person's approval.
    Either needs somebody only once the delivery is due, or soon will be.
    """
    task = delivery.manual_task
    if task is not None and delivery.state is State.SUBMITTED and task.done_at is None:
        return Glyph.ACTION
    if delivery.state in WAITING_STATES:
        is_unapproved = is_unapproved or delivery.reason == AWAITING_APPROVAL
        if is_unapproved and delivery.due_at - now <= REMINDER_LEAD:
            return Glyph.ACTION
        if is_paused and delivery.due_at <= now:
            return Glyph.ACTION
    return GLYPHS[delivery.state]


def worst_glyph(glyphs: Iterable[Glyph]) -> Glyph:
    """Return the worst of some signs.

    Without any, return the sign of a delivery that has not begun.
    """
    return min(glyphs, key=lambda glyph: glyph.rank, default=Glyph.WAITING)
