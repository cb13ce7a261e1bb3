"""The calls that may have created a post, before many deliveries are sent again at once."""

import pytest

from publisher.domain.results import (
    Blocked,
    HoldReason,
    NotSent,
    Published,
    RateLimited,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.store.db.rows import write_readback
from publisher.testing.builders import enqueue_posts, make_post
from publisher.testing.fakes import START_TIME

BLOCKED = Blocked(code="x", reason="", hold_reason=HoldReason.ACCOUNT)
RECEIPT = Receipt(remote_id="1", url="https://fake.example/1", published_at=START_TIME)


async def send(store, outcome):
    """Send the one post with an outcome, and return its delivery."""
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    for lease in await store.outbox.claim(1):
        await store.outbox.record_intent(lease)
        if outcome is not None:
            await store.outbox.record_outcome(lease, outcome)
    [delivery] = await store.queries.deliveries()
    return delivery


@pytest.mark.parametrize(
    ("outcome", "is_undecided"),
    [
        (BLOCKED, False),
        (Rejected(code="x", reason=""), False),
        (NotSent(reason="connect_failed"), False),
        (RateLimited(code="x", until=None), False),
        (Unknown(reason="timeout"), True),
        (Submitted(ticket=Ticket(payload="1"), check_again_at=START_TIME), True),
        (Published(receipt=RECEIPT), True),
        (None, True),
    ],
)
async def test_f50_only_a_call_that_created_nothing_is_decided(
    open_store, outcome, is_undecided
):
    """F50: a call without an answer, or with one that may be a post, is left to a person."""
    store = await open_store()
    delivery = await send(store, outcome)
    found = await store.queries.find_undecided([delivery.id])
    assert found == ({delivery.id} if is_undecided else set())


async def test_f50_a_refused_call_with_a_late_sign_of_a_post_is_undecided(open_store):
    """F50: a readback that has seen the post counts more than the refusal."""
    store = await open_store()
    delivery = await send(store, BLOCKED)
    seen = Published(receipt=RECEIPT)
    await store.database.write(
        lambda unit: write_readback(unit, delivery.id, 1, START_TIME, seen)
    )
    assert await store.queries.find_undecided([delivery.id]) == {delivery.id}


async def test_a_delivery_without_a_call_is_decided(open_store):
    """Nothing was created where no call was made."""
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    [delivery] = await store.queries.deliveries()
    assert await store.queries.find_undecided([delivery.id]) == set()
