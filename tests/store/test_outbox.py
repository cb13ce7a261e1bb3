"""The life of a delivery in the database, on SQLite and on PostgreSQL."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from publisher.domain.account import AccountId, RateLimit
from publisher.domain.delivery import (
    RECONCILER,
    RETRACTOR,
    Actor,
    RetractionRequested,
    Role,
    State,
)
from publisher.domain.errors import IllegalTransitionError
from publisher.domain.post import PostId, SendRequest
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Deleted,
    NotSent,
    Published,
    RateLimited,
    Receipt,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.engine.decisions import named_person
from publisher.store.db.intent_journal import read_records
from publisher.store.db.tables import ATTEMPT, AUDIT
from publisher.store.deliveries.intents import Declined
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME

SECOND = timedelta(seconds=1)


async def claim_and_intend(store, *, index=0):
    """Claim due deliveries and write the intent of one call."""
    await store.maintenance.promote_due()
    lease = (await store.outbox.claim(10))[index]
    return lease, await store.outbox.record_intent(lease)


async def only(store, **where):
    deliveries = await store.queries.deliveries(**where)
    assert len(deliveries) == 1
    return deliveries[0]


def receipt(remote_id="1"):
    return Receipt(
        remote_id=remote_id,
        url=f"https://fake.example/{remote_id}",
        published_at=START_TIME,
    )


async def test_planning_twice_changes_nothing(open_store):
    """The same plan filed again adds no delivery."""
    store = await open_store(make_policy("a"), make_policy("b"))
    post = make_post("p", ["a", "b"], START_TIME)
    assert await enqueue_posts(store.posts, post) == 2
    assert await enqueue_posts(store.posts, post) == 0


async def test_an_intent_is_committed_and_journalled_before_its_request_is_returned(
    open_store, tmp_path
):
    """A worker with a send request finds its attempt in the database and its journal line."""
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    lease, request = await claim_and_intend(store)
    assert isinstance(request, SendRequest)
    attempt = await store.database.read(
        lambda connection: connection.execute(select(ATTEMPT)).mappings().one()
    )
    assert (attempt["delivery"], attempt["number"], attempt["fencing_token"]) == (
        lease.delivery,
        1,
        lease.fencing_token,
    )
    assert attempt["rendered_hash"] == request.rendered.fingerprint
    [line] = read_records(tmp_path / "intents.jsonl")
    assert (line.delivery, line.attempt, line.rendered_hash) == (
        lease.delivery,
        1,
        request.rendered.fingerprint,
    )


async def test_every_change_of_state_has_one_audit_entry(open_store):
    """From plan to receipt each step is in the audit log, once, in order."""
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    lease, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(lease, Published(receipt=receipt()))
    entries = select(AUDIT).where(AUDIT.c.subject == "p@a").order_by(AUDIT.c.id)
    rows = await store.database.read(
        lambda connection: connection.execute(entries).mappings().all()
    )
    assert [(row["event"], row["after"]) for row in rows] == [
        ("planned", "pending"),
        ("became_due", "due"),
        ("claimed", "claimed"),
        ("attempt_started", "sending"),
        ("published", "published"),
    ]


async def test_a_login_has_one_claimed_delivery_at_a_time(open_store):
    """Accounts that share a login take turns; during an open claim a second one finds nothing."""
    store = await open_store(
        make_policy("a", login="shared"), make_policy("b", login="shared")
    )
    await enqueue_posts(store.posts, make_post("p", ["a", "b"], START_TIME))
    await store.maintenance.promote_due()
    assert len(await store.outbox.claim(10)) == 1
    assert await store.outbox.claim(10) == []


async def test_f80_two_workers_never_take_the_same_delivery(open_store):
    """Of many workers that claim at once, one gets each delivery."""
    policies = [make_policy(f"a{number}") for number in range(12)]
    stores = [
        await open_store(*policies, worker=f"worker-{number}") for number in range(4)
    ]
    await enqueue_posts(
        stores[0].posts,
        make_post("p", [f"a{number}" for number in range(12)], START_TIME),
    )
    await stores[0].maintenance.promote_due()
    maintenance = await asyncio.gather(
        *(store.outbox.claim(12) for store in stores for _ in range(2))
    )
    taken = [lease.delivery for leases in maintenance for lease in leases]
    assert len(taken) == len(set(taken))
    later = [lease.delivery for lease in await stores[0].outbox.claim(12)]
    assert len(set(taken + later)) == 12


async def test_urgent_posts_overtake(open_store):
    """The urgent one of a login's due posts is sent first, although it is due later."""
    store = await open_store()
    await enqueue_posts(
        store.posts,
        make_post("routine", ["a"], START_TIME - 5 * SECOND),
        make_post("red", ["a"], START_TIME, is_urgent=True),
    )
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(10)
    assert lease.delivery == (await only(store, post=PostId("red"))).id


