"""A large acceptance in batches: other work goes on in between, and a kill in the middle loses and doubles nothing."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.delivery import State
from publisher.domain.plan import Plan, PlanWindow, RemovedTargets, plan
from publisher.domain.post import ONCE_OCCURRENCE, OccurrenceKey, OneTimeTrigger, PostId, Schedule
from publisher.runtime.clock import FailpointRaisedError
from publisher.store.plan.posts import FIRST_BATCH_SIZE, NEXT_BATCH_SIZE, PlanCommit, split_into_batches
from publisher.store.recovery.recover import RECOVERY_MAINTENANCE, mark_waiting_unresolved
from publisher.testing.builders import enqueue_posts, make_policy, make_post, make_rendered_delivery
from publisher.testing.fakes import START_TIME

HOUR = timedelta(hours=1)
NAMES = [f"a{number}" for number in range(10)]
MANY = [make_post(f"p{number:02}", NAMES, START_TIME + HOUR) for number in range(50)]
ALL = {(post.id, account): State.PENDING for post in MANY for account in NAMES}
NOTHING = Plan()
URGENT = make_post("urgent", ["a0"], START_TIME, is_urgent=True)


@pytest.fixture(autouse=True)
def _few_come_together(monkeypatch):
    """Limit what is applied with a version to one batch of new posts."""
    monkeypatch.setattr("publisher.store.plan.posts.FIRST_BATCH_SIZE", NEXT_BATCH_SIZE)


async def test_i22_a_small_change_is_applied_with_its_version(open_desk, monkeypatch):
    """Up to a limit the plan is that of the old version or that of the new one, and never anything between."""
    monkeypatch.setattr("publisher.store.plan.posts.FIRST_BATCH_SIZE", FIRST_BATCH_SIZE)
    desk = await open_desk(*map(make_policy, NAMES))
    die(desk, 2)
    assert await accept(desk, MANY) == len(ALL)
    assert await states(desk) == ALL


@pytest.fixture
async def desk(open_desk):
    return await open_desk(*map(make_policy, NAMES))


async def accept(desk, posts, *, changes=NOTHING, drafts=(), text="new", based_on=0):
    """Accept a version of the schedule with these posts."""
    drafted = [*drafts, *(make_rendered_delivery(post, post.trigger.at) for post in posts)]
    acceptance = PlanCommit(plan=changes, rendered=drafted, posts=posts, schedule_text=text, base_version=based_on)
    return await desk.post_store.commit_plan(acceptance)


async def complete(desk, *posts):
    """Plan again from the version in force, as every planning run does; return the number of new deliveries."""
    now, known = desk.store.runtime.now(), await desk.post_store.stored_posts(posts)
    found = plan(Schedule(posts=posts), known, PlanWindow(now=now, until=now + 48 * HOUR), {})
    drafts = [make_rendered_delivery(filing.post, filing.occurrence.due_at) for filing in found.planned]
    based_on = await desk.post_store.schedule_version()
    return await desk.post_store.commit_plan(PlanCommit(plan=Plan(), rendered=drafts, base_version=based_on))


async def states(desk):
    return {(item.key.post, item.account): item.state for item in await desk.store.queries.deliveries()}


def die(desk, portion):
    desk.store.runtime.failpoints = {"plan.after_insert": ("raise", portion)}


async def test_i20_a_claim_is_made_between_the_batches_of_an_acceptance(desk):
    """An urgent post is claimed and its intent written while most of what was accepted is still to be filed."""
    await enqueue_posts(desk.post_store, URGENT)
    await desk.maintenance.promote_due()
    filing = asyncio.create_task(accept(desk, MANY))
    await asyncio.sleep(0)
    [lease] = await desk.outbox.claim(1)
    await desk.outbox.record_intent(lease)
    filed = len(await states(desk)) - 1
    assert 0 < filed < len(ALL) - NEXT_BATCH_SIZE
    assert await filing == len(ALL)
    assert await states(desk) == {**ALL, (URGENT.id, "a0"): State.SENDING}


@pytest.mark.parametrize("portion", range(1, 6))
async def test_i22_a_kill_in_any_batch_is_repaired_by_the_next_run(desk, portion):
    """In the first batch nothing has happened; later the version is in force, and what is missing is filed once."""
    die(desk, portion)
    with pytest.raises(FailpointRaisedError):
        await accept(desk, MANY)
    assert (await desk.post_store.schedule_version(), len(await states(desk))) == (
        int(portion > 1),
        (portion - 1) * NEXT_BATCH_SIZE,
    )
    if portion > 1:
        assert await complete(desk, *MANY) == len(ALL) - (portion - 1) * NEXT_BATCH_SIZE
        assert await states(desk) == ALL
        assert await complete(desk, *MANY) == 0


async def test_i21_cancellations_and_edits_are_applied_with_the_version(desk):
    """A kill among the new posts leaves no old text that could be sent, no wrong recipient, and no account missing."""
    edited, gone, spared, joined = (
        make_post(name, ["a0", "a1"], START_TIME) for name in ("edited", "gone", "spared", "joined")
    )
    await enqueue_posts(desk.post_store, edited, gone, spared, joined)
    new = replace(edited, title="改", content_hash="edited/new")
    others = replace(joined, accounts=("a2",))
    changes = Plan(
        removed_posts=(gone.id,),
        removed_targets=(
            RemovedTargets(key=OccurrenceKey(post=spared.id, occurrence=ONCE_OCCURRENCE), accounts=("a1",)),
        ),
    )
    join = make_rendered_delivery(others, START_TIME)
    join = replace(join, planned=replace(join.planned, is_late_addition=True))
    die(desk, 2)
    with pytest.raises(FailpointRaisedError):
        await accept(desk, MANY, changes=changes, drafts=[make_rendered_delivery(new, START_TIME, is_new=False), join])
    found = {key: state for key, state in (await states(desk)).items() if key not in ALL}
    gone_ones = {("gone", "a0"), ("gone", "a1"), ("spared", "a1")}
    assert {key for key, state in found.items() if state is State.CANCELLED} == gone_ones
    assert found[PostId("joined"), "a2"] is State.PENDING
    await desk.maintenance.promote_due()
    sent = {}
    for lease in await desk.outbox.claim(10):
        sent[lease.account] = (await desk.outbox.record_intent(lease)).rendered.title
    assert sent == {"a0": "改", "a1": "改", "a2": joined.title}


async def test_a_newer_version_ends_the_filing_of_an_older_one(desk):
    """Posts of the older version alone are not filed any more; the newer one's posts are."""
    older = asyncio.create_task(accept(desk, MANY, text="older"))
    await asyncio.sleep(0)
    changes = Plan(removed_posts=tuple(post.id for post in MANY))
    await accept(desk, [URGENT], changes=changes, text="newer", based_on=1)
    assert 0 < await older < len(ALL)
    assert {state for key, state in (await states(desk)).items() if key in ALL} == {State.CANCELLED}
    assert await complete(desk, URGENT) == 0


