"""published -> gone, confirmed."""

from collections.abc import Mapping

from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.events import RETRACTOR
from publisher.domain.outcome import Finding, Gone, Rejected, Removal, Unknown, code_of
from publisher.domain.task import task_of
from publisher.guard import guarded
from publisher.store.outbox import Doubt, Outbox
from publisher.telemetry import log
from publisher.working import all_of


async def retract_due(outbox: Outbox, adapters: Mapping[AccountId, Adapter], most: int) -> int:
    """Go on with the retractions whose time has come. Returns how many.

    Raises ExceptionGroup of the last failure once all have ended.
    """
    doubts = await outbox.doubts([State.RETRACTING], most)
    removals = (_retract(doubt, outbox, adapters[doubt.delivery.account]) for doubt in doubts)
    return await all_of(removals, "retraction_failed")


async def _retract(doubt: Doubt, outbox: Outbox, adapter: Adapter) -> None:
    world = outbox.books.world
    await world.failpoint("retract.before_call")
    began = world.monotonic()
    answer = await guarded(_take_down(doubt, adapter), outbox.books.patience(doubt.delivery.account).lease_timeout)
    await world.failpoint("retract.after_call")
    after = await outbox.learn(doubt, answer, RETRACTOR, began)
    log.info(
        "retracting",
        post=after.key.post,
        account=after.account,
        answer=code_of(answer),
        state=after.state.value,
    )


async def _take_down(doubt: Doubt, adapter: Adapter) -> Finding | Removal:
    """Take down what we know to be live; else, or where we have only people's word, first find out what is."""
    receipt = doubt.delivery.receipt
    if receipt is not None and not receipt.is_by_word:
        return await adapter.retract(receipt)
    if doubt.delivery.ticket is not None and task_of(doubt.delivery.ticket) is None:
        finding = await adapter.follow_up(doubt.delivery.ticket)
    elif doubt.parcel is not None:
        finding = await adapter.find(doubt.parcel)
    else:  # no call was ever made: nothing but people's word can say that it is live
        return Unknown(reason="by_word", is_out_of_sight=True) if receipt else Gone()
    return Gone() if isinstance(finding, Rejected) and receipt else finding
