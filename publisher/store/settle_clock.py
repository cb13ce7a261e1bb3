"""Since when a process knows that a call is over: from there a settle time runs, whatever the wall clock shows."""

from dataclasses import dataclass, field

from publisher.domain.rendition import DeliveryId

LONGEST_KEPT = 86400.0
"""Seconds after which the end of a call is forgotten here: every settle time is over by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEnd:
    """The end of a call: since when it is known, in monotonic seconds, and whether this process ended it."""

    since: float
    is_own: bool


@dataclass(slots=True)
class SettleClock:
    """The ends of calls that this process knows of. A call is named by its delivery and its epoch."""

    _known: dict[tuple[DeliveryId, int], KnownEnd] = field(default_factory=dict)

    def note_own(self, delivery: DeliveryId, epoch: int, ticks: float) -> None:
        """Note that this process has just ended a call; a later end of the same call counts."""
        self._note(delivery, epoch, KnownEnd(since=ticks, is_own=True))

    def end_of(self, delivery: DeliveryId, epoch: int, ticks: float) -> KnownEnd:
        """Return what is known of a call that is over; at `ticks`, if it is new here."""
        if (delivery, epoch) not in self._known:
            self._note(delivery, epoch, KnownEnd(since=ticks, is_own=False))
        return self._known[delivery, epoch]

    def _note(self, delivery: DeliveryId, epoch: int, end: KnownEnd) -> None:
        self._known.pop((delivery, epoch), None)
        while self._known and next(iter(self._known.values())).since < end.since - LONGEST_KEPT:
            del self._known[next(iter(self._known))]
        self._known[delivery, epoch] = end