@pytest.mark.parametrize("is_urgent", [True, False])
async def test_a_request_says_whether_it_is_urgent(open_store, is_urgent):
    """A request says whether it is urgent, for sending and for reading.

    This selects one of an adapter's two ways.
    """
    store = await open_store()
    await enqueue_posts(
        store.posts, make_post("p", ["a"], START_TIME, is_urgent=is_urgent)
    )
    lease, request = await claim_and_intend(store)
    assert request.is_urgent is is_urgent
    await store.outbox.record_outcome(lease, Unknown(reason="timeout"))
    store.runtime.advance_time(timedelta(hours=1))
    [unknown] = await store.outbox.due_readbacks([State.UNKNOWN], 1)
    assert unknown.request.is_urgent is is_urgent


async def test_no_intent_is_written_before_its_instant(open_store, runtime):
    """A delivery promoted early is released when its worker does not wait for the instant."""
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME + SECOND))
    _lease, declined = await claim_and_intend(store)
    assert declined == Declined(guard="not_due")
    runtime.advance_time(SECOND)
    _lease, request = await claim_and_intend(store)
    assert isinstance(request, SendRequest)


async def test_f63_a_post_too_late_for_its_first_call_expires_with_an_alert(
    open_store, runtime
):
    """Beyond `max_delay` a post is not sent, and people are alerted."""
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    runtime.advance_time(timedelta(minutes=31))
    await store.maintenance.promote_due()
    assert await store.outbox.claim(10) == []
    assert await store.maintenance.expire() == 1
    delivery = await only(store)
    assert (delivery.state, delivery.reason) == (State.EXPIRED, "too_late")
    assert [alert.code for alert in await store.queries.alerts()] == [
        "expired.too_late"
    ]


async def test_i6_a_post_about_to_expire_starts_no_call_after_that(open_store, runtime):
    """The time to send a first byte ends with the post's own time, however new its intent is."""
    store = await open_store()
    left = timedelta(milliseconds=100)
    await enqueue_posts(
        store.posts, make_post("p", ["a"], START_TIME, expires_at=START_TIME + left)
    )
    _lease, request = await claim_and_intend(store)
    assert request.start_by == pytest.approx(runtime.monotonic() + left.total_seconds())


async def test_f73_a_post_that_waits_past_its_expiry_expires(open_store, runtime):
    """An expired delivery ends with an alert and is never sent."""
    store = await open_store()
    await enqueue_posts(
        store.posts,
        make_post("p", ["a"], START_TIME, expires_at=START_TIME + timedelta(minutes=5)),
    )
    runtime.advance_time(timedelta(minutes=6))
    assert await store.maintenance.expire() == 1
    assert (await only(store)).state is State.EXPIRED


async def test_f94_nothing_starts_in_a_paused_scope(open_store):
    """A pause of all, a platform, an account or a post stops claims and intents until resumed.

    A restart does not end it.
    """
    store = await open_store()
    actions = store.actions
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    for scope in ("all", "platform:fake", "account:a", "post:p"):
        await actions.pause(scope, named_person("li"), "drill")
        assert await store.outbox.claim(10) == []
        restarted = await open_store()
        assert await restarted.outbox.claim(10) == []
        assert await actions.resume(scope, named_person("li"))
    [lease] = await store.outbox.claim(10)
    await actions.pause("all", named_person("li"), "drill")
    assert await store.outbox.record_intent(lease) == Declined(guard="paused")


async def test_f72_a_cancellation_takes_precedence_over_a_claim(open_store):
    """A delivery cancelled while it is claimed starts no call."""
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(10)
    await store.actions.cancel_post(PostId("p"), named_person("li"), "mistake")
    assert await store.outbox.record_intent(lease) == Declined(guard="lease_lost")
    assert (await only(store)).state is State.CANCELLED


