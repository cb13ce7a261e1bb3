"""Absence is shown once the call's own deadline has passed again, long before the platform's settle time.

Breaks I7 (F25, F39, F51): the last look that counts is earlier than the attempt's end plus the declared settle time.
With `act_late` or `list_late` longer than the deadline, but within the settle time, the post stands there twice (I1).
"""

from sqlalchemy import select

from publisher.domain.absence import shows_absence
from publisher.domain.delivery import Attempt, Delivery
from publisher.store.engine import Unit
from publisher.store.outbox import Outbox
from publisher.store.rows import LOOK, to_look


def _is_absent_soon(outbox: Outbox, unit: Unit, delivery: Delivery, attempt: Attempt) -> bool:
    looks = unit.connection.execute(select(LOOK).where(LOOK.c.delivery == delivery.id))
    deadline = outbox.books.patience(delivery.account).deadline
    return shows_absence([to_look(row) for row in looks.mappings()], attempt, deadline)


def plant() -> None:
    Outbox._is_absent = _is_absent_soon
