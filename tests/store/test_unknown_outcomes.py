"""Calls with an unknown or late outcome, on SQLite and on PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.account import CRASH_RETRY_SPREAD, AccountId
from publisher.domain.delivery import (
    RECONCILER,
    RETRACTOR,
    Resolved,
    RetractionRequested,
    State,
)
from publisher.domain.errors import RefusedError
from publisher.domain.post import PostId, SendRequest
from publisher.domain.results import (
    Blocked,
    NotFound,
    NotSent,
    PossibleMatch,
    Published,
    RateLimited,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.store.db.tables import read_deliveries
from publisher.store.deliveries import maintenance
from publisher.store.deliveries.intents import (
    BLOCKED_RETRY_DELAY,
    Declined,
    PendingReadback,
)
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME
from tests.store.test_outbox import SECOND, claim_and_intend, only, receipt

IN_REVIEW = Submitted(
    ticket=Ticket(payload="7"), check_again_at=START_TIME + timedelta(minutes=1)
)


def listing_five():
    """Return an account of a platform that shows its five newest posts."""
    return make_policy(
        "a", capabilities=replace(make_policy("a").capabilities, list_size=5)
    )


async def test_f15_a_result_with_an_old_fencing_token_is_kept_but_changes_nothing(
    open_store, runtime
):
    """A result after the lease was lost is kept as evidence; the delivery stays unknown."""
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    lease, _request = await claim_and_intend(store)
    runtime.advance_time(timedelta(minutes=2))
    assert await store.maintenance.expire_leases() == 1
    after = await store.outbox.record_outcome(lease, Published(receipt=receipt()))
    assert after.state is State.UNKNOWN
    story = await store.queries.delivery_history(after)
    assert "late_outcome_recorded" in [entry.event for entry in story.audit_lines]


@pytest.mark.parametrize(
    "outcome",
    [
        RateLimited(code="429", until=START_TIME + timedelta(minutes=10)),
        RateLimited(code="429", until=None),
        Blocked(code="21332", reason="blocked"),
    ],
)
async def test_f15_a_late_result_still_applies_to_the_login(
    open_store, runtime, outcome
):
    """F15: a rate limit or a blocked account in a late answer still applies to the login."""
    store = await open_store(make_policy("a"))
    await enqueue_posts(
        store.posts,
        make_post("p", ["a"], START_TIME),
        make_post("q", ["a"], START_TIME + SECOND),
    )
    lease, _request = await claim_and_intend(store)
    runtime.advance_time(timedelta(minutes=2))
    await store.maintenance.expire_leases()
    assert (await store.outbox.record_outcome(lease, outcome)).state is State.UNKNOWN
    await store.maintenance.promote_due()
    assert await store.outbox.claim(10) == []


async def intend_and_expire(store, runtime):
    """Write an intent, and let the lease expire before there is an outcome."""
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    lease, _request = await claim_and_intend(store)
    runtime.advance_time(timedelta(minutes=2))
    await store.maintenance.expire_leases()
    return lease


async def prove_absent(store, runtime):
    """Read twice without finding it, the second time after the visibility window."""
    for wait in (timedelta(seconds=31), timedelta(minutes=10)):
        runtime.advance_time(wait)
        after = await learn_missing(store)
    return after


async def test_f15_after_a_late_published_a_delivery_shown_absent_is_not_sent_again(
    open_store, runtime
):
    """F15: the answer contradicts the lists; a person decides before there could be two."""
    store = await open_store()
    lease = await intend_and_expire(store, runtime)
    assert (await prove_absent(store, runtime)).state is State.DUE
    await store.outbox.record_outcome(lease, Published(receipt=receipt()))
    held = await only(store)
    assert (held.state, held.reason) == (State.HELD, "uncheckable")
    [alert] = await store.queries.alerts()
    assert alert.code == "held.uncheckable"


async def test_f02_an_expired_call_is_unknown_and_an_expired_claim_is_due(
    open_store, runtime
):
    """An expired lease leads from `sending` to `unknown`, from `claimed` back to `due`."""
    store = await open_store(make_policy("a"), make_policy("b"))
    await enqueue_posts(store.posts, make_post("p", ["a", "b"], START_TIME))
    await store.maintenance.promote_due()
    first, second = await store.outbox.claim(10)
    await store.outbox.record_intent(first)
    runtime.advance_time(timedelta(minutes=2))
    await store.maintenance.expire_leases()
    states = {item.id: item.state for item in await store.queries.deliveries()}
    assert states == {first.delivery: State.UNKNOWN, second.delivery: State.DUE}


async def die(store, runtime):
    """Let another process, without any lease, end the leases of this one."""
    store.leases.clear()
    runtime.advance_time(timedelta(minutes=2))
    await store.maintenance.expire_leases()


async def test_f89_of_deliveries_that_crashed_together_only_the_one_at_fault_is_held(
    open_store, runtime
):
    """After one crash, deliveries return one by one; only the one at fault crashes and is held.

    The other deliveries are sent.
    """
    store = await open_store(*map(make_policy, "abcd"))
    await enqueue_posts(store.posts, make_post("p", ["a", "b", "c", "d"], START_TIME))
    await store.maintenance.promote_due()
    killer = (await store.outbox.claim(10))[-1].delivery
    await die(store, runtime)
    for _ in range(50):
        runtime.advance_time(CRASH_RETRY_SPREAD / 50)
        for lease in await store.outbox.claim(10):
            if lease.delivery == killer:
                await die(store, runtime)
            else:
                await store.outbox.record_intent(lease)
                await store.outbox.record_outcome(
                    lease, Published(receipt=receipt(str(lease.delivery)))
                )
    found = {
        item.id: (item.state, item.reason) for item in await store.queries.deliveries()
    }
    assert found.pop(killer) == (State.HELD, "poison")
    assert list(found.values()) == [(State.PUBLISHED, None)] * 3


async def test_f89_a_delivery_delayed_by_a_crash_delays_no_other_post_of_its_login(
    open_store, runtime
):
    """While a delivery waits after a crash, its account's next one is sent."""
    store = await open_store(make_policy("a"))
    await enqueue_posts(
        store.posts,
        make_post("first", ["a"], START_TIME - SECOND),
        make_post("second", ["a"], START_TIME),
    )
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(10)
    await die(store, runtime)
    [other] = await store.outbox.claim(10)
    assert other.delivery != lease.delivery


