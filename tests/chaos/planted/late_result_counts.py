"""An answer that comes after its lease was lost still says what became of the delivery.

Breaks I12 and I13 (F15, F80): a frozen worker's result is no mere evidence; it moves `unknown` straight on, with no
look stored, and where another attempt is under way by then it is taken for that one's answer.
"""

from datetime import datetime

from publisher.domain.delivery import Delivery, Lease, State
from publisher.domain.events import RECONCILER
from publisher.domain.outcome import Outcome, Published, Rejected, Submitted
from publisher.store import outbox
from publisher.store.engine import Unit

_keep_evidence = outbox.Outbox._keep_evidence


def _is_sending(delivery: Delivery, _lease: Lease) -> bool:
    return delivery.state is State.SENDING


def _believe(  # noqa: PLR0917 # it has the face of what it stands for
    room: outbox.Outbox, unit: Unit, delivery: Delivery, lease: Lease, outcome: Outcome, now: datetime
) -> None:
    if delivery.state is State.UNKNOWN and isinstance(outcome, Published | Submitted | Rejected):
        room.books.change(unit, delivery, outcome, RECONCILER)
    else:
        _keep_evidence(room, unit, delivery, lease, outcome, now)


def plant() -> None:
    outbox._is_in_time = _is_sending
    outbox.Outbox._keep_evidence = _believe