async def test_a_quota_sets_the_cooldown_in_the_intents_transaction(
    open_store, runtime
):
    """After one post the login waits for its minimum interval."""
    quota = RateLimit(min_interval=timedelta(seconds=30), per_hour=10, per_day=10)
    store = await open_store(make_policy("a", rate_limit=quota))
    await enqueue_posts(
        store.posts,
        make_post("p", ["a"], START_TIME),
        make_post("q", ["a"], START_TIME),
    )
    lease, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(lease, Published(receipt=receipt()))
    assert await store.outbox.claim(10) == []
    runtime.advance_time(timedelta(seconds=30))
    assert len(await store.outbox.claim(10)) == 1


async def test_f26_a_rate_limit_sets_the_cooldown_until_it_ends(open_store, runtime):
    """No call of the login starts before the instant that the platform named."""
    store = await open_store(
        make_policy("a", login="shared"), make_policy("b", login="shared")
    )
    await enqueue_posts(
        store.posts,
        make_post("p", ["a"], START_TIME),
        make_post("q", ["b"], START_TIME + SECOND),
    )
    lease, _request = await claim_and_intend(store)
    after = await store.outbox.record_outcome(
        lease, RateLimited(code="429", until=START_TIME + timedelta(minutes=10))
    )
    assert after.state is State.RETRYING
    runtime.advance_time(timedelta(minutes=9))
    await store.maintenance.promote_due()
    assert await store.outbox.claim(10) == []
    runtime.advance_time(timedelta(minutes=2))
    await store.maintenance.promote_due()
    assert len(await store.outbox.claim(10)) == 1


async def test_f88_urgent_posts_are_promoted_before_a_backlog(open_store, monkeypatch):
    """Maintenance promotes urgent posts first, and leaves some of a long backlog for later."""
    monkeypatch.setattr("publisher.store.deliveries.maintenance.MAX_PROMOTED", 200)
    store = await open_store(make_policy("a"))
    routine = [make_post(f"p{number}", ["a"], START_TIME) for number in range(250)]
    await enqueue_posts(
        store.posts,
        *routine,
        replace(make_post("red", ["a"], START_TIME), is_urgent=True),
    )
    assert await store.maintenance.promote_due() == 201
    states = {item.key.post: item.state for item in await store.queries.deliveries()}
    assert states["red"] is State.DUE
    assert Counter(states.values()) == {State.DUE: 201, State.PENDING: 50}
    assert await store.maintenance.promote_due() == 50


async def test_no_id_belongs_to_two_deliveries(open_store):
    """A receipt with another delivery's id proves nothing, and the outcome stays unknown."""
    store = await open_store()
    await enqueue_posts(
        store.posts,
        make_post("p", ["a"], START_TIME),
        make_post("q", ["a"], START_TIME),
    )
    for expected in (State.PUBLISHED, State.UNKNOWN):
        lease, _request = await claim_and_intend(store)
        after = await store.outbox.record_outcome(
            lease, Published(receipt=receipt("same"))
        )
        assert after.state is expected


async def test_f50_a_blocked_account_is_paused_with_an_alert(open_store):
    """The delivery is held, the account is paused until a person resumes it, others go on."""
    store = await open_store(make_policy("a"), make_policy("b"))
    await enqueue_posts(
        store.posts,
        make_post("p", ["a"], START_TIME),
        make_post("q", ["a", "b"], START_TIME + SECOND),
    )
    lease, _request = await claim_and_intend(store)
    after = await store.outbox.record_outcome(
        lease, Blocked(code="20015", reason="frozen")
    )
    assert after.state is State.HELD
    queries = store.queries
    assert [pause.scope for pause in await queries.pauses()] == ["account:a"]
    assert "account_paused" in [alert.code for alert in await queries.alerts()]


async def test_f43_a_second_sign_in_refusal_pauses_every_account_of_the_login(
    open_store,
):
    """One refusal is answered by a new attempt at once; two in a row need a person.

    The alerts of the pauses replace the one that a probe has raised before about the same login.
    """
    store = await open_store(
        make_policy("a", login="shared"), make_policy("b", login="shared")
    )
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    policy = store.policies[AccountId("a")]
    await store.login_health.record_probe(
        policy.account, CredentialExpired(reason="21327")
    )
    assert [alert.code for alert in await store.queries.alerts()] == ["login_refused"]
    for expected in (State.RETRYING, State.HELD):
        lease, _request = await claim_and_intend(store)
        after = await store.outbox.record_outcome(
            lease, CredentialExpired(reason="21327")
        )
        assert after.state is expected
    codes = sorted(alert.code for alert in await store.queries.alerts())
    assert codes == ["account_paused", "account_paused"]
    assert sorted(pause.scope for pause in await store.queries.pauses()) == [
        "account:a",
        "account:b",
    ]


