"""claim -> intend -> one call -> settle."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import Lease
from publisher.domain.outcome import Outcome
from publisher.domain.rendition import Parcel
from publisher.guard import guarded
from publisher.store.intents import Declined
from publisher.store.outbox import Outbox
from publisher.telemetry import log

REFILL, REST = 0.02, 0.25
"""Seconds until more is claimed: soon when there was more to claim than room, later when all that may go was taken."""


async def deliver_due(outbox: Outbox, adapters: Mapping[AccountId, Adapter], most: int, stopping: asyncio.Event) -> int:
    """Deliver what is due, at most `most` at once, until nothing is left or the daemon stops. Returns how many.

    Calls that have begun are always waited for: only their own deadline ends them. One that could not be written down
    stays announced, and becomes a doubt when its lease ends; the others are not concerned.
    """
    calls: set[asyncio.Task[None]] = set()
    try:
        return await _deliver_all(outbox, adapters, most, stopping, calls)
    finally:
        if calls:  # claiming failed; what has begun is still waited for
            await asyncio.wait(calls)


async def _deliver_all(
    outbox: Outbox,
    adapters: Mapping[AccountId, Adapter],
    most: int,
    stopping: asyncio.Event,
    calls: set[asyncio.Task[None]],
) -> int:
    taken = 0
    while True:
        room = most - len(calls)
        leases = await outbox.claim(room) if room and not stopping.is_set() else ()
        calls |= {asyncio.create_task(deliver(lease, outbox, adapters, stopping)) for lease in leases}
        taken += len(leases)
        if not calls:
            return taken
        done, _running = await asyncio.wait(calls, timeout=REFILL if len(leases) == room else REST)
        for failed in (task for task in done if task.exception() is not None):
            log.error("delivery_failed", exc_info=failed.exception())
        calls -= done


async def deliver(lease: Lease, outbox: Outbox, adapters: Mapping[AccountId, Adapter], stopping: asyncio.Event) -> None:
    """Carry one lease to its end: wait for the instant, announce, call once, write down what came of it."""
    await outbox.books.world.sleep_until(lease.due_at)
    if stopping.is_set():
        await outbox.release(lease)
        return
    match await outbox.intend(lease):
        case Declined(guard=guard):
            log.info("declined", delivery=lease.delivery, account=lease.account, guard=guard)
        case Parcel() as parcel:
            outcome = await call(adapters[lease.account], parcel, outbox.books.patience(lease.account).lease)
            after = await outbox.settle(lease, outcome)
            log.info(
                "delivered",
                post=after.key.post,
                account=after.account,
                attempt=parcel.attempt,
                outcome=type(outcome).__name__,
                state=after.state.value,
                reason=after.reason,
            )


async def call(adapter: Adapter, parcel: Parcel, deadline: timedelta) -> Outcome:
    """Let the adapter make its one call. Never raises."""
    return await guarded(adapter.publish(parcel), deadline)
