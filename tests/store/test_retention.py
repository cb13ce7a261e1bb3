"""Old ended deliveries lose texts, pictures, readbacks and metrics, and nothing still needed."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select, update

from publisher.domain.delivery import State
from publisher.domain.plan import Plan, PlanWindow, plan
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    RenderedImage,
    RenderedRevision,
    Schedule,
)
from publisher.domain.results import NotFound, Published, Reach, Receipt, Unknown
from publisher.engine.decisions import named_person
from publisher.engine.reconciler import retract_due
from publisher.store.db.intent_journal import JOURNAL_RETENTION
from publisher.store.db.monitor_tables import REACH
from publisher.store.db.rows import write_readback
from publisher.store.db.tables import (
    ATTEMPT,
    AUDIT,
    DELIVERY,
    MEDIA,
    READBACK,
    RENDERED_POST,
    SCHEDULE,
)
from publisher.store.deliveries.intents import MAX_OWNED_IDS
from publisher.store.plan.posts import PlanCommit
from publisher.store.retention import (
    PRUNE_BATCH_SIZE,
    PruneCounts,
    compact_journal,
    prune,
)
from publisher.testing.builders import (
    enqueue_posts,
    make_policy,
    make_post,
    make_rendered_delivery,
)
from publisher.testing.fakes import START_TIME, FakeAdapter

KEPT_FOR = timedelta(days=400)
LONG = KEPT_FOR + timedelta(days=2)
POST = make_post("p", ["a"], START_TIME)
PICTURE = RenderedImage(
    sha256="5" * 64, media_type="image/png", size=4, width=1, height=1, alt="示意"
)


@pytest.fixture
async def store(open_store):
    return await open_store(make_policy("a"), make_policy("b"))


async def go_live(store, outcome=None):
    """Make the calls of all that is due, published or with the given outcome."""
    await store.maintenance.promote_due()
    while leases := await store.outbox.claim(10):
        for lease in leases:
            await store.outbox.record_intent(lease)
            receipt = Receipt(
                remote_id=str(lease.delivery),
                url="https://x.example",
                published_at=store.runtime.now(),
            )
            await store.outbox.record_outcome(
                lease, outcome or Published(receipt=receipt)
            )


async def count(store, *tables):
    counts = [select(func.count()).select_from(table) for table in tables]
    return await store.database.read(
        lambda connection: tuple(connection.scalar(query) for query in counts)
    )


async def change(store, post, **values):
    """Set a delivery's state directly."""
    row = update(DELIVERY).where(DELIVERY.c.post == post).values(**values)
    await store.database.write(lambda unit: unit.connection.execute(row))


async def push_down(store, account="a"):
    """Publish so many newer posts on an account that no list shows the older ones any more."""
    rows = [
        {
            **(await row_of(store)),
            "post": f"newer-{number}",
            "remote_id": f"n-{number}",
            "account": account,
        }
        for number in range(MAX_OWNED_IDS)
    ]
    now = store.runtime.now()
    rows = [
        {**row, "published_at": now, "due_at": now, "updated_at": now} for row in rows
    ]
    await store.database.write(
        lambda unit: unit.connection.execute(insert(DELIVERY), rows)
    )


async def row_of(store):
    query = select(DELIVERY).where(DELIVERY.c.post == POST.id)
    row = await store.database.read(
        lambda connection: connection.execute(query).mappings().one()
    )
    return {name: value for name, value in row.items() if name != "id"}


async def is_pruned(store, post="p"):
    [found] = await store.queries.deliveries(post)
    return found.is_pruned


async def publish_long_ago(store):
    """Return one post published long ago, with readbacks and metrics and prunable texts."""
    await enqueue_posts(store.posts, POST)
    await go_live(store)
    [live] = await store.queries.deliveries(POST.id)
    read = NotFound(covered_since=START_TIME)
    await store.database.write(
        lambda unit: write_readback(unit, live.id, 1, START_TIME, read)
    )
    await store.monitoring.record_metrics({live.id: Reach(reads=7)})
    store.runtime.advance_time(LONG)
    await push_down(store)
    await shorten(store)


async def shorten(store):
    """Let the journal remove its old lines; the newest one always stays."""
    await enqueue_posts(store.posts, make_post("fresh", ["b"], store.runtime.now()))
    await go_live(store)
    await compact_journal(store)


async def test_i24_texts_readbacks_and_metrics_are_pruned_and_the_history_stays(store):
    """Its key, its state, its id on the platform, its attempts and its audit entries stay."""
    await publish_long_ago(store)
    [before, *_] = await store.queries.deliveries(POST.id)
    kept = await count(store, ATTEMPT, AUDIT)
    assert await prune(store, KEPT_FOR) == PruneCounts(
        deliveries=1, texts=1, readbacks=1, metrics=1
    )
    assert await count(store, RENDERED_POST, READBACK, REACH) == (1, 0, 0)
    [after, *_] = await store.queries.deliveries(POST.id)
    assert after == replace(before, is_pruned=True)
    assert await count(store, ATTEMPT, AUDIT) == kept
    assert await prune(store, KEPT_FOR) == PruneCounts()


