"""A delivery of several parts in the database, on SQLite and on PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select

from publisher.domain.account import RateLimit
from publisher.domain.delivery import RECONCILER, RETRACTOR, State
from publisher.domain.post import format_part_prefix
from publisher.domain.results import (
    Deleted,
    NotFound,
    ObservedPost,
    Published,
    RateLimited,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.engine.decisions import named_person
from publisher.store.db.intent_journal import JournalRecord
from publisher.store.db.tables import ATTEMPT
from publisher.store.deliveries.intents import Declined
from publisher.store.lost_attempts import RECOVERY_MAINTENANCE, recover
from publisher.testing.builders import (
    TEST_RATE_LIMIT,
    enqueue_posts,
    make_policy,
    make_post,
)
from publisher.testing.fakes import START_TIME, TEST_CAPABILITIES
from tests.store.test_outbox import SECOND, claim_and_intend, only, receipt

FLOORED = replace(TEST_CAPABILITIES, max_extra_parts=4)
MINUTE = 60 * SECOND
ELSE = ObservedPost(
    remote_id="9",
    url="https://fake.example/9",
    published_at=START_TIME - MINUTE,
    text="别的",
)
PACED = RateLimit(
    min_interval=10 * MINUTE, per_hour=3, per_day=5, part_interval=2 * MINUTE
)
"""Of three in an hour, one is reserved for urgent posts."""


def with_parts(name="a", *, quota=TEST_RATE_LIMIT, **rest):
    return make_policy(name, capabilities=FLOORED, rate_limit=quota, **rest)


async def half_published(open_store, *policies, parts=2):
    """Return a worker, and a delivery with only the post itself published, not its parts."""
    store = await open_store(*(policies or (with_parts(),)))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME), parts=parts)
    lease, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(lease, Published(receipt=receipt()))
    return store


async def claim_next_part(store):
    [lease] = await store.outbox.claim(10)
    return lease, await store.outbox.record_intent(lease)


async def test_each_part_is_an_attempt_with_a_request_that_says_where_it_goes(
    open_store,
):
    """Each part has the next number, its own text and no pictures (I3, I13).

    It replies to the post's receipt.
    """
    store = await half_published(open_store)
    for part in (1, 2):
        lease, request = await claim_next_part(store)
        assert (request.attempt, request.part, request.parent, request.images) == (
            part + 1,
            part,
            receipt(),
            (),
        )
        assert (
            request.text
            == f"{format_part_prefix(request.rendered.marker, part + 1, 3)}其{part + 1}"
        )
        assert request.marker.is_in(request.text)
        await store.outbox.record_outcome(lease, Published(receipt=receipt(f"f{part}")))
    done = await only(store)
    assert (done.state, done.extra_parts, done.parts_done, done.receipt) == (
        State.PUBLISHED,
        2,
        3,
        receipt(),
    )
    query = select(ATTEMPT.c.number, ATTEMPT.c.part).order_by(ATTEMPT.c.number)
    rows = await store.database.read(lambda connection: connection.execute(query).all())
    assert [tuple(row) for row in rows] == [(1, 0), (2, 1), (3, 2)]


async def test_an_unknown_outcome_is_about_its_part(open_store, runtime):
    """F02: an unanswered call for a part is searched as that part.

    The search uses the visibility window of the part's own attempt.
    """
    store = await half_published(open_store)
    runtime.advance_time(MINUTE)
    lease, _request = await claim_next_part(store)
    await store.outbox.record_outcome(lease, Unknown(reason="reset"))
    runtime.advance_time(MINUTE)
    [unknown] = await store.outbox.due_readbacks([State.UNKNOWN], 10)
    assert (unknown.request.part, unknown.request.attempt, unknown.request.parent) == (
        1,
        2,
        receipt(),
    )
    assert unknown.request.baseline.taken_at > START_TIME
    found = Published(receipt=receipt("f1"), is_text_confirmed=True)
    after = await store.outbox.record_readback(
        unknown, found, RECONCILER, runtime.monotonic()
    )
    assert (after.state, after.parts_done, after.receipt) == (State.DUE, 2, receipt())


async def test_f15_a_late_answer_for_a_part_that_was_found_stops_nothing(
    open_store, runtime
):
    """F15: a late answer for a found part only confirms the read, and the next part is sent."""
    store = await half_published(open_store)
    runtime.advance_time(MINUTE)
    lease, _request = await claim_next_part(store)
    runtime.advance_time(2 * MINUTE)
    await store.maintenance.expire_leases()
    runtime.advance_time(MINUTE)
    [unknown] = await store.outbox.due_readbacks([State.UNKNOWN], 10)
    await store.outbox.record_readback(
        unknown,
        Published(receipt=receipt("f1"), is_text_confirmed=True),
        RECONCILER,
        runtime.monotonic(),
    )
    await store.outbox.record_outcome(lease, Published(receipt=receipt("f1")))
    after = await only(store)
    assert (after.state, after.parts_done) == (State.DUE, 2)


async def test_a_part_has_its_own_interval_and_uses_no_quota(open_store, runtime):
    """I15: a part follows after its own interval, before other posts, and uses no quota.

    Posts keep the quota.
    """
    store = await half_published(open_store, with_parts(quota=PACED), parts=1)
    await enqueue_posts(store.posts, make_post("q", ["a"], START_TIME))
    await store.maintenance.promote_due()
    assert await store.outbox.claim(10) == []
    assert await store.outbox.next_due_at() == START_TIME + 2 * MINUTE
    runtime.advance_time(2 * MINUTE)
    lease, _request = await claim_next_part(store)
    await store.outbox.record_outcome(lease, Published(receipt=receipt("f1")))
    assert await store.outbox.claim(10) == []
    runtime.advance_time(8 * MINUTE)
    assert len(await store.outbox.claim(10)) == 1


async def test_f26_a_rate_limit_delays_parts_as_well(open_store, runtime):
    """After any refusal by the platform no part of another post is sent in the cooldown."""
    store = await half_published(
        open_store, with_parts(login="shared"), with_parts("b", login="shared")
    )
    await enqueue_posts(store.posts, make_post("q", ["b"], START_TIME, is_urgent=True))
    lease, request = await claim_and_intend(store)
    assert request.account == "b"
    await store.outbox.record_outcome(
        lease, RateLimited(code="often", until=START_TIME + 30 * MINUTE)
    )
    assert await store.outbox.claim(10) == []
    runtime.advance_time(31 * MINUTE)
    [again] = await store.outbox.claim(10)
    assert again.account == "a"


async def test_f73_an_incomplete_text_that_expires_is_alerted_and_held(
    open_store, runtime
):
    """An incomplete text past its expiry goes to a person, with an alert (I2, I10)."""
    store = await half_published(open_store)
    runtime.advance_time(timedelta(hours=25))
    assert await store.maintenance.expire() == 1
    held = await only(store)
    assert (held.state, held.reason) == (State.HELD, "incomplete")
    assert [alert.code for alert in await store.queries.alerts()] == ["held.incomplete"]


async def test_f72_f77_an_incomplete_text_is_cancelled_or_retracted(
    open_store, runtime
):
    """A cancellation holds the post and refuses a claimed worker; an order retracts the post.

    The order retracts the post from its waiting state.
    """
    store = await half_published(open_store)
    [lease] = await store.outbox.claim(10)
    await store.actions.cancel_post("p", named_person("li"), "no")
    assert await store.outbox.record_intent(lease) == Declined(guard="lease_lost")
    assert (await only(store)).reason == "incomplete"
    other = await half_published_too(store)
    [ordered] = await store.actions.retract("q", None, named_person("li"), "wrong")
    assert (ordered.id, ordered.state, ordered.receipt) == (
        other.id,
        State.RETRACTING,
        receipt("2"),
    )
    runtime.advance_time(SECOND)
    [unknown] = await store.outbox.due_readbacks([State.RETRACTING], 10)
    assert (unknown.request.part, unknown.delivery.receipt) == (0, receipt("2"))
    assert (
        await store.outbox.record_readback(
            unknown, Deleted(), RETRACTOR, runtime.monotonic()
        )
    ).state is State.RETRACTED


async def half_published_too(store):
    await enqueue_posts(
        store.posts, make_post("q", ["a"], START_TIME, is_urgent=True), parts=1
    )
    lease, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(lease, Published(receipt=receipt("2")))
    return await only(store, post="q")


async def test_an_order_cancels_what_waits_with_nothing_published(open_store):
    """A post of several parts ends at once if none was sent."""
    store = await open_store(with_parts())
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME), parts=2)
    await store.maintenance.promote_due()
    assert await store.actions.retract("p", None, named_person("li"), "wrong") == []
    assert (await only(store)).state is State.CANCELLED


async def test_a_parts_id_is_no_posts_id(open_store):
    """I8: a part's id that belongs to another delivery's post is evidence, never the receipt."""
    store = await half_published(open_store, with_parts(), with_parts("b"))
    await half_published_too(store)
    lease, request = await claim_next_part(store)
    assert request.parent == receipt()
    after = await store.outbox.record_outcome(lease, Published(receipt=receipt("2")))
    assert (after.state, after.parts_done, after.receipt) == (State.DUE, 2, receipt())


async def test_a_published_post_is_monitored_as_a_post(open_store, runtime):
    """F48: once all parts are published, the account's list is compared with the post.

    It is compared with the publication time, too.
    """
    store = await half_published(open_store, parts=1)
    runtime.advance_time(MINUTE)
    lease, _request = await claim_next_part(store)
    await store.outbox.record_outcome(
        lease, Submitted(ticket=Ticket(payload="7"), check_again_at=runtime.now())
    )
    runtime.advance_time(SECOND)
    [unknown] = await store.outbox.due_readbacks([State.SUBMITTED], 10)
    published = await store.outbox.record_readback(
        unknown, Published(receipt=receipt("f1")), RECONCILER, runtime.monotonic()
    )
    assert published.state is State.PUBLISHED
    monitoring = store.monitoring
    [missed] = await monitoring.compare_list("a", [ELSE])
    assert (missed.request.part, missed.request.attempt) == (0, 1)
    assert missed.request.baseline.taken_at < START_TIME
    for _ in range(2):
        runtime.advance_time(5 * MINUTE)
        after = await monitoring.record_missing(
            missed,
            NotFound(covered_since=missed.request.baseline.taken_at),
            runtime.now(),
        )
    assert after.state is State.REMOVED


async def test_f85_calls_for_several_parts_that_the_database_has_lost_go_to_a_person(
    open_store,
):
    """A journal that shows two parts sends the delivery to a person.

    Both parts may be published. A search for the first part would send it again.
    """
    store = await open_store(with_parts())
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME), parts=2)
    lost = await only(store)
    calls = [
        JournalRecord(
            delivery=lost.id,
            attempt=part + 1,
            fencing_token=part + 1,
            rendered_hash=lost.rendered_hash,
            at=(START_TIME + part * MINUTE).isoformat(),
            post="p",
            occurrence="once",
            account="a",
            part=part,
            identity="a",
            method="",
        )
        for part in (0, 1)
    ]
    await store.database.write(
        lambda unit: recover(store, unit, calls, RECOVERY_MAINTENANCE)
    )
    assert (after := await only(store)).state is State.HELD
    assert (after.reason, after.attempts) == ("incomplete", 2)
    query = select(ATTEMPT.c.number, ATTEMPT.c.part).order_by(ATTEMPT.c.number)
    rows = await store.database.read(lambda connection: connection.execute(query).all())
    assert [tuple(row) for row in rows] == [(1, 0), (2, 1)]
