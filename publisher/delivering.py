"""claim -> intend -> one call -> settle."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import Lease
from publisher.domain.outcome import Outcome, code_of
from publisher.domain.rendition import Parcel
from publisher.guard import guarded
from publisher.store.claims import HORIZON
from publisher.store.intents import Declined
from publisher.store.outbox import Outbox
from publisher.telemetry import log
from publisher.working import work_off


async def deliver_due(outbox: Outbox, adapters: Mapping[AccountId, Adapter], most: int, stopping: asyncio.Event) -> int:
    """Deliver what is due, at most `most` at once, until nothing is left or the daemon stops. Returns how many.

    Calls that have begun are always waited for: only their own deadline ends them. One that could not be written down
    stays announced, and becomes a doubt when its lease ends; the others are not concerned. Raises ExceptionGroup
    of the last failure once all else is done.
    """

    async def take(room: int) -> Sequence[Lease]:
        return () if stopping.is_set() else await outbox.claim(room)

    async def work(lease: Lease) -> None:
        await deliver(lease, outbox, adapters, stopping)

    return await work_off(take, work, most, "delivery_failed")


async def deliver(lease: Lease, outbox: Outbox, adapters: Mapping[AccountId, Adapter], stopping: asyncio.Event) -> None:
    """Carry one lease to its end: wait for the instant, announce, call once, write down what came of it."""
    world = outbox.books.world
    await world.sleep_until(min(lease.due_at, world.now() + HORIZON))  # a clock may have been set back meanwhile
    if stopping.is_set():
        await outbox.release(lease)
        return
    match await outbox.intend(lease):
        case Declined(guard=guard):
            log.info("declined", delivery=lease.delivery, account=lease.account, guard=guard)
        case Parcel() as parcel:
            outcome = await call(adapters[lease.account], parcel, outbox.books.patience(lease.account).lease_timeout)
            after = await outbox.settle(lease, outcome)
            log.info(
                "delivered",
                post=after.key.post,
                account=after.account,
                attempt=parcel.attempt,
                outcome=code_of(outcome),
                state=after.state.value,
                reason=after.reason,
            )


async def call(adapter: Adapter, parcel: Parcel, deadline: timedelta) -> Outcome:
    """Let the adapter make its one call. Never raises."""
    return await guarded(adapter.publish(parcel), deadline)
