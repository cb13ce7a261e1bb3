"""The call starts at once while its intent is still being gathered with others into one commit.

Breaks I3 (F01, F02, F16): the platform hears of calls whose attempt row is committed later, by up to 0.1 s. A kill in
between leaves the delivery `claimed`, so it goes out again (I1), and the first copy belongs to no attempt.
"""

import asyncio

from publisher.domain.delivery import Delivery, Lease
from publisher.domain.outcome import Outcome
from publisher.domain.rendition import Parcel
from publisher.store.engine import Unit
from publisher.store.intents import Declined
from publisher.store.outbox import Outbox

GATHERING = 0.1
_intend, _settle = Outbox.intend, Outbox.settle
_under_way: dict[tuple[int, int], asyncio.Task[Parcel | Declined]] = {}


class _TakenBackError(Exception):
    """Carries a parcel out of a transaction that is thereby taken back."""


async def _intend_later(outbox: Outbox, lease: Lease) -> Parcel | Declined:
    def operation(unit: Unit) -> None:
        raise _TakenBackError(outbox._announce(unit, [lease])[0])

    async def write() -> Parcel | Declined:
        await asyncio.sleep(GATHERING)
        return await _intend(outbox, lease)

    try:
        await outbox.books.database.write(operation)
    except _TakenBackError as taken_back:
        answer: Parcel | Declined = taken_back.args[0]
        if isinstance(answer, Parcel):
            _under_way[lease.delivery, lease.epoch] = asyncio.create_task(write())
            return answer
    return await _intend(outbox, lease)


async def _settle_after(outbox: Outbox, lease: Lease, outcome: Outcome) -> Delivery:
    if writing := _under_way.pop((lease.delivery, lease.epoch), None):
        await writing
    return await _settle(outbox, lease, outcome)


def plant() -> None:
    Outbox.intend = _intend_later
    Outbox.settle = _settle_after