async def leave_unknown(store):
    """Leave one delivery unknown."""
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    lease, request = await claim_and_intend(store)
    await store.outbox.record_outcome(lease, Unknown(reason="reset"))
    return request


async def learn_missing(store, *, can_resend=True):
    [unknown] = await store.outbox.due_readbacks([State.UNKNOWN], 10)
    missing = NotFound(
        covered_since=unknown.request.baseline.taken_at, can_resend=can_resend
    )
    return await store.outbox.record_readback(
        unknown, missing, RECONCILER, store.runtime.monotonic()
    )


async def test_absence_takes_two_reads_the_last_after_the_visibility_window(
    open_store, runtime
):
    """Only then a second call may come, and it is the same delivery's attempt number two."""
    store = await open_store()
    await leave_unknown(store)
    runtime.advance_time(timedelta(seconds=31))
    assert (await learn_missing(store)).state is State.UNKNOWN
    runtime.advance_time(timedelta(minutes=10))
    assert (await learn_missing(store)).state is State.DUE
    _lease, request = await claim_and_intend(store)
    assert request.attempt == 2


async def test_f24_absence_without_a_safe_resend_goes_to_a_person(open_store, runtime):
    """F24: if a repeated call might publish twice, a list that proves absence leads to a person."""
    store = await open_store()
    await leave_unknown(store)
    for wait in (timedelta(seconds=31), timedelta(minutes=10)):
        runtime.advance_time(wait)
        after = await learn_missing(store, can_resend=False)
    assert (after.state, after.reason) == (State.HELD, "not_published")


