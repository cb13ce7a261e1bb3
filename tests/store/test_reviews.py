"""F47: an unknown outcome under a review that may hide the post from its list for hours."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from publisher.domain.account import AccountId
from publisher.domain.delivery import (
    PLANNER,
    RECONCILER,
    RETRACTOR,
    Cancelled,
    RetractionRequested,
    Revised,
    State,
)
from publisher.domain.post import PostId, SendRequest
from publisher.domain.results import NotFound, Published, Unknown
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.store.deliveries.intents import Declined, PendingReadback
from publisher.testing.builders import (
    TEST_TIMING,
    enqueue_posts,
    make_policy,
    make_post,
)
from publisher.testing.fakes import START_TIME
from tests.store.test_outbox import claim_and_intend, only, receipt

REVIEW = timedelta(hours=6)
PAGE = "https://fake.example/a"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def reviewing(list_size=None):
    """Return an account of a platform with a longest review of REVIEW."""
    policy = make_policy("a", timing=replace(TEST_TIMING, review_window=REVIEW))
    traits = replace(
        policy.capabilities,
        longest_review=REVIEW,
        account_url=PAGE,
        list_size=list_size,
    )
    return replace(policy, capabilities=traits)


async def leave_unknown(store, *, is_urgent=False, **changes):
    await enqueue_posts(
        store.posts, make_post("p", ["a"], START_TIME, is_urgent=is_urgent, **changes)
    )
    lease, _request = await claim_and_intend(store)
    return await store.outbox.record_outcome(lease, Unknown(reason="reset"))


async def read_missing(store, state=State.UNKNOWN, by=RECONCILER):
    """Make the due read, without the post in its result."""
    [pending] = await store.outbox.due_readbacks([state], 10)
    missing = NotFound(covered_since=pending.request.baseline.taken_at)
    return await store.outbox.record_readback(
        pending, missing, by, store.runtime.monotonic()
    )


async def read_until(store, runtime, end, state=State.UNKNOWN, by=RECONCILER):
    """Read at each due time until `end` or a change of state; return the delivery and instants."""
    delivery, taken = await only(store, post=PostId("p")), []
    while delivery.state is state and delivery.next_action_at <= end:
        runtime.advance_time(max(delivery.next_action_at - runtime.now(), timedelta(0)))
        delivery = await read_missing(store, state, by)
        taken.append(runtime.now())
    return delivery, taken


async def alert_codes(store):
    return {alert.code for alert in await store.queries.alerts()}


async def test_f47_what_is_absent_is_sent_again_only_after_the_longest_review(
    open_store, runtime
):
    """A lost answer with a long review: a second call before its end would make two posts."""
    store = await open_store(reviewing())
    await leave_unknown(store)
    waiting, _taken = await read_until(store, runtime, START_TIME + REVIEW)
    assert (waiting.state, waiting.reason) == (State.UNKNOWN, "review_possible")
    assert await store.maintenance.hold_overdue() == 0
    due, _taken = await read_until(store, runtime, START_TIME + REVIEW + MINUTE)
    assert (due.state, due.reason) == (State.DUE, "absence_proven")
    _lease, request = await claim_and_intend(store)
    assert request.attempt == 2


async def test_f47_a_review_is_waited_for_with_few_reads(open_store, runtime):
    """The reads of a day are few: their intervals grow up to an hour."""
    store = await open_store(reviewing())
    await leave_unknown(store)
    _due, taken = await read_until(store, runtime, START_TIME + REVIEW + MINUTE)
    assert len(taken) <= 14
    assert all(
        later - earlier <= timedelta(hours=1) for earlier, later in pairwise(taken)
    )


async def test_f47_a_post_that_appears_after_its_review_is_published(
    open_store, runtime
):
    store = await open_store(reviewing())
    await leave_unknown(store)
    await read_until(store, runtime, START_TIME + timedelta(hours=3))
    runtime.advance_time(timedelta(hours=1))
    [pending] = await store.outbox.due_readbacks([State.UNKNOWN], 10)
    found = await store.outbox.record_readback(
        pending, Published(receipt=receipt()), RECONCILER, runtime.monotonic()
    )
    assert (found.state, found.attempts) == (State.PUBLISHED, 1)


async def test_f47_an_urgent_post_goes_to_a_person_instead(open_store, runtime):
    """An urgent post not shown at the first read is an alert, and is held, not sent again."""
    store = await open_store(reviewing())
    await leave_unknown(store, is_urgent=True)
    runtime.advance_time(timedelta(seconds=31))
    await read_missing(store)
    [alert] = await store.queries.alerts()
    assert (alert.code, alert.facts["url"]) == ("urgent_not_seen", PAGE)
    held, taken = await read_until(store, runtime, START_TIME + REVIEW)
    assert (held.state, held.reason) == (State.HELD, "review_possible")
    assert (
        taken[-1] - START_TIME < store.timing(AccountId("a")).visibility_window + MINUTE
    )
    assert await alert_codes(store) == {"held.review_possible"}


async def test_f47_what_expires_before_the_end_of_a_review_goes_to_a_person_in_time(
    open_store, runtime
):
    """F47: waiting would lose it, as a second call is allowed only when it has expired."""
    store = await open_store(reviewing())
    await leave_unknown(store, expires_at=START_TIME + REVIEW)
    held, taken = await read_until(store, runtime, START_TIME + REVIEW)
    assert (held.state, held.reason) == (State.HELD, "review_possible")
    assert (
        taken[-1] - START_TIME < store.timing(AccountId("a")).visibility_window + MINUTE
    )
    assert await alert_codes(store) == {"held.review_possible"}


async def test_f47_a_person_sends_it_again_who_has_looked(open_store, runtime):
    """The hold is resolved as any other."""
    store = await open_store(reviewing())
    await leave_unknown(store, is_urgent=True)
    held, _taken = await read_until(store, runtime, START_TIME + REVIEW)
    by = named_person("li")
    after = await resolve_delivery(
        store, held, Resolution.RESEND, by=by, reason="looked, not there"
    )
    assert after.state is State.DUE


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"is_urgent": True}, id="urgent"),
        pytest.param({"expires_at": START_TIME + 5 * HOUR}, id="a shorter life"),
    ],
)
async def test_f47_what_cannot_wait_any_more_is_read_at_once(
    open_store, runtime, change
):
    """F47, F99: an edit that makes the post urgent or shortens its life is read at once.

    No person waits an hour for the next read.
    """
    store = await open_store(reviewing())
    await leave_unknown(store)
    unknown, _taken = await read_until(store, runtime, START_TIME + 2 * HOUR)
    as_filed = Revised(
        rendered_hash=unknown.rendered_hash,
        due_at=unknown.due_at,
        expires_at=unknown.expires_at,
        max_delay=unknown.max_delay,
        is_urgent=False,
        has_started=True,
    )
    edit = replace(as_filed, **change)
    await store.database.write(
        lambda transaction: store.transition(transaction, unknown, edit, PLANNER)
    )
    held = await read_missing(store)
    assert (held.state, held.reason) == (State.HELD, "review_possible")


async def test_f47_what_expires_during_a_review_is_not_forgotten_before_its_end(
    open_store, runtime
):
    """It is not sent again, but may still appear: it ends once it cannot."""
    store = await open_store(reviewing())
    await leave_unknown(store, is_urgent=True, expires_at=START_TIME + 5 * MINUTE)
    waiting, _taken = await read_until(store, runtime, START_TIME + REVIEW)
    assert waiting.state is State.UNKNOWN
    ended, _taken = await read_until(store, runtime, START_TIME + REVIEW + MINUTE)
    assert ended.state is State.EXPIRED


@pytest.mark.parametrize("is_urgent", [False, True])
async def test_f47_a_cancelled_post_waits_for_the_end_of_the_review(
    open_store, runtime, is_urgent
):
    """Nothing is sent again, so nobody is asked; but it does not end while it may still appear."""
    store = await open_store(reviewing())
    unknown = await leave_unknown(store, is_urgent=is_urgent)
    await store.actions.apply_event(
        unknown.id, Cancelled(reason="not wanted"), named_person("li")
    )
    waiting, _taken = await read_until(store, runtime, START_TIME + REVIEW)
    assert (waiting.state, await alert_codes(store)) == (State.UNKNOWN, set())
    ended, _taken = await read_until(store, runtime, START_TIME + REVIEW + MINUTE)
    assert ended.state is State.CANCELLED


async def test_f47_f77_a_retraction_ends_only_after_the_longest_review(
    open_store, runtime
):
    """A post that is to be deleted and that no read shows may be under review."""
    store = await open_store(reviewing())
    unknown = await leave_unknown(store)
    await store.actions.apply_event(
        unknown.id, RetractionRequested(reason="wrong"), named_person("li")
    )
    waiting, _taken = await read_until(
        store, runtime, START_TIME + REVIEW, State.RETRACTING, RETRACTOR
    )
    assert (waiting.state, waiting.reason) == (State.RETRACTING, "wrong")
    ended, _taken = await read_until(
        store, runtime, START_TIME + REVIEW + MINUTE, State.RETRACTING, RETRACTOR
    )
    assert ended.state is State.RETRACTED


async def test_f47_f53_a_review_blocks_no_other_post_of_the_account(
    open_store, runtime
):
    """Once only a review can hide the post, the others are sent.

    If they push it off the list, a person is asked.
    """
    store = await open_store(reviewing(list_size=5))
    await leave_unknown(store)
    await enqueue_posts(
        store.posts,
        *(make_post(f"q{number}", ["a"], START_TIME) for number in range(6)),
    )
    for number in range(3):
        lease, _request = await claim_and_intend(store)
        await store.outbox.record_outcome(
            lease, Published(receipt=receipt(str(number)))
        )
    _lease, blocked = await claim_and_intend(store)
    assert blocked == Declined(guard="blocked_by_unknown")
    unknown, _taken = await read_until(store, runtime, START_TIME + 20 * MINUTE)
    assert unknown.reason == "review_possible"
    for number in range(3, 6):
        lease, request = await claim_and_intend(store)
        assert isinstance(request, SendRequest)
        await store.outbox.record_outcome(
            lease, Published(receipt=receipt(str(number)))
        )
    beyond = Unknown(reason="list_too_short", is_beyond_list=True)
    pending = PendingReadback(
        delivery=await only(store, post=PostId("p")), request=None
    )
    held = await store.outbox.record_readback(
        pending, beyond, RECONCILER, runtime.monotonic()
    )
    assert (held.state, held.reason) == (State.HELD, "review_possible")
    assert "held.review_possible" in await alert_codes(store)


async def test_f47_f52_a_list_that_cannot_be_read_any_more_leads_to_a_person_after_the_review(
    open_store, runtime
):
    """After failed reads no absence is proven, so a person decides after the review.

    Failed reads change nothing of the known facts. Without the last read there is no proof.
    """
    store = await open_store(reviewing())
    await leave_unknown(store)
    unknown, _taken = await read_until(store, runtime, START_TIME + timedelta(hours=2))
    runtime.advance_time(unknown.next_action_at - runtime.now())
    [pending] = await store.outbox.due_readbacks([State.UNKNOWN], 10)
    failed = await store.outbox.record_readback(
        pending, Unknown(reason="server_error"), RECONCILER, runtime.monotonic()
    )
    assert (failed.state, failed.reason) == (State.UNKNOWN, "review_possible")
    runtime.advance_time(START_TIME + REVIEW + timedelta(hours=1) - runtime.now())
    assert await store.maintenance.hold_overdue() == 0
    runtime.advance_time(TEST_TIMING.unreadable_hold_after)
    assert await store.maintenance.hold_overdue() == 1
    held = await only(store)
    assert (held.state, held.reason) == (State.HELD, "uncheckable")
