"""The call is made first, and its intent written once the answer is there.

Breaks I3 (F01, F02): the platform hears of calls that neither the database nor the journal has announced. A kill in
between leaves the delivery `claimed`, so it goes out again (I1), and the first copy belongs to no attempt.
"""

import asyncio
from collections.abc import Mapping

from publisher import delivering
from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import Lease
from publisher.domain.rendition import Parcel
from publisher.store.engine import Unit
from publisher.store.intents import Declined
from publisher.store.outbox import Outbox


class _TakenBackError(Exception):
    """Carries a parcel out of a transaction that is thereby taken back."""


async def _peek(outbox: Outbox, lease: Lease) -> Parcel | Declined:
    def operation(unit: Unit) -> None:
        raise _TakenBackError(outbox._announce(unit, [lease])[0])

    try:
        await outbox.books.database.write(operation)
    except _TakenBackError as taken_back:
        answer: Parcel | Declined = taken_back.args[0]
        return answer
    raise AssertionError("a peek always ends in its own error")


async def _deliver(
    lease: Lease, outbox: Outbox, adapters: Mapping[AccountId, Adapter], stopping: asyncio.Event
) -> None:
    await outbox.books.world.sleep_until(lease.due_at)
    if stopping.is_set():
        return
    parcel = await _peek(outbox, lease)
    if isinstance(parcel, Parcel):
        outcome = await delivering.call(
            adapters[lease.account], parcel, outbox.books.patience(lease.account).lease_timeout
        )
        if isinstance(await outbox.intend(lease), Parcel):
            await outbox.settle(lease, outcome)


def plant() -> None:
    delivering.deliver = _deliver
