"""A large acceptance in batches lets other work go on, and a kill loses and doubles nothing."""

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from publisher.domain.delivery import State
from publisher.domain.plan import Plan, PlanWindow, RemovedTargets, plan
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    OccurrenceKey,
    OneTimeTrigger,
    PostId,
    Schedule,
)
from publisher.runtime.clock import FailpointRaisedError
from publisher.store.db.database import MAX_BATCH_SIZE
from publisher.store.db.tables import DELIVERY
from publisher.store.lost_attempts import RECOVERY_MAINTENANCE, mark_waiting_unresolved
from publisher.store.plan.batches import (
    FIRST_BATCH_SIZE,
    NEXT_BATCH_SIZE,
    PlanBatch,
    split_into_batches,
)
from publisher.store.plan.posts import PlanCommit
from publisher.testing.builders import (
    enqueue_posts,
    make_policy,
    make_post,
    make_rendered_delivery,
)
from publisher.testing.fakes import START_TIME

HOUR = timedelta(hours=1)
NAMES = [f"a{number}" for number in range(10)]
MANY = [make_post(f"p{number:02}", NAMES, START_TIME + HOUR) for number in range(50)]
ALL = {(post.id, account): State.PENDING for post in MANY for account in NAMES}
NOTHING = Plan()
URGENT = make_post("urgent", ["a0"], START_TIME, is_urgent=True)


@pytest.fixture(autouse=True)
def _few_come_together(monkeypatch):
    """Limit the part applied with a version to one batch of new posts."""
    monkeypatch.setattr(
        "publisher.store.plan.batches.FIRST_BATCH_SIZE", NEXT_BATCH_SIZE
    )


async def test_i22_a_small_change_is_applied_with_its_version(open_store, monkeypatch):
    """Up to a limit, the plan is the old version's or the new version's, and never a mix."""
    monkeypatch.setattr(
        "publisher.store.plan.batches.FIRST_BATCH_SIZE", FIRST_BATCH_SIZE
    )
    store = await open_store(*map(make_policy, NAMES))
    die(store, 2)
    assert await accept(store, MANY) == len(ALL)
    assert await states(store) == ALL


@pytest.fixture
async def store(open_store):
    return await open_store(*map(make_policy, NAMES))


async def accept(store, posts, *, changes=NOTHING, drafts=(), text="new", based_on=0):
    """Accept a version of the schedule with these posts."""
    drafted = [
        *drafts,
        *(make_rendered_delivery(post, post.trigger.at) for post in posts),
    ]
    acceptance = PlanCommit(
        plan=changes,
        rendered=drafted,
        posts=posts,
        schedule_text=text,
        base_version=based_on,
    )
    return await store.posts.commit_plan(acceptance)


async def complete(store, *posts):
    """Plan again from the version in force, as each run does; return the number of deliveries.

    Only new deliveries are counted.
    """
    now, known = store.runtime.now(), await store.posts.stored_posts(posts)
    found = plan(
        Schedule(posts=posts), known, PlanWindow(now=now, until=now + 48 * HOUR), {}
    )
    drafts = [
        make_rendered_delivery(planned.post, planned.occurrence.due_at)
        for planned in found.planned
    ]
    based_on = await store.posts.schedule_version()
    return await store.posts.commit_plan(
        PlanCommit(plan=Plan(), rendered=drafts, base_version=based_on)
    )


async def states(store):
    return {
        (item.key.post, item.account): item.state
        for item in await store.queries.deliveries()
    }


def die(store, portion):
    store.runtime.failpoints = {"plan.after_insert": ("raise", portion)}


