"""All reading of platforms: doubts are ended here, reviews followed."""

from collections.abc import Callable, Mapping, Sequence

from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.events import RECONCILER
from publisher.domain.outcome import Finding, Unknown, code_of
from publisher.domain.rendition import DeliveryId, Parcel
from publisher.domain.task import task_of
from publisher.guard import guarded
from publisher.store.outbox import Doubt, Outbox
from publisher.telemetry import log
from publisher.working import work_off

PORTION = 50
"""So many doubts are prepared together: thousands would keep the first read waiting for a second."""


async def reconcile_due(
    outbox: Outbox, adapters: Mapping[AccountId, Adapter], most: int, is_stopping: Callable[[], bool] = bool
) -> int:
    """Take the reads that are due, at most `most` at once, and write down what they show, until none is or it stops.

    One that cannot be written down is not taken again before the next time. Returns how many were taken. Raises
    ExceptionGroup of the last failure once all else is done.
    """
    in_hand: set[DeliveryId] = set()

    async def take(room: int) -> Sequence[Doubt]:
        if is_stopping():
            return ()
        doubts = await outbox.doubts([State.UNKNOWN, State.SUBMITTED], room, besides=in_hand)
        in_hand.update(doubt.delivery.id for doubt in doubts)
        return doubts

    async def work(doubt: Doubt) -> None:
        await reconcile(doubt, outbox, adapters[doubt.delivery.account])
        in_hand.discard(doubt.delivery.id)

    return await work_off(take, work, most, "look_failed", PORTION)


async def reconcile(doubt: Doubt, outbox: Outbox, adapter: Adapter) -> None:
    """Take one read for one delivery."""
    world = outbox.books.world
    await world.failpoint("reconcile.before_read")
    began = world.monotonic()
    finding = await guarded(read(doubt, adapter), outbox.books.patience(doubt.delivery.account).lease_timeout)
    await world.failpoint("reconcile.after_read")
    if doubt.delivery.state is State.SUBMITTED:
        await world.failpoint("submitted.after_poll")
    after = await outbox.learn(doubt, finding, RECONCILER, began)
    log.info(
        "looked",
        post=after.key.post,
        account=after.account,
        finding=code_of(finding),
        state=after.state.value,
        reason=after.reason,
    )


async def read(doubt: Doubt, adapter: Adapter) -> Finding:
    """Read what became of a delivery: by its ticket where the platform gave one, else in the account's list."""
    delivery = doubt.delivery
    if delivery.ticket is not None and delivery.state is State.SUBMITTED and task_of(delivery.ticket) is None:
        return await adapter.follow_up(delivery.ticket)
    return await look(adapter, doubt.parcel) if doubt.parcel else Unknown(reason="nothing_sent")


async def look(adapter: Adapter, parcel: Parcel) -> Finding:
    """Take one complete look at the account for a parcel's post."""
    return await adapter.find(parcel)