async def test_f15_a_late_answer_is_alerted_where_a_person_might_resend(
    open_store, runtime
):
    """F15: a late answer is alerted if the delivery is held as absent.

    The first call has published it, and nobody should resolve it without that knowledge.
    """
    store = await open_store()
    first = await intend_and_expire(store, runtime)
    assert (await prove_absent(store, runtime)).state is State.DUE
    second, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(second, Unknown(reason="reset"))
    after = await prove_absent(store, runtime)
    assert (after.state, after.reason) == (State.HELD, "not_published")
    assert (
        await store.outbox.record_outcome(first, Published(receipt=receipt()))
    ).state is State.HELD
    reported = {alert.code: alert.facts for alert in await store.queries.alerts()}
    assert reported["response_late"]["url"] == receipt().url


async def test_f53_a_post_that_a_person_saw_and_no_list_shows_takes_two_people(
    open_store, runtime
):
    """F53: an address given by one person that no list can check needs a second person.

    The hold asks for the second person.
    """
    store = await open_store()
    await leave_unknown(store)
    runtime.advance_time(timedelta(minutes=11))
    out_of_sight = Unknown(reason="list_too_short", is_beyond_list=True)
    [unknown] = await store.outbox.due_readbacks([State.UNKNOWN], 10)
    held = await store.outbox.record_readback(
        unknown, out_of_sight, RECONCILER, runtime.monotonic()
    )
    seen = Resolved(to=State.UNKNOWN, reason="seen", url="https://fake.example/1")
    await store.actions.apply_event(held.id, seen, named_person("li"))
    [unknown] = await store.outbox.due_readbacks([State.UNKNOWN], 10)
    again = await store.outbox.record_readback(
        unknown, out_of_sight, RECONCILER, runtime.monotonic()
    )
    assert (again.state, again.reason) == (State.HELD, "possible_match")


async def test_i24_of_what_is_under_check_only_the_overdue_is_read_each_second(
    open_store, runtime, monkeypatch
):
    """I24: after an outage thousands of outcomes are unknown, and hardly one of them is overdue."""
    read = []

    def record_reads(*facts):
        found = list(read_deliveries(*facts))
        read.extend(found)
        return found

    store = await open_store()
    await leave_unknown(store)
    monkeypatch.setattr(maintenance, "read_deliveries", record_reads)
    runtime.advance_time(
        make_policy("a").timing.unreadable_hold_after - timedelta(minutes=1)
    )
    assert (await store.maintenance.hold_overdue(), read) == (0, [])
    runtime.advance_time(timedelta(minutes=2))
    assert await store.maintenance.hold_overdue() == 1


async def read_without_finding(store, runtime, state, by):
    """Read before and after the visibility window without a finding; return states and delivery.

    The state after each read is returned.
    """
    states = []
    for wait in (timedelta(seconds=31), timedelta(minutes=10)):
        runtime.advance_time(wait)
        [unknown] = await store.outbox.due_readbacks([state], 10)
        finding = Unknown(reason="list_too_short", is_beyond_list=True)
        after = await store.outbox.record_readback(
            unknown, finding, by, runtime.monotonic()
        )
        states.append(after.state)
    return states, after


async def test_f53_an_unlistable_post_goes_to_a_person_once_it_cannot_appear_any_more(
    open_store, runtime
):
    """F53: a post beyond any list goes to a person once it cannot appear any more.

    Others have posted so much since then. Its account is not blocked for hours.
    """
    store = await open_store()
    await leave_unknown(store)
    states, after = await read_without_finding(
        store, runtime, State.UNKNOWN, RECONCILER
    )
    assert states == [State.UNKNOWN, State.HELD]
    assert after.reason == "uncheckable"


