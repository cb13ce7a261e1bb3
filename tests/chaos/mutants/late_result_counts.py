"""An answer that comes after its lease was lost still says what became of the delivery.

Breaks I12 and I13 (F15, F80): a frozen worker's result is no mere evidence; it moves `unknown` straight on, with no
look stored, and where another attempt is under way by then it is taken for that one's answer.
"""

from datetime import datetime

from publisher.domain.delivery import RECONCILER, Delivery, Lease, State
from publisher.domain.results import Outcome, Published, Rejected, Submitted
from publisher.store.db.database import Transaction
from publisher.store.deliveries import outbox

_keep_evidence = outbox.Outbox.record_late_outcome


def _is_sending(delivery: Delivery, _lease: Lease) -> bool:
    return delivery.state is State.SENDING


def _believe(  # noqa: PLR0917 # it has the face of what it stands for
    room: outbox.Outbox, unit: Transaction, delivery: Delivery, lease: Lease, outcome: Outcome, now: datetime
) -> None:
    if delivery.state is State.UNKNOWN and isinstance(outcome, Published | Submitted | Rejected):
        room.store.transition(unit, delivery, outcome, RECONCILER)
    else:
        _keep_evidence(room, unit, delivery, lease, outcome, now)


def plant() -> None:
    outbox.is_lease_current = _is_sending
    outbox.Outbox.record_late_outcome = _believe
