"""An account that publishes without callbacks, though they are configured, is an alert."""

from datetime import timedelta

import pytest

from publisher.domain.account import AccountId
from publisher.domain.results import Published, Receipt
from publisher.store.monitor.callback_arrivals import ARRIVAL_TIME, OBSERVED_PERIOD
from publisher.testing.builders import enqueue_posts, make_policy, make_post

ACCOUNT = AccountId("a")


@pytest.fixture
async def store(open_store):
    return await open_store(make_policy("a"))


async def publish(store, name="p"):
    """Publish a post on the account by its API."""
    now = store.runtime.now()
    await enqueue_posts(store.posts, make_post(name, ["a"], now))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    receipt = Receipt(remote_id=name, url=f"https://fake/{name}", published_at=now)
    await store.outbox.record_outcome(lease, Published(receipt=receipt))


async def silent(store, since, accounts=(ACCOUNT,)):
    """Let the daemon look. Return the accounts of the open alerts."""
    await store.callback_arrivals.update(accounts, since)
    alerts = await store.queries.alerts()
    return [one.facts["account"] for one in alerts if one.code == "callbacks_silent"]


async def test_a_published_post_without_a_callback_is_an_alert_until_one_comes(
    store, runtime
):
    """The callback may take half an hour. The alert stays even when the post is of yesterday."""
    since = runtime.now()
    await publish(store)
    assert await silent(store, since) == []
    runtime.advance_time(ARRIVAL_TIME + timedelta(seconds=1))
    assert await silent(store, since) == ["a"]
    runtime.advance_time(2 * OBSERVED_PERIOD)
    assert await silent(store, since) == ["a"]
    await store.callback_arrivals.note(ACCOUNT)
    assert await silent(store, since) == []


async def test_a_post_with_its_callback_is_no_alert(store, runtime):
    since = runtime.now()
    await publish(store)
    await store.callback_arrivals.note(ACCOUNT)
    runtime.advance_time(2 * ARRIVAL_TIME)
    assert await silent(store, since) == []


async def test_posts_from_before_the_start_and_other_accounts_do_not_count(
    store, runtime
):
    """The former daemon may have had no receiver, and the account no callbacks."""
    since = runtime.now()
    await publish(store)
    runtime.advance_time(2 * ARRIVAL_TIME)
    assert await silent(store, runtime.now()) == []
    assert await silent(store, since, accounts=()) == []
