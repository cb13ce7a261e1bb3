"""All reading of platforms: doubts are ended here, reviews followed."""

from collections.abc import Callable, Mapping, Sequence

from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import State, parse_manual_task
from publisher.domain.events import RECONCILER
from publisher.domain.rendered import DeliveryId, SendRequest
from publisher.domain.results import ReadbackResult, Unknown, result_code
from publisher.engine.adapter_call import call_adapter
from publisher.engine.concurrency import run_bounded
from publisher.runtime.logs import log
from publisher.store.deliveries.outbox import Outbox, PendingReadback

READBACK_BATCH = 50
"""So many doubts are prepared together: thousands would keep the first read waiting for a second."""


async def reconcile_due(
    outbox: Outbox, adapters: Mapping[AccountId, Adapter], limit: int, is_stopping: Callable[[], bool] = bool
) -> int:
    """Take the reads that are due, at most `most` at once, and write down what they show, until none is or it stops.

    One that cannot be written down is not taken again before the next time. Returns how many were taken. Raises
    ExceptionGroup of the last failure once all else is done.
    """
    running: set[DeliveryId] = set()

    async def take(room: int) -> Sequence[PendingReadback]:
        if is_stopping():
            return ()
        unknowns = await outbox.due_readbacks([State.UNKNOWN, State.SUBMITTED], room, exclude=running)
        running.update(unknown.delivery.id for unknown in unknowns)
        return unknowns

    async def work(unknown: PendingReadback) -> None:
        await reconcile(unknown, outbox, adapters[unknown.delivery.account])
        running.discard(unknown.delivery.id)

    return await run_bounded(take, work, limit, "readback_failed", READBACK_BATCH)


async def reconcile(unknown: PendingReadback, outbox: Outbox, adapter: Adapter) -> None:
    """Take one read for one delivery."""
    runtime = outbox.store.runtime
    await runtime.hit_failpoint("reconcile.before_read")
    began = runtime.monotonic()
    finding = await call_adapter(
        read_back(unknown, adapter), outbox.store.timing(unknown.delivery.account).lease_timeout
    )
    await runtime.hit_failpoint("reconcile.after_read")
    if unknown.delivery.state is State.SUBMITTED:
        await runtime.hit_failpoint("submitted.after_poll")
    after = await outbox.record_readback(unknown, finding, RECONCILER, began)
    log.info(
        "readback_done",
        post=after.key.post,
        account=after.account,
        finding=result_code(finding),
        state=after.state.value,
        reason=after.reason,
    )


async def read_back(unknown: PendingReadback, adapter: Adapter) -> ReadbackResult:
    """Read what became of a delivery: by its ticket where the platform gave one, else in the account's list."""
    delivery = unknown.delivery
    if delivery.ticket is not None and delivery.state is State.SUBMITTED and parse_manual_task(delivery.ticket) is None:
        return await adapter.check_ticket(delivery.ticket)
    return await find_sent_post(adapter, unknown.request) if unknown.request else Unknown(reason="nothing_sent")


async def find_sent_post(adapter: Adapter, request: SendRequest) -> ReadbackResult:
    """Take one complete look at the account for a parcel's post."""
    return await adapter.find_post(request)
