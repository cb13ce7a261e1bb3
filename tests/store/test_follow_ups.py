"""When follow-ups may be sent, and the effects of offboarding an account: on both databases."""

from datetime import timedelta

import pytest

from publisher.domain.account import AccountId, LoginId
from publisher.domain.delivery import RETRACTOR, Actor, DesiredState, RetractionRequested, Role, State
from publisher.domain.results import Published, Receipt, Rejected, Unknown
from publisher.store.deliveries.intents import PendingReadback
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME

WANG = Actor(role=Role.PERSON, name="王")
LIVE = Published(receipt=Receipt(remote_id="1", url="https://fake.example/1", published_at=START_TIME))
REFUSED = Rejected(code="fake_2", reason="not allowed")


async def send(store, outcome):
    """Make the call of one due delivery."""
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    return await store.outbox.record_outcome(lease, outcome)


@pytest.mark.parametrize(("answer", "number"), [(Unknown(reason="timeout"), 0), (REFUSED, 1)])
async def test_a_refused_retraction_leaves_an_original_that_can_be_followed(open_store, answer, number):
    """While a deletion is open no follow-up is sent; once the platform has refused it, the post counts as published."""
    store = await open_store()
    follow_up = make_post("two", ["a"], START_TIME, title="更正", follows="one")
    await enqueue_posts(store.posts, make_post("one", ["a"], START_TIME), follow_up)
    live = await send(store, LIVE)
    ordered = await store.actions.apply_event(live.id, RetractionRequested(reason="wrong"), WANG)
    assert await store.outbox.claim(1) == []
    await store.outbox.record_readback(
        PendingReadback(delivery=ordered, request=None), answer, RETRACTOR, store.runtime.monotonic()
    )
    assert len(await store.outbox.claim(1)) == number


async def test_offboarding_cancels_waiting_deliveries_and_nothing_else(open_store):
    """Waiting deliveries are cancelled; published and unknown ones stay, and no other account is affected."""
    store = await open_store(make_policy("a"), make_policy("b"))
    names = ("live", "doubt", "waits", "later")
    posts = [make_post(name, ["a"], START_TIME + timedelta(seconds=place)) for place, name in enumerate(names)]
    await enqueue_posts(store.posts, *posts, make_post("other", ["b"], START_TIME + timedelta(hours=1)))
    store.runtime.advance_time(timedelta(seconds=2))
    await send(store, LIVE)
    await send(store, Unknown(reason="timeout"))
    orders = store.actions
    assert await orders.cancel_waiting(AccountId("a"), WANG, "leaves") == 2
    assert await orders.cancel_waiting(AccountId("a"), WANG, "leaves") == 0
    found = {delivery.key.post: delivery for delivery in await store.queries.deliveries()}
    assert {name: found[name].state for name in (*names, "other")} == {
        "live": State.PUBLISHED,
        "doubt": State.UNKNOWN,
        "waits": State.CANCELLED,
        "later": State.CANCELLED,
        "other": State.PENDING,
    }
    assert found["doubt"].desired is DesiredState.CANCELLED


async def test_offboarding_is_recorded_once(open_store):
    """Repeating the order adds nothing to the audit log; alerts about the account end with it."""
    store = await open_store()
    orders, account, login = store.actions, AccountId("a"), LoginId("fake/a")
    for _ in range(2):
        await orders.request_offboarding(account, login, WANG, "leaves")
        await orders.finish_offboarding(account, login, WANG, is_shared=False)
    history = await store.queries.audit_history("account:a")
    assert [(entry.event, entry.detail["login"]) for entry in history] == [
        ("offboarding_requested", "fake/a"),
        ("offboarded", "fake/a"),
    ]