async def test_i1_a_pruned_delivery_is_neither_filed_nor_called_again(
    store, open_store
):
    """A pruned delivery causes no call, no alert and no new delivery after a restart.

    Its post stays in the schedule.
    """
    await publish_long_ago(store)
    assert (await prune(store, KEPT_FOR)).deliveries == 1
    again = await open_store(make_policy("a"), make_policy("b"))
    rows = await count(again, DELIVERY)
    await again.maintenance.expire_own_leases()
    posts = (POST, make_post("fresh", ["b"], START_TIME + LONG))
    now, known = again.runtime.now(), await again.posts.stored_posts(posts)
    found = plan(
        Schedule(posts=posts), known, PlanWindow(now=now, until=now + LONG), {}
    )
    assert found == Plan()
    drafts = [make_rendered_delivery(POST, START_TIME)]
    await again.posts.commit_plan(
        PlanCommit(plan=found, rendered=drafts, posts=posts, schedule_text="again")
    )
    for step in (
        again.maintenance.promote_due,
        again.maintenance.expire,
        again.maintenance.expire_leases,
        again.maintenance.hold_overdue,
    ):
        await step()
    assert await again.outbox.claim(10) == []
    assert await count(again, DELIVERY) == rows
    assert await again.queries.alerts() == []


async def test_a_pruned_delivery_can_still_be_retracted(store):
    """Its id on the platform is all that this needs."""
    await publish_long_ago(store)
    assert (await prune(store, KEPT_FOR)).deliveries == 1
    adapter = FakeAdapter(now=store.runtime.now)
    await store.actions.retract(POST.id, None, named_person("li"), "old")
    assert await retract_due(store, {"a": adapter}, 10) == 1
    [gone] = await store.queries.deliveries(POST.id)
    assert (gone.state, gone.is_pruned) == (State.RETRACTED, True)


@pytest.mark.parametrize(
    ("state", "goes"),
    [
        (state, state in {"retracted", "removed", "failed", "expired", "cancelled"})
        for state in State
        if state != "published"
    ],
)
async def test_only_ended_deliveries_are_pruned(store, state, goes):
    """A delivery that may still lead to a call or a read keeps its text, however old it is."""
    await enqueue_posts(store.posts, POST)
    store.runtime.advance_time(LONG)
    await change(store, POST.id, state=state.value, next_action_at=None)
    await prune(store, KEPT_FOR)
    assert (await is_pruned(store), await count(store, RENDERED_POST)) == (
        goes,
        (int(not goes),),
    )


@pytest.mark.parametrize("what", ["in the list", "by word", "ended of late"])
async def test_a_published_post_that_is_known_only_by_its_text_keeps_it(store, what):
    """A published post keeps its text if only the text identifies it.

    It may still be in its account's list, or only a person's confirmation says that it is
    published.
    """
    await publish_long_ago(store)
    if what == "in the list":
        await change(store, "newer-0", published_at=START_TIME - timedelta(days=1))
    elif what == "by word":
        await change(store, POST.id, is_manually_confirmed=True)
    else:
        await change(
            store,
            POST.id,
            updated_at=store.runtime.now() - KEPT_FOR + timedelta(hours=1),
        )
    await prune(store, KEPT_FOR)
    assert not await is_pruned(store)
    assert await count(store, RENDERED_POST, READBACK, REACH) == (2, 1, 1)


async def test_nothing_is_pruned_by_an_unconfirmed_clock(store):
    """A clock that is years ahead would call everything old."""
    await publish_long_ago(store)
    store.runtime.jump_clock(timedelta(days=1))
    assert await prune(store, KEPT_FOR) == PruneCounts()
    assert not await is_pruned(store)


async def test_f61_the_journal_keeps_its_lines_while_the_clock_is_not_confirmed(store):
    """F61: by a clock that is months ahead, the line of a call that has just ended would be old."""
    for name in ("p", "q"):
        await enqueue_posts(store.posts, make_post(name, ["a"], START_TIME))
        await go_live(store)
    store.runtime.jump_clock(2 * JOURNAL_RETENTION)
    assert await compact_journal(store) == 0
    store.runtime.confirm_clock(store.runtime.read_clocks())
    assert await compact_journal(store) == 1


async def test_a_delivery_named_in_the_journal_is_kept(store):
    """The call of another delivery is not over, so its line stays, and so does its text."""
    await enqueue_posts(store.posts, POST)
    await go_live(store, Unknown(reason="timeout"))
    store.runtime.advance_time(LONG)
    await change(store, POST.id, state=State.FAILED.value, updated_at=START_TIME)
    await prune(store, KEPT_FOR)
    assert not await is_pruned(store)
    over = update(ATTEMPT).values(ended_at=START_TIME)
    await store.database.write(lambda unit: unit.connection.execute(over))
    await shorten(store)
    await prune(store, KEPT_FOR)
    assert await is_pruned(store)


