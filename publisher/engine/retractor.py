"""Retract published posts, and confirm that they are gone."""

from collections.abc import Mapping

from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import State, parse_manual_task
from publisher.domain.events import RETRACTOR
from publisher.domain.results import Deleted, DeletionResult, ReadbackResult, Rejected, Unknown, result_code
from publisher.engine.adapter_call import call_adapter, find_post
from publisher.engine.concurrency import gather_logged
from publisher.runtime.logs import log
from publisher.store.deliveries.intents import PendingReadback
from publisher.store.deliveries.outbox import Outbox


async def retract_due(outbox: Outbox, adapters: Mapping[AccountId, Adapter], limit: int) -> int:
    """Continue the retractions that are due. Return how many.

    Raises ExceptionGroup of the last failure once all have ended.
    """
    unknowns = await outbox.due_readbacks([State.RETRACTING], limit)
    retractions = (retract_delivery(unknown, outbox, adapters[unknown.delivery.account]) for unknown in unknowns)
    return await gather_logged(retractions, "retraction_failed")


async def retract_delivery(unknown: PendingReadback, outbox: Outbox, adapter: Adapter) -> None:
    """Make one call for one retraction, and record its result."""
    runtime, timing = outbox.store.runtime, outbox.store.timing(unknown.delivery.account)
    await runtime.hit_failpoint("retract.before_call")
    began = runtime.monotonic()
    result = await call_adapter(delete_or_find_post(unknown, adapter), timing.lease_timeout)
    await runtime.hit_failpoint("retract.after_call")
    after = await outbox.record_readback(unknown, result, RETRACTOR, began)
    log.info(
        "retraction_attempted",
        post=after.key.post,
        account=after.account,
        answer=result_code(result),
        state=after.state.value,
    )


async def delete_or_find_post(unknown: PendingReadback, adapter: Adapter) -> ReadbackResult | DeletionResult:
    """Delete a post that the platform has confirmed as published; look for any other first."""
    receipt = unknown.delivery.receipt
    if receipt is not None and not receipt.is_manually_confirmed:
        return await adapter.retract(receipt)
    if unknown.delivery.ticket is not None and parse_manual_task(unknown.delivery.ticket) is None:
        found = await adapter.check_ticket(unknown.delivery.ticket)
    elif unknown.request is not None:
        found = await find_post(adapter, unknown.request)
    else:  # no call was ever made: only a person's confirmation can say that it is published
        return Unknown(reason="manually_confirmed", is_beyond_list=True) if receipt else Deleted()
    return Deleted() if isinstance(found, Rejected) and receipt else found
