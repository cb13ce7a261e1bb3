"""Reading the books for the inspection report, on both databases."""

from datetime import timedelta

from publisher.domain.account import AccountId
from publisher.domain.outcome import Published, Reach, Receipt
from publisher.domain.post import Kind
from publisher.store.inspections import Inspections
from publisher.store.watches import Watches
from publisher.testing.builders import file_posts, post_of
from publisher.testing.fakes import START


async def test_cases_have_their_kind_their_last_reach_and_their_tip_line(open_desk):
    """Only what is due inside the days is given, with the newest reading and whether the frozen text names the line."""
    desk = await open_desk()
    update = post_of("two", ["a"], START + timedelta(hours=1), title="拨打12377", follows="one")
    await file_posts(
        desk.registry, post_of("one", ["a"], START), update, post_of("late", ["a"], START + timedelta(days=9))
    )
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(10)
    await desk.outbox.intend(lease)
    receipt = Receipt(remote_id="1", url="x", live_at=START)
    await desk.outbox.settle(lease, Published(receipt=receipt))
    for reads in (1, 2):
        await Watches(desk.books).write_reach({lease.delivery: Reach(reads=reads)})
    found = await Inspections(desk.books).cases(START, START + timedelta(days=1), {AccountId("a"): "12377"})
    assert [(case.delivery.key.post, case.kind) for case in found] == [("one", Kind.WARNING), ("two", Kind.UPDATE)]
    assert [case.reach for case in found] == [Reach(reads=2), None]
    assert [case.names_tip_line for case in found] == [False, True]