async def file_with_picture(store, post, at):
    draft = make_rendered_delivery(post, at)
    rendered_posts = tuple(
        replace(item, images=(PICTURE,)) for item in draft.revision.rendered_posts
    )
    draft = replace(
        draft,
        revision=RenderedRevision(
            content_hash=post.content_hash, rendered_posts=rendered_posts
        ),
    )
    media = {PICTURE.sha256: ("image/png", b"data")}
    await store.posts.commit_plan(
        PlanCommit(plan=Plan(), rendered=[draft], posts=[post], media=media)
    )


async def test_a_picture_is_pruned_when_no_post_uses_it_any_more(store):
    """A picture that was used again recently, or is used by an old open delivery, is kept."""
    await file_with_picture(store, POST, START_TIME)
    store.runtime.advance_time(LONG)
    await prune(store, KEPT_FOR)
    assert await count(store, MEDIA) == (1,)  # the post is open
    await change(store, POST.id, state=State.CANCELLED.value, updated_at=START_TIME)
    later = make_post("later", ["b"], store.runtime.now())
    await file_with_picture(store, later, store.runtime.now())
    await prune(store, KEPT_FOR)
    assert (await is_pruned(store), await count(store, MEDIA)) == (True, (1,))
    await change(store, "later", state=State.CANCELLED.value)
    store.runtime.advance_time(LONG)
    assert await prune(store, KEPT_FOR) == PruneCounts(
        deliveries=1, texts=1, pictures=1
    )
    await file_with_picture(
        store, make_post("new", ["a"], START_TIME), store.runtime.now()
    )
    assert await count(store, MEDIA) == (1,)


async def test_f75_a_picture_of_a_coming_post_is_kept_whatever_its_expiry_says(store):
    """F75: an earlier release that still runs on another host files posts without saying so."""
    store.runtime.advance_time(LONG)
    await file_with_picture(store, POST, store.runtime.now() + timedelta(hours=3))
    never = update(MEDIA).values(shown_until=START_TIME)
    await store.database.write(lambda unit: unit.connection.execute(never))
    assert await prune(store, KEPT_FOR) == PruneCounts()


async def test_the_text_of_an_open_call_is_kept(store):
    """Another host's journal may still name it: only an ended call has left all journals."""
    await publish_long_ago(store)
    open_again = update(ATTEMPT).where(ATTEMPT.c.delivery == 1).values(ended_at=None)
    await store.database.write(lambda unit: unit.connection.execute(open_again))
    assert await prune(store, KEPT_FOR) == PruneCounts()


async def test_i24_old_versions_of_the_schedule_lose_their_texts_and_the_newest_does_not(
    store,
):
    """Their acceptance and their hashes stay."""
    for text in ("first", "second", "third"):
        await store.posts.commit_plan(
            PlanCommit(
                plan=Plan(),
                schedule_text=text,
                base_version=await store.posts.schedule_version(),
            )
        )
    store.runtime.advance_time(LONG)
    await prune(store, KEPT_FOR)
    query = select(SCHEDULE.c.text, SCHEDULE.c.sha256 != "").order_by(SCHEDULE.c.id)
    rows = await store.database.read(lambda connection: connection.execute(query).all())
    assert rows == [("", True), ("", True), ("third", True)]


async def test_an_edited_post_loses_its_earlier_texts_as_well(store):
    """A text before an edit, kept as somebody had approved it, is pruned with its delivery."""
    await enqueue_posts(store.posts, POST)
    earlier = {"fingerprint": "1", "revision_hash": "1", "account": "a", "body": "{}"}
    row = {**earlier, "post": POST.id, "occurrence": ONCE_OCCURRENCE}
    await store.database.write(
        lambda transaction: transaction.connection.execute(insert(RENDERED_POST), [row])
    )
    assert await count(store, RENDERED_POST) == (2,)
    store.runtime.advance_time(LONG)
    await change(store, POST.id, state=State.CANCELLED.value, updated_at=START_TIME)
    assert (await prune(store, KEPT_FOR)).texts == 2


async def test_i20_other_work_goes_on_during_a_long_pruning(store):
    """An urgent post is claimed while most old posts are unpruned; in the end all are pruned."""
    posts = [
        make_post(f"p{number}", ["a", "b"], START_TIME)
        for number in range(3 * PRUNE_BATCH_SIZE)
    ]
    await enqueue_posts(store.posts, *posts)
    old = update(DELIVERY).values(state=State.CANCELLED.value, updated_at=START_TIME)
    await store.database.write(lambda unit: unit.connection.execute(old))
    store.runtime.advance_time(LONG)
    now = store.runtime.now()
    await enqueue_posts(store.posts, make_post("urgent", ["a"], now, is_urgent=True))
    await store.maintenance.promote_due()
    pruning = asyncio.create_task(prune(store, KEPT_FOR))
    await asyncio.sleep(0)
    assert len(await store.outbox.claim(1)) == 1
    assert not pruning.done()
    assert (await pruning).deliveries == 2 * len(posts)