async def test_i20_a_claim_is_made_between_the_batches_of_an_acceptance(
    store, monkeypatch
):
    """An urgent post is claimed and its intent written while most accepted posts are unfiled."""
    await enqueue_posts(store.posts, URGENT)
    await store.maintenance.promote_due()
    loop = asyncio.get_running_loop()
    has_begun = asyncio.Event()
    is_asked = threading.Event()
    filed = []
    record_intents = store.outbox._record_intents

    def wait_for_the_claim(_runtime, name):
        if name == "plan.after_insert" and not has_begun.is_set():
            loop.call_soon_threadsafe(has_begun.set)
            assert is_asked.wait(60)

    def count_filed(unit, leases):
        filed.append(
            unit.connection.scalar(select(func.count()).select_from(DELIVERY)) - 1
        )
        return record_intents(unit, leases)

    monkeypatch.setattr(type(store.runtime), "hit_failpoint_now", wait_for_the_claim)
    monkeypatch.setattr(store.outbox, "_record_intents", count_filed)
    acceptance = asyncio.create_task(accept(store, MANY))
    await has_begun.wait()
    claiming = asyncio.create_task(store.outbox.claim(1))
    await asyncio.sleep(0)  # it is queued
    is_asked.set()
    [lease] = await claiming
    await store.outbox.record_intent(lease)
    assert 0 < filed[0] < len(ALL) - NEXT_BATCH_SIZE
    assert await acceptance == len(ALL)
    assert await states(store) == {**ALL, (URGENT.id, "a0"): State.SENDING}


@pytest.mark.parametrize("portion", range(1, 6))
async def test_i22_a_kill_in_any_batch_is_repaired_by_the_next_run(store, portion):
    """A kill in the first batch changes nothing; after a later one missing posts are filed once.

    After a later kill the new version is in force.
    """
    die(store, portion)
    with pytest.raises(FailpointRaisedError):
        await accept(store, MANY)
    assert (await store.posts.schedule_version(), len(await states(store))) == (
        int(portion > 1),
        (portion - 1) * NEXT_BATCH_SIZE,
    )
    if portion > 1:
        assert (
            await complete(store, *MANY) == len(ALL) - (portion - 1) * NEXT_BATCH_SIZE
        )
        assert await states(store) == ALL
        assert await complete(store, *MANY) == 0


async def test_i21_cancellations_and_edits_are_applied_with_the_version(store):
    """A kill among new posts leaves no old text, wrong recipient or missing account."""
    edited, gone, spared, joined = (
        make_post(name, ["a0", "a1"], START_TIME)
        for name in ("edited", "gone", "spared", "joined")
    )
    await enqueue_posts(store.posts, edited, gone, spared, joined)
    new = replace(edited, title="改", content_hash="edited/new")
    others = replace(joined, accounts=("a2",))
    changes = Plan(
        removed_posts=(gone.id,),
        removed_targets=(
            RemovedTargets(
                key=OccurrenceKey(post=spared.id, occurrence=ONCE_OCCURRENCE),
                accounts=("a1",),
            ),
        ),
    )
    join = make_rendered_delivery(others, START_TIME)
    join = replace(join, planned=replace(join.planned, is_late_addition=True))
    die(store, 2)
    with pytest.raises(FailpointRaisedError):
        await accept(
            store,
            MANY,
            changes=changes,
            drafts=[make_rendered_delivery(new, START_TIME, is_new=False), join],
        )
    found = {
        key: state for key, state in (await states(store)).items() if key not in ALL
    }
    gone_ones = {("gone", "a0"), ("gone", "a1"), ("spared", "a1")}
    assert {
        key for key, state in found.items() if state is State.CANCELLED
    } == gone_ones
    assert found[PostId("joined"), "a2"] is State.PENDING
    await store.maintenance.promote_due()
    sent = {}
    for lease in await store.outbox.claim(10):
        sent[lease.account] = (await store.outbox.record_intent(lease)).rendered.title
    assert sent == {"a0": "改", "a1": "改", "a2": joined.title}


async def test_a_newer_version_ends_the_planning_of_an_older_one(store, monkeypatch):
    """Posts of the older version alone are not filed any more; the newer one's posts are."""
    write, first_batch, newer_version = (
        store.database.write,
        asyncio.Event(),
        asyncio.Event(),
    )

    async def write_newer_version_second(operation):
        if asyncio.current_task() is not older:
            newer_version.set()
        elif first_batch.is_set():
            await newer_version.wait()
        first_batch.set()
        return await write(operation)

    monkeypatch.setattr(store.database, "write", write_newer_version_second)
    older = asyncio.create_task(accept(store, MANY, text="older"))
    await first_batch.wait()
    changes = Plan(removed_posts=tuple(post.id for post in MANY))
    await accept(store, [URGENT], changes=changes, text="newer", based_on=1)
    assert 0 < await older < len(ALL)
    assert {state for key, state in (await states(store)).items() if key in ALL} == {
        State.CANCELLED
    }
    assert await complete(store, URGENT) == 0


