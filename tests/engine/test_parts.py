"""A text of several parts: on a healthy platform, on a faulty one, and by hand."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.tieba import TIEBA
from adapters.tieba.capabilities import CAPABILITIES as TIEBA_TRAITS
from publisher.domain.account import Account, AccountId, AccountPolicy, Mode, Platform
from publisher.domain.delivery import State
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    OccurrenceKey,
    PostId,
    derive_marker,
    format_part_prefix,
)
from publisher.domain.results import Busy, HoldReason, Published, Rejected, Unknown
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.reconciler import reconcile_due
from publisher.simulator import create_app
from publisher.store.deliveries.intents import pending_readbacks
from publisher.testing.builders import (
    TEST_RATE_LIMIT,
    TEST_TIMING,
    enqueue_posts,
    make_policy,
    make_post,
)
from publisher.testing.fakes import START_TIME, TEST_CAPABILITIES, FakeAdapter
from tests.adapters.conftest import context_over
from tests.engine.test_sender import run_jobs, run_on, state_of

A = AccountId("a")
HOST = "http://127.0.0.1:8710"
ME = "tb.1.beijing"


async def stage(open_store, *, can_resend=True, mode=Mode.API):
    """Return a worker with one account on a platform with parts, and the platform."""
    policy = make_policy(
        "a",
        capabilities=replace(
            TEST_CAPABILITIES, max_extra_parts=4, can_resend=can_resend
        ),
    )
    store = await open_store(
        replace(policy, account=replace(policy.account, mode=mode))
    )
    fake = FakeAdapter(now=store.runtime.now)
    return store, fake, {A: fake}


def texts(fake):
    return [held.text for held in fake.posts.values()]


def wanted(total=3):
    marker = derive_marker(
        OccurrenceKey(post=PostId("p"), occurrence=ONCE_OCCURRENCE), A
    )
    return [
        f"警惕诈骗〔{marker.code}〕",
        *(f"{format_part_prefix(marker, n, total)}其{n}" for n in range(2, total + 1)),
    ]


async def test_parts_are_sent_one_after_the_other(open_store, runtime):
    """The whole text is published as one delivery, each part once and in its order."""
    store, fake, adapters = await stage(open_store)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME), parts=2)
    await run_on(store, adapters, runtime, minutes=5)
    delivery = await state_of(store)
    assert (delivery.state, delivery.receipt.remote_id, texts(fake)) == (
        State.PUBLISHED,
        "1",
        wanted(),
    )
    assert [request.parent and request.parent.remote_id for request in fake.calls] == [
        None,
        "1",
        "1",
    ]


async def test_f24_a_part_with_a_lost_reply_is_found(open_store, runtime):
    """Neither the post nor the part is sent a second time."""
    store, fake, adapters = await stage(open_store)
    fake.script.extend([fake.lose_reply, fake.lose_reply, Busy(code="busy", reason="")])
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME), parts=2)
    await run_on(store, adapters, runtime, minutes=6)
    assert ((await state_of(store)).state, texts(fake), len(fake.calls)) == (
        State.PUBLISHED,
        wanted(),
        4,
    )


@pytest.mark.long
async def test_f21_an_absent_part_is_sent_again_where_that_is_allowed(
    open_store, runtime
):
    """After proven absence, once, and each part for itself."""
    store, fake, adapters = await stage(open_store)
    fake.script.extend(
        [Unknown(reason="lost"), fake_post(fake), Unknown(reason="lost")]
    )
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME), parts=1)
    await run_on(store, adapters, runtime, minutes=30)
    assert ((await state_of(store)).state, texts(fake), len(fake.calls)) == (
        State.PUBLISHED,
        wanted(2),
        4,
    )


def fake_post(fake):
    return lambda request: Published(receipt=fake.add_post(request))


async def held_part(open_store, runtime):
    """Return a delivery with its second part of three missing.

    The platform forbids a second call.
    """
    store, fake, adapters = await stage(open_store, can_resend=False)
    fake.script.extend([fake_post(fake), Unknown(reason="lost")])
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME), parts=2)
    await run_on(store, adapters, runtime, minutes=14)
    held = await state_of(store)
    assert (held.state, held.reason, held.parts_done) == (
        State.HELD,
        HoldReason.NOT_PUBLISHED,
        1,
    )
    return store, fake, adapters, held


@pytest.mark.long
async def test_a_person_resends_the_part(open_store, runtime):
    """`resend` applies to the part: the post is not sent again, and the next parts follow."""
    store, fake, adapters, held = await held_part(open_store, runtime)
    await resolve_delivery(
        store, held, Resolution.RESEND, by=named_person("li"), reason="not there"
    )
    await run_on(store, adapters, runtime, minutes=3)
    assert ((await state_of(store)).state, texts(fake)) == (State.PUBLISHED, wanted())


@pytest.mark.long
async def test_a_person_confirms_that_the_part_is_published(open_store, runtime):
    """`published` reads first; a found part counts, and the next part is sent.

    A second person's word counts alone.
    """
    store, fake, adapters, held = await held_part(open_store, runtime)
    after = await resolve_delivery(
        store,
        held,
        Resolution.PUBLISHED,
        by=named_person("li"),
        second_person="wang",
        reason="both saw it",
        url="https://x.cn",
    )
    assert (after.state, after.parts_done, after.receipt.remote_id) == (
        State.DUE,
        2,
        "1",
    )
    await run_on(store, adapters, runtime, minutes=3)
    assert ((await state_of(store)).state, texts(fake)) == (
        State.PUBLISHED,
        [wanted()[0], wanted()[2]],
    )


@pytest.mark.long
async def test_a_person_leaves_the_incomplete_text_or_retracts_it(open_store, runtime):
    """F77: `not-published` keeps the hold, `cancel` the published parts, a retraction nothing."""
    store, fake, adapters, held = await held_part(open_store, runtime)
    asked = await resolve_delivery(
        store, held, Resolution.NOT_PUBLISHED, by=named_person("li"), reason="not there"
    )
    assert (asked.state, asked.reason) == (State.HELD, HoldReason.INCOMPLETE)
    left = await resolve_delivery(
        store, asked, Resolution.CANCEL, by=named_person("li"), reason="enough"
    )
    assert (left.state, left.is_incomplete) == (State.PUBLISHED, True)
    await run_on(store, adapters, runtime, minutes=3)
    assert (len(fake.calls), len(fake.posts)) == (2, 1)
    await store.actions.retract("p", None, named_person("li"), "wrong")
    await run_on(store, adapters, runtime, minutes=1)
    assert ((await state_of(store)).state, fake.posts) == (State.RETRACTED, {})


async def test_f45_a_rejected_part_is_alerted(open_store, runtime):
    """Its text is rejected for good: the post stays, and a person decides, with an alert."""
    store, fake, adapters = await stage(open_store)
    fake.script.extend([fake_post(fake), Rejected(code="20021", reason="illegal")])
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME), parts=2)
    await run_on(store, adapters, runtime, minutes=3)
    assert ((await state_of(store)).reason, len(fake.calls)) == (
        HoldReason.INCOMPLETE,
        2,
    )
    assert [alert.code for alert in await store.queries.alerts()] == ["held.incomplete"]


async def test_parts_by_hand_are_a_task_each(open_store, runtime):
    """A person gets one part at a time, with the post to reply to, and each is verified."""
    store, fake, _adapters = await stage(open_store, mode=Mode.ASSISTED)
    adapters = {A: fake}
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME), parts=1)
    tasks = store.manual_tasks
    for number, text in enumerate(wanted(2)):
        await run_on(store, adapters, runtime, minutes=1)
        [task] = await tasks.list_open()
        assert (task.part, task.text) == (number, text)
        doubts = await store.outbox.due_readbacks([State.SUBMITTED], 10)
        request = doubts[0].request if doubts else await parcel_of(store)
        fake.add_post(replace(request, is_manual=True))
        await tasks.record_report(
            task.delivery.id, "https://fake.example/1", named_person("li")
        )
        await run_jobs(store, adapters)
    assert ((await state_of(store)).state, len(fake.calls)) == (State.PUBLISHED, 0)


async def parcel_of(store):
    """Return the request of the only delivery's newest attempt."""
    delivery = await state_of(store)
    return await store.database.read(
        lambda connection: pending_readbacks(store, connection, [delivery])[0].request
    )


