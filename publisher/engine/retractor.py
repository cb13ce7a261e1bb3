"""published -> gone, confirmed."""

from collections.abc import Mapping

from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import State, parse_manual_task
from publisher.domain.events import RETRACTOR
from publisher.domain.results import Deleted, DeletionResult, ReadbackResult, Rejected, Unknown, result_code
from publisher.engine.adapter_call import call_adapter
from publisher.engine.concurrency import gather_logged
from publisher.runtime.logs import log
from publisher.store.deliveries.outbox import Outbox, PendingReadback


async def retract_due(outbox: Outbox, adapters: Mapping[AccountId, Adapter], limit: int) -> int:
    """Go on with the retractions whose time has come. Returns how many.

    Raises ExceptionGroup of the last failure once all have ended.
    """
    unknowns = await outbox.due_readbacks([State.RETRACTING], limit)
    removals = (_retract(unknown, outbox, adapters[unknown.delivery.account]) for unknown in unknowns)
    return await gather_logged(removals, "retraction_failed")


async def _retract(unknown: PendingReadback, outbox: Outbox, adapter: Adapter) -> None:
    runtime = outbox.store.runtime
    await runtime.hit_failpoint("retract.before_call")
    began = runtime.monotonic()
    answer = await call_adapter(
        _delete_post(unknown, adapter), outbox.store.timing(unknown.delivery.account).lease_timeout
    )
    await runtime.hit_failpoint("retract.after_call")
    after = await outbox.record_readback(unknown, answer, RETRACTOR, began)
    log.info(
        "retraction_attempted",
        post=after.key.post,
        account=after.account,
        answer=result_code(answer),
        state=after.state.value,
    )


async def _delete_post(unknown: PendingReadback, adapter: Adapter) -> ReadbackResult | DeletionResult:
    """Take down what we know to be live; else, or where we have only people's word, first find out what is."""
    receipt = unknown.delivery.receipt
    if receipt is not None and not receipt.is_manually_confirmed:
        return await adapter.retract(receipt)
    if unknown.delivery.ticket is not None and parse_manual_task(unknown.delivery.ticket) is None:
        finding = await adapter.check_ticket(unknown.delivery.ticket)
    elif unknown.request is not None:
        finding = await adapter.find_post(unknown.request)
    else:  # no call was ever made: nothing but people's word can say that it is live
        return Unknown(reason="manually_confirmed", is_beyond_list=True) if receipt else Deleted()
    return Deleted() if isinstance(finding, Rejected) and receipt else finding
