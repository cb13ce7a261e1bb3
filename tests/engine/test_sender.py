"""From a due delivery to its end, with real databases and a healthy fake platform."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.delivery import SENDER, Held, State
from publisher.domain.post import PostId
from publisher.domain.results import (
    Busy,
    Deleted,
    HoldReason,
    NotSent,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.reconciler import (
    UNRECORDED_READ_DELAY,
    reconcile_due,
    retract_due,
)
from publisher.engine.sender import send_due
from publisher.secrets import SecretError
from publisher.store.db.intent_journal import CallRecord
from publisher.testing.builders import (
    TEST_TIMING,
    enqueue_posts,
    make_policy,
    make_post,
)
from publisher.testing.fakes import START_TIME, FakeAdapter


async def stage(open_store, *names):
    """Return a worker and one platform for these accounts."""
    store = await open_store(*(make_policy(name) for name in names))
    fake = FakeAdapter(now=store.runtime.now)
    return store, fake, dict.fromkeys(store.policies, fake)


async def run_jobs(store, adapters, stopping=None):
    """Run every job once."""
    await store.maintenance.run()
    await send_due(store, adapters, 50, stopping or asyncio.Event())
    await reconcile_due(store, adapters, 50)
    await retract_due(store, adapters, 50)


async def run_on(store, adapters, runtime, minutes, step=timedelta(seconds=30)):
    """Let time pass step by step, with all jobs at each step."""
    for _ in range(timedelta(minutes=minutes) // step):
        runtime.advance_time(step)
        await run_jobs(store, adapters)


async def state_of(store, post="p"):
    [delivery] = await store.queries.deliveries(post=PostId(post))
    return delivery


async def test_a_due_delivery_is_published_once(open_store, runtime):
    """Each account gets its one post, and nothing more happens in later runs."""
    store, fake, adapters = await stage(open_store, "a", "b", "c")
    await enqueue_posts(store.posts, make_post("p", ["a", "b", "c"], START_TIME))
    await run_jobs(store, adapters)
    await run_on(store, adapters, runtime, minutes=5)
    assert sorted(request.account for request in fake.posts.values()) == ["a", "b", "c"]
    assert {item.state for item in await store.queries.deliveries()} == {
        State.PUBLISHED
    }


async def test_f24_a_post_with_a_lost_reply_is_found_and_never_repeated(
    open_store, runtime
):
    """The post with the lost reply is adopted, after one call."""
    store, fake, adapters = await stage(open_store, "a")
    fake.script.append(fake.lose_reply)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, adapters)
    assert (await state_of(store)).state is State.UNKNOWN
    await run_on(store, adapters, runtime, minutes=2)
    delivery = await state_of(store)
    assert (delivery.state, delivery.receipt.remote_id, len(fake.calls)) == (
        State.PUBLISHED,
        "1",
        1,
    )
    assert delivery.verified_at is not None


async def test_f21_a_call_without_effect_is_made_again_after_absence_is_shown(
    open_store, runtime
):
    """Only after the visibility window, once, as attempt two."""
    store, fake, adapters = await stage(open_store, "a")
    fake.script.append(Unknown(reason="timeout"))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, adapters)
    await run_on(store, adapters, runtime, minutes=9)
    assert len(fake.calls) == 1
    await run_on(store, adapters, runtime, minutes=3)
    assert [request.attempt for request in fake.calls] == [1, 2]
    assert (await state_of(store)).state is State.PUBLISHED


async def test_f19_a_call_that_was_not_sent_is_tried_again_soon(open_store, runtime):
    """A refused connection costs a short wait and leaves no unknown outcome."""
    store, fake, adapters = await stage(open_store, "a")
    fake.script.extend(
        [NotSent(reason="connect_failed"), Busy(code="10009", reason="busy")]
    )
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, adapters)
    assert (await state_of(store)).state is State.RETRYING
    await run_on(store, adapters, runtime, minutes=1)
    assert (await state_of(store)).state is State.PUBLISHED
    assert len(fake.calls) == 3


@pytest.mark.parametrize(
    "wait", [None, timedelta(minutes=1)], ids=["not sent", "still preparing"]
)
async def test_an_adapter_that_claims_after_its_call_that_nothing_was_sent_is_not_believed(
    open_store, runtime, wait
):
    """Once the creating call has started, its outcome is unknown.

    A claim that nothing was sent would make the call a second time.
    """
    store, fake, adapters = await stage(open_store, "a")

    def create_and_wait(request):
        store.call_record.record_start(request.delivery, request.fencing_token)
        fake.add_post(request)
        return NotSent(reason="preparing", until=wait and runtime.now() + wait)

    fake.script.append(create_and_wait)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, adapters)
    assert (await state_of(store)).reason == "adapter_failed"
    await run_on(store, adapters, runtime, minutes=5)
    assert ((await state_of(store)).state, len(fake.calls)) == (State.PUBLISHED, 1)


async def test_f45_refused_content_fails_with_its_reason(open_store, runtime):
    """No retry; the reason can be read."""
    store, fake, adapters = await stage(open_store, "a")
    fake.script.append(Rejected(code="20021", reason="illegal"))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_on(store, adapters, runtime, minutes=5)
    delivery = await state_of(store)
    assert (delivery.state, delivery.reason, len(fake.calls)) == (
        State.FAILED,
        "20021",
        1,
    )


class Faulty(FakeAdapter):
    """An adapter with a bug after its call."""

    async def publish(self, request):
        self.add_post(request)
        raise ZeroDivisionError


async def test_an_adapters_bug_is_an_unknown_outcome(open_store, runtime):
    """An exception from an adapter is not taken for failure: the post it made is found."""
    store, _fake, _adapters = await stage(open_store, "a")
    faulty = Faulty(now=runtime.now)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, {"a": faulty})
    assert (await state_of(store)).reason == "adapter_failed"
    await run_on(store, {"a": faulty}, runtime, minutes=2)
    assert (await state_of(store)).state is State.PUBLISHED


async def raise_error():
    raise ZeroDivisionError


async def miss_secret():
    raise SecretError("vault_unreadable", "*", ())


async def hang():
    await asyncio.Event().wait()


class Interrupted(FakeAdapter):
    """An adapter that fails before its creating call, or right after the call has begun."""

    interruption = None
    record = None
    starts_call = False

    async def publish(self, request):
        if self.interruption is None:
            return await super().publish(request)
        if self.starts_call:
            self.record.record_start(request.delivery, request.fencing_token)
        return await self.interruption()


@pytest.mark.parametrize("starts_call", [False, True])
@pytest.mark.parametrize(
    ("interruption", "reason"),
    [
        (raise_error, "adapter_failed"),
        (hang, "time_limit"),
        (miss_secret, "vault_unreadable"),
    ],
)
async def test_only_a_call_that_has_begun_leaves_an_unknown_outcome(  # noqa: PLR0917 # two ways to fail, at two times
    open_store, tmp_path, runtime, interruption, reason, starts_call
):
    """An adapter that fails while it prepares has sent nothing and is tried again.

    Nothing waits for a person.
    """
    calls = CallRecord(tmp_path / "calls.log", "boot-1")
    timing = replace(TEST_TIMING, lease_timeout=timedelta(milliseconds=10))
    store = await open_store(make_policy("a", timing=timing), calls=calls)
    await store.maintenance.expire_own_leases()
    adapter = Interrupted(now=runtime.now)
    adapter.interruption, adapter.record, adapter.starts_call = (
        interruption,
        calls,
        starts_call,
    )
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, {"a": adapter})
    after = await state_of(store)
    assert (after.state, after.reason) == (
        State.UNKNOWN if starts_call else State.RETRYING,
        reason,
    )
    adapter.interruption = None
    await run_on(store, {"a": adapter}, runtime, minutes=1)
    assert (await state_of(store)).state is (
        State.UNKNOWN if starts_call else State.PUBLISHED
    )


@pytest.mark.long
async def test_f47_a_review_without_end_is_alerted_then_held(open_store, runtime):
    """An alert after half an hour, a person after two, and never a second call."""
    store, fake, adapters = await stage(open_store, "a")
    fake.script.append(
        Submitted(ticket=Ticket(payload="none"), check_again_at=START_TIME)
    )
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, adapters)
    await run_on(store, adapters, runtime, minutes=32, step=timedelta(minutes=4))
    assert "review_overdue" in [alert.code for alert in await store.queries.alerts()]
    await run_on(store, adapters, runtime, minutes=95, step=timedelta(minutes=5))
    delivery = await state_of(store)
    assert (delivery.state, delivery.reason, len(fake.calls)) == (
        State.HELD,
        "review_timeout",
        1,
    )


class UnreadableListAdapter(FakeAdapter):
    """A platform with a list that cannot be read."""

    async def find_post(self, request):
        return Unknown(reason="list_unreadable")


@pytest.mark.long
async def test_f52_a_list_that_cannot_be_read_never_proves_absence(open_store, runtime):
    """The delivery waits, then goes to a person; it is not sent again."""
    store, _fake, _adapters = await stage(open_store, "a")
    blind = UnreadableListAdapter(now=runtime.now)
    blind.script.append(Unknown(reason="timeout"))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, {"a": blind})
    await run_on(store, {"a": blind}, runtime, minutes=130, step=timedelta(minutes=5))
    delivery = await state_of(store)
    assert (delivery.state, delivery.reason, len(blind.calls)) == (
        State.HELD,
        "uncheckable",
        1,
    )


async def test_f77_a_retraction_of_an_unknown_outcome_first_finds_then_deletes(
    open_store, runtime
):
    """No further call is made for the post, and the published copy is deleted."""
    store, fake, adapters = await stage(open_store, "a")
    fake.script.append(fake.lose_reply)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, adapters)
    await store.actions.retract(PostId("p"), None, named_person("li"), "wrong text")
    await run_on(store, adapters, runtime, minutes=2)
    assert (await state_of(store)).state is State.RETRACTED
    assert (fake.posts, len(fake.calls)) == ({}, 1)


class UndeletableAdapter(FakeAdapter):
    """An adapter of a platform that has no call to delete a post; people delete there."""

    async def retract(self, receipt):
        pytest.fail("the platform has no call that deletes a post")

    async def check_ticket(self, ticket):
        return (
            await super().check_ticket(ticket)
            if ticket.payload in self.posts
            else Deleted()
        )


@pytest.mark.long
async def test_f78_an_adapter_that_cannot_retract_is_not_asked_to(open_store, runtime):
    """F78: where no call deletes a post, an alert asks a person to delete it.

    It is retracted once a read shows it gone.
    """
    policy = make_policy("a")
    store = await open_store(
        replace(policy, capabilities=replace(policy.capabilities, can_retract=False))
    )
    fake = UndeletableAdapter(now=store.runtime.now)
    adapters = dict.fromkeys(store.policies, fake)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, adapters)
    await store.actions.retract(PostId("p"), None, named_person("li"), "wrong text")
    await run_on(store, adapters, runtime, minutes=2)
    refused, alerts = await state_of(store), await store.queries.alerts()
    assert (refused.state, refused.reason) == (State.RETRACTING, "cannot_retract")
    assert "retraction_refused" in {alert.code for alert in alerts}
    fake.posts.clear()
    await run_on(store, adapters, runtime, minutes=20)
    assert (await state_of(store)).state is State.RETRACTED


async def test_f77_a_post_confirmed_by_people_is_not_taken_for_deleted(
    open_store, runtime
):
    """F77: a post confirmed by two people must be deleted by a person.

    No call was ever made that could be searched for.
    """
    store, _fake, adapters = await stage(open_store, "a")
    await enqueue_posts(
        store.posts, make_post("p", ["a"], START_TIME + timedelta(hours=1))
    )
    held = await store.actions.apply_event(
        (await state_of(store)).id, Held(reason=HoldReason.POISON), SENDER
    )
    await resolve_delivery(
        store,
        held,
        Resolution.PUBLISHED,
        by=named_person("li"),
        second_person="wang",
        reason="both saw it",
        url="https://x.cn",
    )
    await store.actions.retract(PostId("p"), None, named_person("li"), "wrong text")
    await run_on(store, adapters, runtime, minutes=2)
    after = await state_of(store)
    assert (after.state, after.reason) == (State.HELD, "undeletable")


async def test_a_retraction_of_what_was_never_published_ends_too(open_store, runtime):
    """When absence is shown there is nothing left to delete."""
    store, fake, adapters = await stage(open_store, "a")
    fake.script.append(Unknown(reason="timeout"))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, adapters)
    await store.actions.retract(PostId("p"), None, named_person("li"), "wrong text")
    await run_on(store, adapters, runtime, minutes=15)
    assert ((await state_of(store)).state, len(fake.calls)) == (State.RETRACTED, 1)


@pytest.mark.long
async def test_a_persons_confirmation_is_checked_by_reading_first(open_store, runtime):
    """If a read finds it, it is published; if none does while lists may lag, it is held again."""
    store, fake, adapters = await stage(open_store, "a")
    blind = UnreadableListAdapter(now=runtime.now)
    blind.script.append(Unknown(reason="timeout"))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, {"a": blind})
    await run_on(store, {"a": blind}, runtime, minutes=130, step=timedelta(minutes=5))
    for expected in (State.HELD, State.PUBLISHED):
        held = await state_of(store)
        await resolve_delivery(
            store,
            held,
            Resolution.PUBLISHED,
            by=named_person("li"),
            reason="seen",
            url="https://fake.example/1",
        )
        await run_on(store, adapters, runtime, minutes=9)
        if expected is State.HELD:
            assert (await state_of(store)).state is State.UNKNOWN
            await run_on(store, adapters, runtime, minutes=3)
        after = await state_of(store)
        assert after.state is expected
        assert expected is State.PUBLISHED or after.reason == "possible_match"
        fake.add_post(blind.calls[0])


@pytest.mark.long
async def test_f39_a_report_during_a_retraction_is_checked_as_long_as_lists_may_lag(
    open_store, runtime
):
    """F39: the post that a person has just reported is shown minutes later, and deleted then."""
    store, fake, adapters = await stage(open_store, "a")
    blind = UnreadableListAdapter(now=runtime.now)
    blind.script.append(Unknown(reason="timeout"))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, {"a": blind})
    await store.actions.retract(PostId("p"), None, named_person("li"), "wrong text")
    await run_on(store, {"a": blind}, runtime, minutes=60, step=timedelta(minutes=5))
    await resolve_delivery(
        store,
        await state_of(store),
        Resolution.PUBLISHED,
        by=named_person("li"),
        reason="seen",
        url="https://fake.example/1",
    )
    await run_on(store, adapters, runtime, minutes=5)
    assert (await state_of(store)).state is State.RETRACTING
    fake.add_post(blind.calls[0])
    await run_on(store, adapters, runtime, minutes=5)
    assert ((await state_of(store)).state, fake.posts) == (State.RETRACTED, {})


class SlowListAdapter(FakeAdapter):
    """A platform that hides one account's list until an event is set."""

    async def find_post(self, request):
        if request.account == "a":
            await self.shown.wait()
        if request.account == "c":
            self.shown.set()
        return await super().find_post(request)


