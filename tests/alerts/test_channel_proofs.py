"""A channel that has never accepted a message is an alert, and the first message ends it."""

from datetime import timedelta

import pytest

from publisher.store.monitor.channel_proofs import UNTESTED_AFTER
from publisher.testing.builders import make_policy


@pytest.fixture
async def store(open_store):
    return await open_store(make_policy("a"))


async def untested(store, addresses):
    """Let the daemon look. Return the channels of the open alerts."""
    await store.channel_proofs.update(addresses)
    alerts = await store.queries.alerts()
    return [one.facts["channel"] for one in alerts if one.code == "channel_untested"]


async def test_a_channel_without_a_message_is_an_alert_after_an_hour(store, runtime):
    assert await untested(store, {"duty": "x"}) == []
    runtime.advance_time(UNTESTED_AFTER - timedelta(seconds=1))
    assert await untested(store, {"duty": "x"}) == []
    runtime.advance_time(timedelta(seconds=1))
    assert await untested(store, {"duty": "x"}) == ["duty"]
    await store.channel_proofs.prove("duty", "x")
    assert await untested(store, {"duty": "x"}) == []


async def test_a_changed_address_has_to_prove_itself_again(store, runtime):
    """A message that the former address accepted proves nothing about the new one."""
    await store.channel_proofs.prove("duty", "x")
    assert await untested(store, {"duty": "x"}) == []
    assert await untested(store, {"duty": "y"}) == []
    runtime.advance_time(UNTESTED_AFTER)
    assert await untested(store, {"duty": "y"}) == ["duty"]


async def test_an_address_that_cannot_be_read_for_a_moment_stays_proven(store, runtime):
    """An unreadable secret is no other address; another one after it is."""
    await store.channel_proofs.prove("duty", "x")
    assert await untested(store, {"duty": ""}) == []
    runtime.advance_time(UNTESTED_AFTER)
    assert await untested(store, {"duty": ""}) == []
    assert await untested(store, {"duty": "x"}) == []
    assert await untested(store, {"duty": "y"}) == []
    runtime.advance_time(UNTESTED_AFTER)
    assert await untested(store, {"duty": "y"}) == ["duty"]


async def test_a_channel_that_is_removed_ends_its_alert(store, runtime):
    await untested(store, {"duty": "x"})
    runtime.advance_time(UNTESTED_AFTER)
    assert await untested(store, {"duty": "x"}) == ["duty"]
    assert await untested(store, {}) == []


async def test_each_host_proves_its_own_channels(open_store, runtime):
    """The settings and secrets of another host may be others."""
    one, two = [await open_store(make_policy("a"), worker=name) for name in "ab"]
    for host in (one, two):
        await untested(host, {"duty": "x"})
    await one.channel_proofs.prove("duty", "x")
    runtime.advance_time(UNTESTED_AFTER)
    assert await untested(one, {"duty": "x"}) == []
    assert await untested(two, {"duty": "x"}) == ["duty"]