async def test_f77_an_unlistable_post_to_be_retracted_goes_to_a_person(
    open_store, runtime
):
    """F77: if no read can show the post to delete, a person must do it once its call is over.

    The call is over once it can have no more effect.
    """
    store = await open_store()
    await leave_unknown(store)
    delivery = await only(store)
    await store.actions.apply_event(
        delivery.id, RetractionRequested(reason="wrong"), named_person("li")
    )
    states, after = await read_without_finding(
        store, runtime, State.RETRACTING, RETRACTOR
    )
    assert states == [State.RETRACTING, State.HELD]
    assert after.reason == "undeletable"
    [alert] = await store.queries.alerts()
    assert alert.code == "held.undeletable"
    ended = await resolve_delivery(
        store,
        after,
        Resolution.NOT_PUBLISHED,
        by=named_person("li"),
        reason="deleted by hand",
    )
    assert ended.state is State.RETRACTED


async def test_f77_a_post_to_be_retracted_from_a_review_is_read_until_the_review_ends(
    open_store, runtime
):
    """F77: a post in review is read until the review ends, as it may still be published.

    No list shows it yet.
    """
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    lease, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(
        lease, Submitted(ticket=Ticket(payload="7"), check_again_at=runtime.now())
    )
    await store.actions.apply_event(
        lease.delivery, RetractionRequested(reason="wrong"), named_person("li")
    )
    runtime.advance_time(timedelta(hours=1))
    [unknown] = await store.outbox.due_readbacks([State.RETRACTING], 10)
    after = await store.outbox.record_readback(
        unknown,
        Unknown(reason="short", is_beyond_list=True),
        RETRACTOR,
        runtime.monotonic(),
    )
    assert after.state is State.RETRACTING


async def test_f08_the_visibility_window_outlives_restarts(open_store, runtime):
    """Another process neither restarts nor shortens the window of an unknown outcome."""
    store = await open_store()
    await leave_unknown(store)
    runtime.advance_time(timedelta(seconds=31))
    before = await learn_missing(store)
    other = await open_store(worker="worker-2")
    runtime.advance_time(timedelta(minutes=10))
    after = await learn_missing(other)
    assert after.state is State.DUE
    assert before.unknown_since == after.unknown_since


async def test_a_second_absence_is_held(open_store, runtime):
    """Nothing is sent a third time without a person."""
    store = await open_store()
    await leave_unknown(store)
    for _ in range(2):
        runtime.advance_time(timedelta(seconds=31))
        await learn_missing(store)
        runtime.advance_time(timedelta(minutes=10))
        after = await learn_missing(store)
        if after.state is State.DUE:
            lease, _request = await claim_and_intend(store)
            await store.outbox.record_outcome(lease, Unknown(reason="reset"))
    assert (after.state, after.reason) == (State.HELD, "not_published")


async def test_an_unknown_post_is_not_pushed_off_the_list(open_store):
    """While a post is unknown, only so many posts follow that the short list still shows it."""
    store = await open_store(listing_five())
    posts = [make_post(f"p{number}", ["a"], START_TIME) for number in range(6)]
    await enqueue_posts(store.posts, *posts)
    lease, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(lease, Unknown(reason="reset"))
    sent = 0
    while True:
        lease, answer = await claim_and_intend(store)
        if isinstance(answer, Declined):
            break
        sent += 1
        await store.outbox.record_outcome(lease, Published(receipt=receipt(str(sent))))
    assert (sent, answer.guard) == (3, "blocked_by_unknown")
    assert [
        alert.code for alert in await store.queries.alerts() if alert.subject == "p4@a"
    ] == ["blocked_by_unknown"]


