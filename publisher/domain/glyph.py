"""The seven signs of the state of a delivery and of the party to act next. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from publisher.domain.delivery import State


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
"""The sign of each state, unless something about the delivery needs a person."""
UNPUBLISHED_STATES = frozenset(
    state for state, glyph in GLYPHS.items() if glyph is Glyph.FAILED
)
"""States that people have to know of: it was not published, or is published no more."""


def choose_glyph(state: State, *, needs_person: bool = False) -> Glyph:
    """Return the sign of a delivery.

    `needs_person`: a person has to act on it now. The store alone decides that, for every page.
    """
    return Glyph.ACTION if needs_person else GLYPHS[state]


def worst_glyph(glyphs: Iterable[Glyph]) -> Glyph:
    """Return the worst of some signs.

    Without any, return the sign of a delivery that has not begun.
    """
    return min(glyphs, key=lambda glyph: glyph.rank, default=Glyph.WAITING)