async def test_posts_of_a_data_loss_window_are_filed_as_unknown_in_one_transaction(desk):
    """A kill between batches would leave posts that a later run sends at once, as if they were not unknown."""
    at_once = [replace(post, trigger=OneTimeTrigger(at=None)) for post in MANY]
    store = desk.store
    await store.database.write(
        lambda unit: mark_waiting_unresolved(store, unit, START_TIME - HOUR, RECOVERY_MAINTENANCE, exclude=())
    )
    die(desk, 2)
    drafts = [make_rendered_delivery(post, START_TIME) for post in at_once]
    acceptance = PlanCommit(plan=Plan(), rendered=drafts, posts=at_once, schedule_text="new", base_version=0)
    assert await desk.post_store.commit_plan(acceptance) == len(ALL)
    assert set((await states(desk)).values()) == {State.UNKNOWN}


def test_no_follow_up_is_filed_before_its_original():
    """A follow-up without its original is cancelled: originals come first, however late and routine they are."""
    original = make_post("original", NAMES, START_TIME + HOUR)
    update = make_post("update", NAMES, START_TIME + HOUR, follows="original")
    correction = make_post("correction", NAMES, START_TIME + HOUR, follows="update", is_urgent=True)
    edited = make_rendered_delivery(
        make_post("edited", NAMES, START_TIME, follows="original"), START_TIME, is_new=False
    )
    posts = (correction, *MANY, update, original)
    portions = split_into_batches([*(make_rendered_delivery(post, START_TIME + HOUR) for post in posts), edited])
    order = [draft.planned.post.id for portion in portions for draft in portion]
    assert order[:4] == ["original", "edited", "update", "correction"]
    assert len(order) == len(posts) + 1
    assert [draft.planned.post.id for draft in portions[0]][:2] == ["original", "edited"]


def test_urgent_posts_are_filed_first_and_no_occurrence_is_split():
    """The first batch holds the urgent post; each batch has its full size, or one occurrence."""
    wide = make_post("wide", [f"b{number}" for number in range(3 * NEXT_BATCH_SIZE)], START_TIME)
    urgent = make_post("late-but-urgent", NAMES, START_TIME + 9 * HOUR, is_urgent=True)
    portions = split_into_batches([make_rendered_delivery(post, post.trigger.at) for post in (*MANY, wide, urgent)])
    sizes = [sum(len(draft.planned.accounts) for draft in portion) for portion in portions]
    assert portions[0][0].planned.post is urgent
    assert sizes == [10, 3 * NEXT_BATCH_SIZE, *[NEXT_BATCH_SIZE] * 5]
    assert split_into_batches([]) == [[]]