async def test_f53_calls_that_created_nothing_push_nothing_off_the_list(
    open_store, runtime
):
    """F53: unsent retries of one post block no post, since they push nothing off the list.

    A blocked list would never show that the first post is absent.
    """
    store = await open_store(listing_five())
    await enqueue_posts(
        store.posts,
        *(make_post(f"p{number}", ["a"], START_TIME) for number in range(2)),
    )
    lease, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(lease, Unknown(reason="reset"))
    for _ in range(5):
        lease, answer = await claim_and_intend(store)
        assert isinstance(answer, SendRequest)
        retrying = await store.outbox.record_outcome(
            lease, NotSent(reason="connect_failed")
        )
        runtime.advance_time(retrying.next_action_at - runtime.now())


async def delay_by_unknown(store, event=None):
    """Leave an unknown outcome that delays later due posts; return its delivery."""
    await enqueue_posts(
        store.posts,
        *(make_post(f"p{number}", ["a"], START_TIME) for number in range(8)),
    )
    unknown, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(unknown, Unknown(reason="reset"))
    for number in (1, 2, 3):
        lease, _request = await claim_and_intend(store)
        await store.outbox.record_outcome(
            lease, Published(receipt=receipt(str(number)))
        )
    if event:
        await store.actions.apply_event(unknown.delivery, event, named_person("li"))
    _lease, answer = await claim_and_intend(store)
    assert isinstance(answer, Declined)
    assert await store.outbox.claim(1) == []
    return PendingReadback(delivery=await only(store, post=PostId("p0")), request=None)


async def test_posts_delayed_by_an_unknown_one_are_tried_once_and_sent_when_it_ends(
    open_store, runtime
):
    """The other due posts are not even tried until the unknown outcome ends, and then are sent."""
    store = await open_store(listing_five())
    unknown = await delay_by_unknown(store)
    assert await store.outbox.next_due_at() == runtime.now() + BLOCKED_RETRY_DELAY
    await store.outbox.record_readback(
        unknown, Published(receipt=receipt("0")), RECONCILER, runtime.monotonic()
    )
    _lease, answer = await claim_and_intend(store)
    assert isinstance(answer, SendRequest)


async def test_a_post_to_be_retracted_delays_others_until_it_is_found(
    open_store, runtime
):
    """Once it has its id no list is needed to delete it, so the others are sent at once."""
    store = await open_store(listing_five())
    unknown = await delay_by_unknown(store, RetractionRequested(reason="wrong"))
    found = await store.outbox.record_readback(
        unknown, Published(receipt=receipt("0")), RETRACTOR, runtime.monotonic()
    )
    assert (found.state, found.receipt) == (State.RETRACTING, receipt("0"))
    _lease, answer = await claim_and_intend(store)
    assert isinstance(answer, SendRequest)


async def test_i20_an_urgent_post_is_not_delayed_by_an_unknown_one(open_store):
    """A warning is sent during a routine unknown outcome; the hidden post needs a person."""
    store = await open_store(listing_five())
    await delay_by_unknown(store)
    await enqueue_posts(
        store.posts, make_post("red", ["a"], START_TIME, is_urgent=True)
    )
    lease, answer = await claim_and_intend(store)
    assert isinstance(answer, SendRequest)
    assert (await only(store, post=PostId("red"))).id == lease.delivery


# docs/faults.md has this name
async def test_f77_a_retraction_of_a_post_that_never_appeared_delays_others_for_the_visibility_window_only(
    open_store, runtime
):
    """A retracted post in review that never appears does not block its account for ever."""
    store = await open_store(listing_five())
    await delay_by_unknown(store, RetractionRequested(reason="wrong"))
    runtime.advance_time(store.timing(AccountId("a")).visibility_window + SECOND)
    _lease, answer = await claim_and_intend(store)
    assert isinstance(answer, SendRequest)


