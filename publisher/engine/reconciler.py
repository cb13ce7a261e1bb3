"""Read platforms to resolve unknown outcomes, follow reviews, and retract published posts."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta

from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import RECONCILER, RETRACTOR, State
from publisher.domain.post import DeliveryId
from publisher.domain.results import (
    Deleted,
    DeletionResult,
    Published,
    ReadbackResult,
    Rejected,
    Ticket,
    Unknown,
    result_code,
)
from publisher.engine.calls import call_adapter, find_post, run_bounded
from publisher.runtime.logs import log
from publisher.store.deliveries.intents import PendingReadback
from publisher.store.store import Store

READBACK_BATCH = 50
"""How many unknown outcomes are prepared together.

Thousands would delay the first read by a second.
"""


UNRECORDED_READ_DELAY = timedelta(seconds=30)
"""How long a delivery is not read after a result that could not be recorded.

Nothing else would keep it from being read each second, past the platform's limits.
"""


async def reconcile_due(
    store: Store,
    adapters: Mapping[AccountId, Adapter],
    limit: int,
    stop_requested: asyncio.Event | None = None,
) -> int:
    """Make the due reads, up to `limit` at once, and record the results, until done or stopped.

    If a result cannot be recorded, as on a full disk, its delivery is not read again for
    UNRECORDED_READ_DELAY. Returns how many were made. Raises ExceptionGroup of the last failure
    once all else is done.
    """
    states = (State.UNKNOWN, State.SUBMITTED)
    return await _work_on_due(
        store, adapters, states, reconcile, limit, stop_requested, "readback_failed"
    )


async def reconcile(pending: PendingReadback, store: Store, adapter: Adapter) -> None:
    """Read one delivery's account and record the result."""
    runtime, timing = store.runtime, store.timing(pending.delivery.account)
    await runtime.hit_failpoint("reconcile.before_read")
    began = runtime.monotonic()
    result = await call_adapter(read_back(pending, adapter), timing.lease_timeout)
    await runtime.hit_failpoint("reconcile.after_read")
    if pending.delivery.state is State.SUBMITTED:
        await runtime.hit_failpoint("submitted.after_poll")
    after = await store.outbox.record_readback(pending, result, RECONCILER, began)
    log.info(
        "readback_done",
        post=after.key.post,
        account=after.account,
        finding=result_code(result),
        state=after.state.value,
        reason=after.reason,
    )


async def read_back(pending: PendingReadback, adapter: Adapter) -> ReadbackResult:
    """Check a submitted delivery by its ticket, if any; else look for its post on the account."""
    delivery = pending.delivery
    if (
        delivery.ticket is not None
        and delivery.state is State.SUBMITTED
        and delivery.manual_task is None
    ):
        return await adapter.check_ticket(delivery.ticket)
    return (
        await find_post(adapter, pending.request)
        if pending.request
        else Unknown(reason="nothing_sent")
    )


async def retract_due(
    store: Store,
    adapters: Mapping[AccountId, Adapter],
    limit: int,
    stop_requested: asyncio.Event | None = None,
) -> int:
    """Continue the due retractions, as `reconcile_due` makes reads. Return the number of calls."""
    states = (State.RETRACTING,)
    return await _work_on_due(
        store,
        adapters,
        states,
        retract_delivery,
        limit,
        stop_requested,
        "retraction_failed",
    )


async def retract_delivery(
    pending: PendingReadback, store: Store, adapter: Adapter
) -> None:
    """Make one call for one retraction, and record its result."""
    runtime, timing = store.runtime, store.timing(pending.delivery.account)
    await runtime.hit_failpoint("retract.before_call")
    began = runtime.monotonic()
    can_retract = store.policies[pending.delivery.account].capabilities.can_retract
    result = await call_adapter(
        delete_or_find_post(pending, adapter, can_retract=can_retract),
        timing.lease_timeout,
    )
    await runtime.hit_failpoint("retract.after_call")
    after = await store.outbox.record_readback(pending, result, RETRACTOR, began)
    log.info(
        "retraction_attempted",
        post=after.key.post,
        account=after.account,
        answer=result_code(result),
        state=after.state.value,
    )


async def delete_or_find_post(
    pending: PendingReadback, adapter: Adapter, *, can_retract: bool
) -> ReadbackResult | DeletionResult:
    """Delete a post that the platform has confirmed as published; look for any other first.

    Where no call deletes posts, a person does, and the post is read until it is gone.
    """
    receipt = pending.delivery.receipt
    if receipt is not None and not receipt.is_manually_confirmed:
        if can_retract:
            return await adapter.retract(receipt)
        found = await adapter.check_ticket(Ticket(payload=receipt.remote_id))
        return (
            Rejected(code="cannot_retract", reason=receipt.url)
            if isinstance(found, Published)
            else found
        )
    if pending.delivery.ticket is not None and pending.delivery.manual_task is None:
        found = await adapter.check_ticket(pending.delivery.ticket)
    elif pending.request is not None:
        found = await find_post(adapter, pending.request)
    else:  # no call was ever made: only a person's confirmation can say that it is published
        return (
            Unknown(reason="manually_confirmed", is_beyond_list=True)
            if receipt
            else Deleted()
        )
    return Deleted() if isinstance(found, Rejected) and receipt else found


async def _work_on_due(  # noqa: PLR0913, PLR0917 # what the two jobs share, and what they differ in
    store: Store,
    adapters: Mapping[AccountId, Adapter],
    states: Collection[State],
    work: Callable[[PendingReadback, Store, Adapter], Awaitable[None]],
    limit: int,
    stop_requested: asyncio.Event | None,
    event: str,
) -> int:
    running: set[DeliveryId] = set()

    async def take(room: int) -> Sequence[PendingReadback]:
        if stop_requested is not None and stop_requested.is_set():
            return ()
        left_out = running | store.postponed_reads()
        found = await store.outbox.due_readbacks(states, room, exclude=left_out)
        running.update(pending.delivery.id for pending in found)
        return found

    async def work_on(pending: PendingReadback) -> None:
        delivery = pending.delivery.id
        try:
            await work(pending, store, adapters[pending.delivery.account])
        except Exception:
            store.postpone_read(delivery, UNRECORDED_READ_DELAY)
            raise
        finally:
            running.discard(delivery)

    return await run_bounded(take, work_on, limit, event, READBACK_BATCH)
