"""The data of the report, on both databases."""

from datetime import timedelta

from publisher.domain.account import AccountId
from publisher.domain.kinds import PostKind
from publisher.domain.results import Published, Reach, Receipt
from publisher.testing.builders import enqueue_posts, make_post
from publisher.testing.fakes import START_TIME


async def test_cases_have_their_kind_their_last_reach_and_their_tip_line(open_store):
    """A report has only deliveries due in the period, with the newest metrics and the tip line.

    The tip line's presence is that of the frozen text.
    """
    store = await open_store()
    update = make_post(
        "two", ["a"], START_TIME + timedelta(hours=1), title="拨打12377", follows="one"
    )
    await enqueue_posts(
        store.posts,
        make_post("one", ["a"], START_TIME),
        update,
        make_post("late", ["a"], START_TIME + timedelta(days=9)),
    )
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(10)
    await store.outbox.record_intent(lease)
    receipt = Receipt(remote_id="1", url="x", published_at=START_TIME)
    await store.outbox.record_outcome(lease, Published(receipt=receipt))
    for reads in (1, 2):
        await store.monitoring.record_metrics({lease.delivery: Reach(reads=reads)})
    found = await store.queries.report_rows(
        START_TIME, START_TIME + timedelta(days=1), {AccountId("a"): "12377"}
    )
    assert [(case.delivery.key.post, case.kind) for case in found] == [
        ("one", PostKind.WARNING),
        ("two", PostKind.UPDATE),
    ]
    assert [case.reach for case in found] == [Reach(reads=2), None]
    assert [case.has_tip_line for case in found] == [False, True]