@pytest.mark.long
async def test_posts_of_a_data_loss_window_are_filed_as_unknown_in_one_transaction(
    store,
):
    """Posts of a data loss window are filed as unknown in one transaction.

    After a kill between batches, a later run would send the rest at once, as if they were not
    unknown.
    """
    at_once = [replace(post, trigger=OneTimeTrigger(at=None)) for post in MANY]
    await store.database.write(
        lambda unit: mark_waiting_unresolved(
            store, unit, START_TIME - HOUR, RECOVERY_MAINTENANCE, exclude=()
        )
    )
    die(store, 2)
    drafts = [make_rendered_delivery(post, START_TIME) for post in at_once]
    acceptance = PlanCommit(
        plan=Plan(), rendered=drafts, posts=at_once, schedule_text="new", base_version=0
    )
    assert await store.posts.commit_plan(acceptance) == len(ALL)
    assert set((await states(store)).values()) == {State.UNKNOWN}


def test_no_follow_up_is_filed_before_its_original():
    """Originals are filed before their follow-ups, however late and routine they are.

    A follow-up without its original is cancelled.
    """
    original = make_post("original", NAMES, START_TIME + HOUR)
    update = make_post("update", NAMES, START_TIME + HOUR, follows="original")
    correction = make_post(
        "correction", NAMES, START_TIME + HOUR, follows="update", is_urgent=True
    )
    edited = make_rendered_delivery(
        make_post("edited", NAMES, START_TIME, follows="original"),
        START_TIME,
        is_new=False,
    )
    posts = (correction, *MANY, update, original)
    drafts = [
        *(make_rendered_delivery(post, START_TIME + HOUR) for post in posts),
        edited,
    ]
    portions = split_into_batches(NOTHING, drafts)
    order = [
        draft.planned.post.id for portion in portions for draft in portion.rendered
    ]
    assert order[:4] == ["original", "update", "correction", "edited"]
    assert len(order) == len(posts) + 1


def test_urgent_posts_are_filed_first_and_no_occurrence_is_split():
    """The first batch holds the urgent post; each batch has its full size, or one occurrence."""
    wide = make_post(
        "wide", [f"b{number}" for number in range(3 * NEXT_BATCH_SIZE)], START_TIME
    )
    urgent = make_post("late-but-urgent", NAMES, START_TIME + 9 * HOUR, is_urgent=True)
    drafts = [
        make_rendered_delivery(post, post.trigger.at) for post in (*MANY, wide, urgent)
    ]
    portions = split_into_batches(NOTHING, drafts)
    sizes = [
        sum(len(draft.planned.accounts) for draft in portion.rendered)
        for portion in portions
    ]
    assert portions[0].rendered[0].planned.post is urgent
    assert sizes == [10, 3 * NEXT_BATCH_SIZE, *[NEXT_BATCH_SIZE] * 5]
    assert split_into_batches(NOTHING, []) == [PlanBatch(is_last=True)]


async def test_an_intent_waits_for_no_outcome(store):
    """An intent is written before all waiting outcomes.

    This holds whether or not its transaction has room for both.
    """
    done = []

    def record(_transaction, names):
        done.extend(names)
        return names

    writes = [
        store.database.write_batched(record, f"outcome {number}")
        for number in range(MAX_BATCH_SIZE + 1)
    ]
    await asyncio.gather(
        *writes, store.database.write_batched(record, "intent", goes_first=True)
    )
    assert done[0] == "intent"
    assert len(done) == MAX_BATCH_SIZE + 2


EDITED = [make_post(f"e{number}", NAMES, START_TIME + HOUR) for number in range(6)]
GONE = [make_post(f"g{number}", NAMES, START_TIME + HOUR) for number in range(6)]
NEW_TITLE = "改过的标题"


async def file_and_edit(store):
    """File posts, and return a version that edits half of them and drops the other half."""
    filed = [make_rendered_delivery(post, post.trigger.at) for post in (*EDITED, *GONE)]
    await store.posts.commit_plan(
        PlanCommit(
            plan=NOTHING,
            rendered=filed,
            posts=[*EDITED, *GONE],
            schedule_text="old",
            base_version=0,
        )
    )
    return [
        replace(post, title=NEW_TITLE, content_hash=f"{post.id}/new") for post in EDITED
    ]


