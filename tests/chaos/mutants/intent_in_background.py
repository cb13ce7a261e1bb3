"""The call starts at once while its intent is still being gathered with others into one commit.

Breaks I3 (F01, F02, F16): the platform hears of calls whose attempt row is committed later, by up to 0.1 s. A kill in
between leaves the delivery `claimed`, so it goes out again (I1), and the first copy belongs to no attempt.
"""

import asyncio

from publisher.domain.delivery import Delivery, Lease
from publisher.domain.post import SendRequest
from publisher.domain.results import Outcome
from publisher.store.db.database import Transaction
from publisher.store.deliveries.intents import Declined
from publisher.store.deliveries.outbox import Outbox

GATHERING = 0.1
_intend, _settle = Outbox.record_intent, Outbox.record_outcome
_under_way: dict[tuple[int, int], asyncio.Task[SendRequest | Declined]] = {}


class _TakenBackError(Exception):
    """Carries a parcel out of a transaction that is thereby taken back."""


async def _intend_later(outbox: Outbox, lease: Lease) -> SendRequest | Declined:
    def operation(unit: Transaction) -> None:
        raise _TakenBackError(outbox.record_intents(unit, [lease])[0])

    async def write() -> SendRequest | Declined:
        await asyncio.sleep(GATHERING)
        return await _intend(outbox, lease)

    try:
        await outbox.database.write(operation)
    except _TakenBackError as taken_back:
        answer: SendRequest | Declined = taken_back.args[0]
        if isinstance(answer, SendRequest):
            _under_way[lease.delivery, lease.fencing_token] = asyncio.create_task(write())
            return answer
    return await _intend(outbox, lease)


async def _settle_after(outbox: Outbox, lease: Lease, outcome: Outcome) -> Delivery:
    if writing := _under_way.pop((lease.delivery, lease.fencing_token), None):
        await writing
    return await _settle(outbox, lease, outcome)


def plant() -> None:
    Outbox.record_intent = _intend_later
    Outbox.record_outcome = _settle_after