async def test_a_slow_read_delays_no_other(open_store, runtime):
    """Of three unknown outcomes two are read at once.

    The third is read while the first still waits.
    """
    store, _fake, _adapters = await stage(open_store, "a", "b", "c")
    slow = SlowListAdapter(now=runtime.now)
    slow.shown = asyncio.Event()
    slow.script.extend([slow.lose_reply] * 3)
    await enqueue_posts(store.posts, make_post("p", ["a", "b", "c"], START_TIME))
    await store.maintenance.run()
    await send_due(store, dict.fromkeys("abc", slow), 50, asyncio.Event())
    runtime.advance_time(timedelta(minutes=5))
    assert await reconcile_due(store, dict.fromkeys("abc", slow), 2) == 3
    assert {item.state for item in await store.queries.deliveries()} == {
        State.PUBLISHED
    }


class CountingAdapter(FakeAdapter):
    """A platform that counts the reads of its list."""

    reads = 0

    async def find_post(self, request):
        self.reads += 1
        return await super().find_post(request)


FULL_DISK = """CREATE TRIGGER full BEFORE UPDATE ON delivery
BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_f82_a_platform_is_not_read_each_second_while_no_result_can_be_stored(
    open_store, runtime
):
    """F82: on a full disk a read has no effect, and would be made again at once."""
    store, _fake, _adapters = await stage(open_store, "a")
    counting = CountingAdapter(now=runtime.now)
    counting.script.append(counting.lose_reply)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.run()
    await send_due(store, {"a": counting}, 50, asyncio.Event())
    runtime.advance_time(timedelta(minutes=5))
    await execute(store, FULL_DISK)
    counting.reads = 0
    for _second in range(10):
        with contextlib.suppress(ExceptionGroup):
            await reconcile_due(store, {"a": counting}, 10)
        runtime.advance_time(timedelta(seconds=1))
    assert counting.reads == 1
    await execute(store, "DROP TRIGGER full")
    runtime.advance_time(UNRECORDED_READ_DELAY)
    await reconcile_due(store, {"a": counting}, 10)
    assert (await state_of(store)).state is State.PUBLISHED


async def execute(store, statement):
    await store.database.write(
        lambda transaction: transaction.connection.exec_driver_sql(statement)
    )


class SlowToDelete(FakeAdapter):
    """A platform that deletes the first post only once the third is deleted."""

    async def retract(self, receipt):
        if receipt.remote_id == "1":
            await self.reached.wait()
        if receipt.remote_id == "3":
            self.reached.set()
        return await super().retract(receipt)


async def test_f78_a_deletion_that_hangs_delays_no_other(open_store):
    """Of three retractions two are begun at once; the third is made while the first still hangs."""
    store, _fake, _adapters = await stage(open_store, "a", "b", "c")
    slow = SlowToDelete(now=store.runtime.now)
    slow.reached = asyncio.Event()
    adapters = dict.fromkeys("abc", slow)
    await enqueue_posts(store.posts, make_post("p", ["a", "b", "c"], START_TIME))
    await store.maintenance.run()
    await send_due(store, adapters, 50, asyncio.Event())
    await store.actions.retract(PostId("p"), None, named_person("li"), "wrong text")
    async with asyncio.timeout(30):
        assert await retract_due(store, adapters, 2) == 3
    assert {item.state for item in await store.queries.deliveries()} == {
        State.RETRACTED
    }


async def test_f14_a_stopping_daemon_begins_no_read(open_store, runtime):
    """An unknown outcome stays so for the next start, however many are due."""
    store, fake, adapters = await stage(open_store, "a")
    fake.script.append(fake.lose_reply)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.run()
    await send_due(store, adapters, 50, asyncio.Event())
    runtime.advance_time(timedelta(minutes=5))
    stopping = asyncio.Event()
    stopping.set()
    assert await reconcile_due(store, adapters, 50, stopping) == 0
    assert (await state_of(store)).state is State.UNKNOWN


async def test_f14_a_stopping_daemon_claims_nothing_new(open_store):
    """After the stop is requested no call starts, and due deliveries stay due."""
    store, fake, adapters = await stage(open_store, "a")
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    stopping = asyncio.Event()
    stopping.set()
    await run_jobs(store, adapters, stopping)
    assert ((await state_of(store)).state, fake.calls) == (State.DUE, [])


async def test_f02_a_delivery_left_in_sending_by_a_killed_process_is_resolved_by_reading(
    open_store, runtime
):
    """A restart ends every lease: calls with an intent are unknown, claims are due again."""
    store, fake, adapters = await stage(open_store, "a", "b")
    await enqueue_posts(store.posts, make_post("p", ["a", "b"], START_TIME))
    await store.maintenance.promote_due()
    first, _second = await store.outbox.claim(10)
    await store.outbox.record_intent(first)
    assert await store.maintenance.expire_own_leases() == 2
    await run_on(store, adapters, runtime, minutes=15)
    assert {item.state for item in await store.queries.deliveries()} == {
        State.PUBLISHED
    }
    assert len(fake.posts) == 2