@pytest.mark.parametrize(
    "ruling", [Resolution.NOT_PUBLISHED, Resolution.RESEND, Resolution.CANCEL]
)
async def test_f52_a_person_resolves_an_unknown_outcome_that_no_read_ends(
    open_store, runtime, ruling
):
    """If the list cannot be read, a named person decides at once, and waiting posts are sent."""
    store = await open_store(listing_five())
    unknown = await delay_by_unknown(store)
    if ruling is Resolution.RESEND:
        with pytest.raises(RefusedError, match="not_read_yet"):
            await resolve_delivery(
                store,
                unknown.delivery,
                ruling,
                by=named_person("li"),
                reason="looked at the account",
            )
    unread = await store.outbox.record_readback(
        unknown, Unknown(reason="unreadable"), RECONCILER, runtime.monotonic()
    )
    after = await resolve_delivery(
        store, unread, ruling, by=named_person("li"), reason="looked at the account"
    )
    assert after.state in {State.FAILED, State.DUE, State.CANCELLED}
    _lease, answer = await claim_and_intend(store)
    assert isinstance(answer, SendRequest)


@pytest.mark.parametrize("finding", [IN_REVIEW, Unknown(reason="connect_failed")])
async def test_i1_a_post_in_review_is_sent_again_only_once_a_read_was_tried(
    open_store, runtime, finding
):
    """A post in review is resent only after a read was tried, with any result.

    The answer to the call itself is no read. Then a person decides.
    """
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    lease, _request = await claim_and_intend(store)
    submitted = await store.outbox.record_outcome(lease, IN_REVIEW)
    decision = {"by": named_person("li"), "reason": "looked at the account"}
    with pytest.raises(RefusedError, match="not_read_yet"):
        await resolve_delivery(store, submitted, Resolution.RESEND, **decision)
    runtime.advance_time(timedelta(minutes=2))
    [pending] = await store.outbox.due_readbacks([State.SUBMITTED], 10)
    read = await store.outbox.record_readback(
        pending, finding, RECONCILER, runtime.monotonic()
    )
    assert (
        await resolve_delivery(store, read, Resolution.RESEND, **decision)
    ).state is State.DUE


async def test_an_unlistable_post_to_be_retracted_delays_no_other_post(
    open_store, runtime
):
    """An unlistable post that a person must judge delays no other post.

    Posts were sent after that. A read cannot bring it back into the list.
    """
    store = await open_store(listing_five())
    await enqueue_posts(
        store.posts,
        *(make_post(f"p{number}", ["a"], START_TIME) for number in range(9)),
    )
    first, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(first, Unknown(reason="reset"))
    runtime.advance_time(store.timing(AccountId("a")).first_check_after)
    [unknown] = await store.outbox.due_readbacks([State.UNKNOWN], 1)
    await store.outbox.record_readback(
        unknown,
        PossibleMatch(remote_id="0", url="https://fake.example/0"),
        RECONCILER,
        runtime.monotonic(),
    )
    for number in range(1, 7):
        lease, _request = await claim_and_intend(store)
        await store.outbox.record_outcome(
            lease, Published(receipt=receipt(str(number)))
        )
    after = await store.actions.apply_event(
        first.delivery, RetractionRequested(reason="wrong"), named_person("li")
    )
    assert (after.state, after.receipt) == (State.RETRACTING, None)
    _lease, answer = await claim_and_intend(store)
    assert isinstance(answer, SendRequest)


async def test_i9_a_refused_deletion_delays_no_other_post(open_store):
    """A post to be deleted with a known id needs no list to be found in, so the account goes on."""
    store = await open_store(listing_five())
    await enqueue_posts(
        store.posts,
        *(make_post(f"p{number}", ["a"], START_TIME) for number in range(8)),
    )
    lease, _request = await claim_and_intend(store)
    await store.outbox.record_outcome(lease, Published(receipt=receipt("0")))
    await store.actions.apply_event(
        lease.delivery, RetractionRequested(reason="wrong"), named_person("li")
    )
    for number in range(1, 8):
        lease, answer = await claim_and_intend(store)
        assert not isinstance(answer, Declined)
        await store.outbox.record_outcome(
            lease, Published(receipt=receipt(str(number)))
        )
