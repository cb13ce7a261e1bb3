"""A read that reports once that a post is deleted: it is repeated before anything ends by it."""

from datetime import timedelta

import pytest

from publisher.domain.delivery import RECONCILER, RETRACTOR, RetractionRequested, State
from publisher.domain.results import (
    Deleted,
    NotFound,
    Published,
    Receipt,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.engine.decisions import named_person
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME

LAG = make_policy("a").capabilities.listing_lag
LIVE = Published(
    receipt=Receipt(
        remote_id="1", url="https://fake.example/1", published_at=START_TIME
    )
)
UNREADABLE = Unknown(reason="timeout")
IN_REVIEW = Submitted(ticket=Ticket(payload="7"), check_again_at=START_TIME)


@pytest.fixture
async def asked(open_store, runtime):
    """Return a function that files a post and answers its call, and one that reads it later."""
    store = await open_store()

    async def sent(answer, *, is_retraction_requested=False):
        await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
        await store.maintenance.promote_due()
        [lease] = await store.outbox.claim(10)
        await store.outbox.record_intent(lease)
        await store.outbox.record_outcome(lease, answer)
        if is_retraction_requested:
            await store.actions.apply_event(
                lease.delivery, RetractionRequested(reason="wrong"), named_person("li")
            )

    async def read(*findings, pause=LAG * 1.1):
        for finding in findings:
            runtime.advance_time(pause)
            [delivery] = await store.queries.deliveries()
            [unknown] = await store.outbox.due_readbacks([delivery.state], 10)
            by = RETRACTOR if delivery.state is State.RETRACTING else RECONCILER
            after = await store.outbox.record_readback(
                unknown, finding, by, runtime.monotonic()
            )
            runtime.advance_time(
                max(after.next_action_at - runtime.now(), timedelta())
                if after.next_action_at
                else timedelta()
            )
        return after

    return sent, read


@pytest.mark.parametrize("answer", [UNREADABLE, IN_REVIEW])
async def test_f48_an_unknown_post_is_deleted_only_by_the_second_read(asked, answer):
    """F48: one such read leaves it open, and says why; a failed read does no harm."""
    sent, read = asked
    await sent(answer)
    after = await read(Deleted())
    assert after.state in {State.UNKNOWN, State.SUBMITTED}
    assert after.reason == "deletion_unconfirmed"
    assert (await read(UNREADABLE, Deleted())).state is State.REMOVED


@pytest.mark.parametrize("answer", [UNREADABLE, IN_REVIEW])
async def test_f48_a_post_reported_deleted_once_and_then_found_is_published(
    asked, answer
):
    """F48: the result of the next read counts."""
    sent, read = asked
    await sent(answer)
    assert (await read(Deleted(), LIVE)).state is State.PUBLISHED


async def test_f48_a_read_between_starts_the_count_again(asked):
    """F48: after deleted, then not listed, a second deleted counts as a first one again.

    It leads to no second call either.
    """
    sent, read = asked
    await sent(UNREADABLE)
    after = await read(
        Deleted(), NotFound(covered_since=START_TIME - timedelta(days=1)), Deleted()
    )
    assert after.state is State.UNKNOWN


async def test_f48_reads_right_after_one_another_count_once(asked):
    """F48: two reads count as two only if the time between them exceeds the replicas' lag.

    A platform's replicas agree only after a while.
    """
    sent, read = asked
    await sent(UNREADABLE)
    await read(Deleted())
    assert (await read(Deleted(), pause=timedelta())).state is State.UNKNOWN


async def test_f77_a_post_that_was_never_seen_is_retracted_by_the_second_read(asked):
    """F77: no deletion was answered here, so one stray answer must not leave a published post."""
    sent, read = asked
    await sent(UNREADABLE, is_retraction_requested=True)
    assert (await read(Deleted())).state is State.RETRACTING
    assert (await read(Deleted())).state is State.RETRACTED


async def test_f78_a_deletion_that_the_platform_answered_is_done(asked):
    """F78: for a post that is known to be published, the answer to the deletion is enough."""
    sent, read = asked
    await sent(LIVE, is_retraction_requested=True)
    assert (await read(Deleted())).state is State.RETRACTED
