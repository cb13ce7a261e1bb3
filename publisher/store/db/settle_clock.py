"""Since when a process knows that a call is over: from there a settle time runs, whatever the wall clock shows."""

from dataclasses import dataclass, field

from publisher.domain.rendered import DeliveryId

CALL_END_RETENTION_SECONDS = 86400.0
"""Seconds after which the end of a call is forgotten here: every settle time is over by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnd:
    """The end of a call: since when it is known, in monotonic seconds, and whether this process ended it."""

    known_since_ticks: float
    is_own: bool


@dataclass(slots=True)
class CallEnds:
    """The ends of calls that this process knows of. A call is named by its delivery and its epoch."""

    _ends: dict[tuple[DeliveryId, int], CallEnd] = field(default_factory=dict)

    def record_own(self, delivery: DeliveryId, fencing_token: int, ticks: float) -> None:
        """Note that this process has just ended a call; a later end of the same call counts."""
        self._record(delivery, fencing_token, CallEnd(known_since_ticks=ticks, is_own=True))

    def get_end(self, delivery: DeliveryId, fencing_token: int, ticks: float) -> CallEnd:
        """Return what is known of a call that is over; at `ticks`, if it is new here."""
        if (delivery, fencing_token) not in self._ends:
            self._record(delivery, fencing_token, CallEnd(known_since_ticks=ticks, is_own=False))
        return self._ends[delivery, fencing_token]

    def _record(self, delivery: DeliveryId, fencing_token: int, end: CallEnd) -> None:
        self._ends.pop((delivery, fencing_token), None)
        while (
            self._ends
            and next(iter(self._ends.values())).known_since_ticks < end.known_since_ticks - CALL_END_RETENTION_SECONDS
        ):
            del self._ends[next(iter(self._ends))]
        self._ends[delivery, fencing_token] = end
