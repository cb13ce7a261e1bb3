"""Approvals over the whole way of a post.

It is filed ahead, sent, resent, corrected, posted by hand, and sent in parts.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.account import AccountId, Mode
from publisher.domain.approval import ApprovalRules, Stage
from publisher.domain.delivery import MAINTENANCE, Held, State
from publisher.domain.kinds import PostKind
from publisher.domain.post import PostId
from publisher.domain.results import HoldReason, NotSent, Published, Receipt
from publisher.engine.corrections import send_correction
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.planner import (
    apply_schedule,
    plan_window,
    resend_post,
    send_now,
    send_scheduled_now,
)
from publisher.engine.sender import send_due
from publisher.schedule.load import parse_schedule
from publisher.store.approvals.guard import end_approvals_of
from publisher.store.plan.posts import AuditAction
from publisher.testing.builders import (
    enqueue_posts,
    make_policy,
    make_post,
    unlimited_approver,
)
from publisher.testing.fakes import START_TIME, FakeAdapter
from tests.engine.test_planner import cron, entry, planner  # noqa: F401 # the fixture

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
RULES = ApprovalRules(default=(Stage(name="only"),))
LI = named_person("li")
A = AccountId("a")


@pytest.fixture
def approving(planner):  # noqa: F811 # as above
    """Return a planner of a workspace with one approval for every post."""
    return replace(planner, store=replace(planner.store, approval_rules=RULES))


async def approve(store, post, by="wang"):
    """Approve each occurrence of a post that waits for it."""
    for task in await store.approvals.tasks(PostId(post)):
        if task.status.missing:
            approver = unlimited_approver(by)
            await store.approvals.approve(
                PostId(post), task.status.fingerprint, approver, named_person(by)
            )


async def states(store, post):
    return sorted(
        (item.state.value, item.reason)
        for item in await store.queries.deliveries(PostId(post))
    )


async def test_posts_that_need_approvals_are_rendered_ahead(approving):
    """With approvals, a one-time post is rendered once it is saved.

    A repeating one is rendered a week ahead. Without rules both are rendered two days ahead.
    """
    far = (START_TIME + 30 * DAY).isoformat()
    text = entry("far", at=far) + cron("daily", "0 9 * * *")
    await apply_schedule(approving, text, "schedule.toml")
    filed = await approving.store.queries.deliveries()
    assert {item.key.occurrence for item in filed if item.key.post == "far"} == {"once"}
    assert len({item.key.occurrence for item in filed if item.key.post == "daily"}) == 8
    await approve(approving.store, "daily")
    assert all(
        task.status.is_approved
        for task in await approving.store.approvals.tasks(PostId("daily"))
    )
    context = approving.schedule_context
    schedule = parse_schedule(text, file="schedule.toml", context=context)
    assert (
        await plan_window(
            approving, schedule, await approving.store.posts.schedule_version()
        )
        == 0
    )


async def test_f100_what_is_approved_of_a_post_that_comes_back_stays_approved(
    approving,
):
    """I5: a post deleted by a slip and put back needs no second approval.

    It needs one if the approver is gone by then.
    """
    post = entry("p", at=(START_TIME + DAY).isoformat())
    other = entry("other", at=(START_TIME + DAY).isoformat())
    await apply_schedule(approving, post + other, "schedule.toml")
    await approve(approving.store, "p")
    await apply_schedule(approving, other, "schedule.toml")
    await apply_schedule(approving, post + other, "schedule.toml")
    [task] = await approving.store.approvals.tasks(PostId("p"))
    assert task.status.is_approved
    await apply_schedule(approving, other, "schedule.toml")
    await approving.store.database.write(
        lambda unit: end_approvals_of(
            unit, START_TIME, "wang", named_person("ops"), "user_disabled"
        )
    )
    await apply_schedule(approving, post + other, "schedule.toml")
    [task] = await approving.store.approvals.tasks(PostId("p"))
    assert not task.status.is_approved


async def test_without_rules_nothing_is_rendered_further_ahead(planner):  # noqa: F811 # as above
    """`plan_days` alone counts then."""
    await apply_schedule(
        planner, entry("far", at=(START_TIME + 30 * DAY).isoformat()), "schedule.toml"
    )
    assert await planner.store.queries.deliveries() == []


async def test_what_is_approved_is_sent_as_it_is_when_a_person_sends_it_now(approving):
    """`send POST` renders no new text for a post with approvals, and waits for the rest."""
    soon = START_TIME + timedelta(minutes=50)
    await apply_schedule(approving, entry("p", at=soon.isoformat()), "schedule.toml")
    await approve(approving.store, "p")
    [task] = await approving.store.approvals.tasks(PostId("p"))
    post = await approving.store.posts.get_post(PostId("p"))
    await send_scheduled_now(
        approving, post, AuditAction(event="send_requested", subject="p", by=LI)
    )
    await approving.store.maintenance.promote_requested([PostId("p")])
    [after] = await approving.store.approvals.tasks(PostId("p"))
    assert after.status.fingerprint == task.status.fingerprint
    assert await states(approving.store, "p") == [("due", None)] * 2


async def test_each_order_of_a_person_waits_for_its_own_approval(approving):
    """A sent file, a resend and a correction are new occurrences with their own approval.

    An approval of another occurrence does not count for them.
    """
    store = approving.store
    [post] = parse_schedule(
        entry("p"), file="p.toml", context=approving.schedule_context
    ).posts
    await send_now(
        approving, [post], [AuditAction(event="send_requested", subject="p", by=LI)]
    )
    await approve(store, "p")
    await store.maintenance.run()
    for lease in await store.outbox.claim(10):
        await store.outbox.record_intent(lease)
        receipt = Receipt(remote_id=lease.account, url="", published_at=START_TIME)
        outcome = (
            Published(receipt=receipt)
            if lease.account == A
            else NotSent(reason="cannot_connect")
        )
        await store.outbox.record_outcome(lease, outcome)
    store.runtime.advance_time(2 * DAY)
    await store.maintenance.run()
    assert await states(store, "p") == [("expired", "too_late"), ("published", None)]
    await resend_post(approving, post, [AccountId("b")])
    await store.maintenance.run()
    assert ("pending", "awaiting_approval") in await states(store, "p")
    correction = replace(
        post,
        id=PostId("fix"),
        kind=PostKind.CORRECTION,
        follows=PostId("p"),
        content_hash="fix",
    )
    await send_correction(approving, correction, LI, is_new=True)
    await store.maintenance.run()
    assert await states(store, "fix") == [("pending", "awaiting_approval")]
    assert await store.outbox.claim(10) == []
    await approve(store, "fix", by="chen")
    await store.maintenance.run()
    assert [lease.account for lease in await store.outbox.claim(10)] == ["a"]


async def file_due(open_store, parts=0, mode=Mode.API):
    policy = make_policy("a")
    store = await open_store(
        replace(policy, account=replace(policy.account, mode=mode))
    )
    store = replace(store, approval_rules=RULES)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME), parts=parts)
    return store, {A: FakeAdapter(now=store.runtime.now)}


async def run_jobs(store, adapters):
    await store.maintenance.run()
    await send_due(store, adapters, 10, asyncio.Event())


async def test_a_manual_task_is_assigned_only_once_approved(open_store):
    """A post by hand also needs approval before its task is assigned."""
    store, adapters = await file_due(open_store, mode=Mode.ASSISTED)
    await run_jobs(store, adapters)
    assert await store.manual_tasks.list_open() == []
    await approve(store, "p")
    await run_jobs(store, adapters)
    assert [
        task.delivery.key.post for task in await store.manual_tasks.list_open()
    ] == ["p"]


async def test_further_parts_wait_when_the_approval_is_withdrawn(open_store):
    """After the first part of a text the rest keeps its place and waits for approval.

    Approved again, it goes out.
    """
    store, adapters = await file_due(open_store, parts=1)
    await approve(store, "p")
    await store.maintenance.run()
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    receipt = Receipt(remote_id="1", url="", published_at=START_TIME)
    await store.outbox.record_outcome(lease, Published(receipt=receipt))
    await store.approvals.unapprove(PostId("p"), None, LI, "wrong")
    store.runtime.advance_time(HOUR / 2)
    await run_jobs(store, adapters)
    [delivery] = await store.queries.deliveries(PostId("p"))
    assert (delivery.state, delivery.reason, delivery.attempts) == (
        State.DUE,
        "awaiting_approval",
        1,
    )
    await approve(store, "p")
    store.runtime.advance_time(HOUR)
    await run_jobs(store, adapters)
    [delivery] = await store.queries.deliveries(PostId("p"))
    assert delivery.attempts == 2


async def test_a_held_delivery_that_a_person_releases_needs_its_approval(open_store):
    """`resolve … resend` is one person's decision, and no approval."""
    store, adapters = await file_due(open_store)
    [delivery] = await store.queries.deliveries(PostId("p"))
    hold = Held(reason=HoldReason.POISON)
    held = await store.database.write(
        lambda unit: store.transition(unit, delivery, hold, MAINTENANCE)
    )
    await resolve_delivery(store, held, Resolution.RESEND, by=LI, reason="again")
    await run_jobs(store, adapters)
    [delivery] = await store.queries.deliveries(PostId("p"))
    assert (delivery.state, delivery.reason, delivery.attempts) == (
        State.PENDING,
        "awaiting_approval",
        0,
    )
    await approve(store, "p")
    await run_jobs(store, adapters)
    [delivery] = await store.queries.deliveries(PostId("p"))
    assert delivery.attempts == 1
