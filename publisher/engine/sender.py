"""claim -> intend -> one call -> settle."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import Lease
from publisher.domain.rendered import SendRequest
from publisher.domain.results import Outcome, result_code
from publisher.engine.adapter_call import call_adapter
from publisher.engine.concurrency import run_bounded
from publisher.runtime.logs import log
from publisher.store.deliveries.claims import PREPARE_AHEAD
from publisher.store.deliveries.intents import Declined
from publisher.store.deliveries.outbox import Outbox


async def send_due(
    outbox: Outbox, adapters: Mapping[AccountId, Adapter], limit: int, stop_requested: asyncio.Event
) -> int:
    """Deliver what is due, at most `most` at once, until nothing is left or the daemon stops. Returns how many.

    Calls that have begun are always waited for: only their own deadline ends them. One that could not be written down
    stays announced, and becomes a doubt when its lease ends; the others are not concerned. Raises ExceptionGroup
    of the last failure once all else is done.
    """

    async def take(room: int) -> Sequence[Lease]:
        return () if stop_requested.is_set() else await outbox.claim(room)

    async def work(lease: Lease) -> None:
        await send_delivery(lease, outbox, adapters, stop_requested)

    return await run_bounded(take, work, limit, "send_failed")


async def send_delivery(
    lease: Lease, outbox: Outbox, adapters: Mapping[AccountId, Adapter], stop_requested: asyncio.Event
) -> None:
    """Carry one lease to its end: wait for the instant, announce, call once, write down what came of it."""
    runtime = outbox.store.runtime
    await runtime.sleep_until(
        min(lease.due_at, runtime.now() + PREPARE_AHEAD)
    )  # a clock may have been set back meanwhile
    if stop_requested.is_set():
        await outbox.release(lease)
        return
    match await outbox.record_intent(lease):
        case Declined(guard=guard):
            log.info("attempt_declined", delivery=lease.delivery, account=lease.account, guard=guard)
        case SendRequest() as request:
            outcome = await publish_once(
                adapters[lease.account], request, outbox.store.timing(lease.account).lease_timeout
            )
            after = await outbox.record_outcome(lease, outcome)
            log.info(
                "attempt_finished",
                post=after.key.post,
                account=after.account,
                attempt=request.attempt,
                outcome=result_code(outcome),
                state=after.state.value,
                reason=after.reason,
            )


async def publish_once(adapter: Adapter, request: SendRequest, time_limit: timedelta) -> Outcome:
    """Let the adapter make its one call. Never raises."""
    return await call_adapter(adapter.publish(request), time_limit)