@pytest.fixture
async def simulated(open_store, runtime) -> AsyncIterator:
    """Yield the worker and adapter of a Tieba account on a simulator.

    A function for its control endpoints comes with them.
    """
    runtime.clock = datetime.now(UTC)
    transport = httpx.ASGITransport(app=create_app())
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as control:
        account = Account(
            id=A,
            platform=Platform("tieba"),
            identity=ME,
            secret="t",
            base_url=HOST,
            forum="天气",
            has_accepted_risk=True,
        )
        made = await control.post(
            "/_sim/accounts",
            json={"platform": "tieba", "account": ME, "forums": ["天气"]},
        )
        context = context_over(
            transport, made.json, monotonic=runtime.monotonic, now=runtime.now
        )
        store = await open_store(
            AccountPolicy(
                account=account,
                capabilities=TIEBA_TRAITS,
                rate_limit=TEST_RATE_LIMIT,
                timing=TEST_TIMING,
            )
        )
        yield store, {A: TIEBA.create(account, context)}, control


async def acts(control):
    log = (await control.get("/_sim/log")).json()
    return [
        (entry["post_id"], entry.get("thread"))
        for entry in log
        if entry["kind"] == "act"
    ]


async def test_f24_every_lost_reply_on_tieba_is_found_by_reading(simulated, runtime):
    """Thread and parts are adopted from their public view, and none is created twice."""
    store, adapters, control = simulated
    fault = {
        "platform": "tieba",
        "fault": {"kind": "status", "code": 504, "acts": True},
    }
    for endpoint in ("/c/c/thread/add_pc", "/c/c/post/add_pc"):
        await control.post(
            "/_sim/faults", json={**fault, "endpoint": endpoint, "times": 2}
        )
    await enqueue_posts(
        store.posts, make_post("p", ["a"], runtime.now(), title="警惕诈骗电话"), parts=2
    )
    await run_jobs(store, adapters)
    await run_on(store, adapters, runtime, minutes=10)
    delivery = await state_of(store)
    [thread] = (await control.get("/_sim/posts")).json()
    assert (delivery.state, delivery.attempts, delivery.receipt.remote_id) == (
        State.PUBLISHED,
        3,
        thread["id"],
    )
    assert [under for _, under in await acts(control)] == [
        None,
        thread["id"],
        thread["id"],
    ]