async def test_f20_three_tls_failures_in_a_row_pause_the_account(open_store, runtime):
    """Three TLS failures in a row pause the account until a person has checked.

    It may be an attack. Other failures in between break the row.
    """
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    refused = NotSent(reason="tls_failed")
    paused = []
    for outcome in (
        refused,
        refused,
        Busy(code="busy", reason=""),
        refused,
        refused,
        refused,
    ):
        lease, _request = await claim_and_intend(store)
        await store.outbox.record_outcome(lease, outcome)
        paused.append([pause.scope for pause in await store.queries.pauses()])
        runtime.advance_time(timedelta(minutes=5))
    assert paused == [[], [], [], [], [], ["account:a"]]


async def test_a_follow_up_waits_for_its_original_and_ends_with_it(open_store):
    """An update is sent only where the original is published; otherwise it is cancelled.

    It is cancelled where the original never will be published.
    """
    store = await open_store(make_policy("a"), make_policy("b"))
    await enqueue_posts(
        store.posts,
        make_post("p", ["a"], START_TIME),
        make_post("u", ["a", "b"], START_TIME, follows="p"),
    )
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(10)
    assert await store.maintenance.cancel_orphans() == 1
    on_b = await only(store, post=PostId("u"), account=AccountId("b"))
    assert (on_b.state, on_b.reason) == (State.CANCELLED, "original_not_published")
    await store.outbox.record_intent(lease)
    await store.outbox.record_outcome(lease, Published(receipt=receipt()))
    [update] = await store.outbox.claim(10)
    assert (
        update.delivery
        == (await only(store, post=PostId("u"), account=AccountId("a"))).id
    )


async def test_i16_a_retraction_ordered_during_a_call_is_remembered(open_store):
    """A post found published after the order is deleted."""
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    lease, _request = await claim_and_intend(store)
    await store.actions.apply_event(
        lease.delivery, RetractionRequested(reason="wrong"), named_person("li")
    )
    after = await store.outbox.record_outcome(lease, Published(receipt=receipt()))
    assert after.state is State.RETRACTING


@pytest.mark.parametrize("role", [Role.MAINTENANCE, Role.PLANNER])
async def test_only_a_person_orders_a_retraction(open_store, role):
    """No job deletes a published post by itself."""

    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    lease, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(lease, Published(receipt=receipt()))
    with pytest.raises(IllegalTransitionError):
        await store.actions.apply_event(
            lease.delivery, RetractionRequested(reason="x"), Actor(role=role, name="x")
        )


async def test_a_recorded_cancellation_keeps_the_lease_of_the_call(open_store, runtime):
    """After a recorded cancellation and a dead worker, the outcome is unknown.

    The login is not blocked for ever.
    """
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await claim_and_intend(store)
    await store.actions.cancel_post(PostId("p"), named_person("li"), "mistake")
    runtime.advance_time(timedelta(minutes=2))
    assert await store.maintenance.expire_leases() == 1
    assert (await only(store)).state is State.UNKNOWN


async def test_a_rate_limit_never_shortens_a_cooldown(open_store, runtime):
    """A cooldown for the quota goes on when the platform names a sooner time, or none."""
    quota = RateLimit(min_interval=timedelta(hours=1), per_hour=10, per_day=10)
    store = await open_store(make_policy("a", rate_limit=quota))
    await enqueue_posts(
        store.posts,
        make_post("p", ["a"], START_TIME),
        make_post("q", ["a"], START_TIME),
    )
    lease, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(lease, RateLimited(code="429", until=None))
    runtime.advance_time(timedelta(minutes=30))
    await store.maintenance.promote_due()
    assert await store.outbox.claim(10) == []


async def test_i14_a_stop_between_intent_and_call_is_seen(open_store, runtime):
    """A pause, a retraction or an expiry that comes while a call is prepared forbids it."""
    store = await open_store(make_policy("a"), make_policy("b"), make_policy("c"))
    for account in ("a", "b", "c"):
        expires_at = START_TIME + timedelta(seconds=20) if account == "c" else None
        await enqueue_posts(
            store.posts,
            make_post(f"p{account}", [account], START_TIME, expires_at=expires_at),
        )
    await store.maintenance.promote_due()
    requests = [
        await store.outbox.record_intent(lease)
        for lease in await store.outbox.claim(10)
    ]
    assert [await store.outbox.may_still_send(request) for request in requests] == [
        True,
        True,
        True,
    ]
    actions = store.actions
    await actions.pause("account:a", named_person("li"), "drill")
    await actions.retract(PostId("pb"), None, named_person("li"), "wrong")
    runtime.advance_time(timedelta(seconds=21))
    assert [await store.outbox.may_still_send(request) for request in requests] == [
        False,
        False,
        False,
    ]