async def find_changes(store, posts):
    """Compare the posts with the store; return the plan and its final texts."""
    now, known = store.runtime.now(), await store.posts.stored_posts(posts)
    found = plan(
        Schedule(posts=tuple(posts)),
        known,
        PlanWindow(now=now, until=now + 48 * HOUR),
        {},
    )
    return found, [
        make_rendered_delivery(item.post, item.occurrence.due_at, is_new=item.is_new)
        for item in found.planned
    ]


async def change(store, posts, text=None):
    """Put a version in force, or complete the one in force; return the number of transactions."""
    written = []
    write = store.database.write

    async def count(operation, *args):
        written.append(operation)
        return await write(operation, *args)

    found, drafts = await find_changes(store, posts)
    version = await store.posts.schedule_version()
    commit = PlanCommit(plan=found, rendered=drafts, base_version=version)
    if text is not None:
        commit = replace(commit, posts=posts, schedule_text=text)
    store.database.write = count
    try:
        await store.posts.commit_plan(commit)
    finally:
        store.database.write = write
    return len(written)


async def titles(store):
    """Return the set of titles of each open occurrence, over all its accounts."""
    found = {}
    for item in await store.queries.deliveries():
        if item.state is State.PENDING:
            rendered = await store.occurrences.rendition(item.rendered_hash)
            found.setdefault(item.key.post, set()).add(rendered.title)
    return found


async def test_f88_an_edit_of_many_posts_lets_other_writers_in(store):
    """Revisions and removals come in portions, so a claim waits for one portion at most.

    New posts come in portions too.
    """
    new = await file_and_edit(store)
    assert await change(store, new, "new") > 5
    assert await titles(store) == {post.id: {NEW_TITLE} for post in new}
    found, _drafts = await find_changes(store, new)
    assert found == NOTHING


@pytest.mark.parametrize("portion", [1, 2, 4, 6])
async def test_i22_a_kill_in_any_portion_of_an_edit_is_completed_by_the_next_run(
    store, portion
):
    """I21: after a kill no occurrence has two texts, and the next run completes the edit.

    It asks nobody again about the removals.
    """
    new = await file_and_edit(store)
    die(store, portion)
    with pytest.raises(FailpointRaisedError):
        await change(store, new, "new")
    assert await store.posts.schedule_version() == 1 + (portion > 1)
    assert all(len(found) == 1 for found in (await titles(store)).values())
    store.runtime.failpoints = {}
    if portion > 1:
        found, _drafts = await find_changes(store, new)
        assert not any(target.by_settings for target in found.removed_targets)
        await change(store, new)
        assert await titles(store) == {post.id: {NEW_TITLE} for post in new}
        assert (await find_changes(store, new))[0] == NOTHING


async def test_i20_an_urgent_post_in_a_large_edit_is_filed_first(store):
    """A new urgent post in the same file as a large edit is filed with the version."""
    new = await file_and_edit(store)
    die(store, 2)
    with pytest.raises(FailpointRaisedError):
        await change(store, [*new, URGENT], "new")
    assert (await states(store))[URGENT.id, "a0"] is State.PENDING


@pytest.mark.parametrize("is_urgent", [False, True])
def test_f100_a_moved_occurrence_is_taken_out_before_it_is_filed_at_its_new_time(
    is_urgent,
):
    """F100: a moved occurrence is removed before it is filed at its new time.

    In the other order, a daemon that ends between the batches could send it at both times.
    """
    moved = make_post("moved", NAMES, START_TIME + HOUR, is_urgent=is_urgent)
    others = [make_rendered_delivery(post, START_TIME + HOUR / 2) for post in MANY]
    new = make_rendered_delivery(moved, START_TIME + HOUR, occurrence_id="new")
    old = RemovedTargets(
        key=OccurrenceKey(post=moved.id, occurrence="old"),
        accounts=moved.accounts,
        due_at=START_TIME + 2 * HOUR,
    )
    batches = split_into_batches(Plan(removed_targets=(old,)), [*others, new])
    [removed_in] = [
        number for number, batch in enumerate(batches) if old in batch.removed_targets
    ]
    [filed_in] = [
        number for number, batch in enumerate(batches) if new in batch.rendered
    ]
    assert removed_in <= filed_in
    assert (removed_in == 0) == is_urgent