@pytest.mark.long
async def test_f46_a_part_in_review_delays_the_next_one(simulated, runtime):
    """Seen by its author only, it is not published; when it passes, the rest follows."""
    store, adapters, control = simulated
    hold = {"kind": "review", "verdict": "hold", "seconds": 9999}
    await control.post(
        "/_sim/faults", json={"endpoint": "/c/c/post/add_pc", "times": 1, "fault": hold}
    )
    await enqueue_posts(
        store.posts, make_post("p", ["a"], runtime.now(), title="警惕诈骗电话"), parts=2
    )
    await run_on(store, adapters, runtime, minutes=10)
    waiting = await state_of(store)
    assert (waiting.state, waiting.parts_done, len(await acts(control))) == (
        State.SUBMITTED,
        1,
        2,
    )
    await control.post("/_sim/review", json={"account": ME, "verdict": "pass"})
    await run_on(store, adapters, runtime, minutes=40, step=timedelta(minutes=1))
    assert (await state_of(store)).state is State.PUBLISHED


async def test_a_deleted_thread_accepts_no_part(simulated, runtime):
    """F48: after a deletion between two parts the next part is refused.

    The account goes on, and a person decides.
    """
    store, adapters, control = simulated
    await control.post("/_sim/settings", json={"tieba_gap": 0})
    await enqueue_posts(
        store.posts, make_post("p", ["a"], runtime.now(), title="警惕诈骗电话"), parts=1
    )
    await run_jobs(store, adapters)
    runtime.advance_time(timedelta(seconds=10))
    await reconcile_due(store, adapters, 10)
    assert (await state_of(store)).state is State.DUE
    [thread] = (await control.get("/_sim/posts")).json()
    await control.delete(f"/_sim/posts/{thread['id']}")
    await run_on(store, adapters, runtime, minutes=2)
    held = await state_of(store)
    assert (held.state, held.reason) == (State.HELD, HoldReason.INCOMPLETE)
    assert await store.queries.pauses() == []
    await store.actions.retract("p", None, named_person("li"), "gone anyway")
    await run_on(store, adapters, runtime, minutes=1)
    assert (await state_of(store)).state is State.RETRACTED