async def test_a_post_published_after_its_cancellation_is_alerted(open_store):
    """People are asked whether to delete it."""
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    lease, _request = await claim_and_intend(store)
    await store.actions.cancel_post(PostId("p"), named_person("li"), "mistake")
    await store.outbox.record_outcome(lease, Published(receipt=receipt()))
    assert "published_after_cancellation" in [
        alert.code for alert in await store.queries.alerts()
    ]


async def test_f78_a_retraction_is_alerted_until_it_is_done(open_store):
    """The alert stands from the order to the confirmation."""
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    lease, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(lease, Published(receipt=receipt()))
    await store.actions.retract(PostId("p"), None, named_person("li"), "wrong")
    assert [alert.code for alert in await store.queries.alerts()] == ["retracting"]
    [unknown] = await store.outbox.due_readbacks([State.RETRACTING], 10)
    await store.outbox.record_readback(
        unknown, Deleted(), RETRACTOR, store.runtime.monotonic()
    )
    assert await store.queries.alerts() == []


async def test_a_released_lease_counts_no_crash(open_store):
    """An orderly stop leaves the delivery due, unchanged."""
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(10)
    await store.outbox.release(lease)
    delivery = await only(store)
    assert (delivery.state, delivery.worker_crashes) == (State.DUE, 0)


async def submitted(store, *names):
    """File one post on each account and let each platform answer with a ticket.

    Each ticket is named like its account.
    """
    await enqueue_posts(store.posts, make_post("p", list(names), START_TIME))
    await store.maintenance.promote_due()
    for lease in await store.outbox.claim(10):
        await store.outbox.record_intent(lease)
        answer = Submitted(
            ticket=Ticket(payload=lease.account),
            check_again_at=START_TIME + 20 * SECOND,
        )
        await store.outbox.record_outcome(lease, answer)


async def test_only_the_named_submission_is_read_sooner(open_store):
    """The read of one account's ticket is due; other accounts and other tickets wait on."""
    store = await open_store(make_policy("a"), make_policy("b"))
    await submitted(store, "a", "b")
    assert (
        await store.outbox.check_now(
            AccountId("a"), lambda ticket: ticket.payload == "b"
        )
        == 0
    )
    assert await store.outbox.check_now(AccountId("a"), lambda _ticket: True) == 1
    [unknown] = await store.outbox.due_readbacks([State.SUBMITTED], 10)
    assert unknown.delivery.account == "a"


async def test_a_read_begun_before_does_not_delay_the_next_one(open_store, runtime):
    """The result of a slow read is kept, but the next read stays as early as it was set."""
    store = await open_store(make_policy("a"))
    await submitted(store, "a")
    runtime.advance_time(60 * SECOND)
    [unknown] = await store.outbox.due_readbacks([State.SUBMITTED], 10)
    runtime.advance_time(SECOND)
    await store.outbox.check_now(AccountId("a"), lambda _ticket: True)
    still = Submitted(
        ticket=Ticket(payload="a"), check_again_at=runtime.now() + 60 * SECOND
    )
    after = await store.outbox.record_readback(
        unknown, still, RECONCILER, runtime.monotonic()
    )
    assert (after.state, after.next_action_at) == (State.SUBMITTED, runtime.now())


async def test_an_ended_delivery_is_not_read_sooner(open_store):
    """A late message about a post that is already published changes nothing."""
    store = await open_store(make_policy("a"))
    await submitted(store, "a")
    await store.outbox.check_now(AccountId("a"), lambda _ticket: True)
    [unknown] = await store.outbox.due_readbacks([State.SUBMITTED], 10)
    before = await store.outbox.record_readback(
        unknown, Published(receipt=receipt()), RECONCILER, store.runtime.monotonic()
    )
    assert await store.outbox.check_now(AccountId("a"), lambda _ticket: True) == 0
    assert await only(store) == before


async def test_a_start_claims_nothing_while_it_compiles_its_queries(open_store):
    """Before the first call the daemon runs each query once; due deliveries stay as they are."""
    store = await open_store(make_policy("a"))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    before = await store.queries.deliveries()
    await store.outbox.preload()
    assert await store.queries.deliveries() == before
    assert [delivery.state for delivery in before] == [State.DUE]
