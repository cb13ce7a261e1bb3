"""The call is made first, and its intent written once the answer is there.

Breaks I3 (F01, F02): the platform hears of calls that neither the database nor the journal has announced. A kill in
between leaves the delivery `claimed`, so it goes out again (I1), and the first copy belongs to no attempt.
"""

import asyncio
from collections.abc import Mapping

from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import Lease
from publisher.domain.post import SendRequest
from publisher.engine import sender
from publisher.store.db.database import Transaction
from publisher.store.deliveries.intents import Declined
from publisher.store.deliveries.outbox import Outbox


class _TakenBackError(Exception):
    """Carries a parcel out of a transaction that is thereby taken back."""


async def _peek(outbox: Outbox, lease: Lease) -> SendRequest | Declined:
    def operation(unit: Transaction) -> None:
        raise _TakenBackError(outbox.record_intents(unit, [lease])[0])

    try:
        await outbox.database.write(operation)
    except _TakenBackError as taken_back:
        answer: SendRequest | Declined = taken_back.args[0]
        return answer
    raise AssertionError("a peek always ends in its own error")


async def _deliver(
    lease: Lease, outbox: Outbox, adapters: Mapping[AccountId, Adapter], stopping: asyncio.Event
) -> None:
    await outbox.runtime.sleep_until(lease.due_at)
    if stopping.is_set():
        return
    parcel = await _peek(outbox, lease)
    if isinstance(parcel, SendRequest):
        outcome = await sender.call_adapter(
            adapters[lease.account].publish(parcel), outbox.store.timing(lease.account).lease_timeout
        )
        if isinstance(await outbox.record_intent(lease), SendRequest):
            await outbox.record_outcome(lease, outcome)


def plant() -> None:
    sender.send_delivery = _deliver
