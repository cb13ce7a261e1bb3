"""A daemon that dies is an alert of the other hosts, until it is back or has stopped in order."""

from datetime import timedelta

import pytest

from publisher.store.monitor.lost_workers import LOST_AFTER
from publisher.testing.builders import make_policy


async def lost_workers(store):
    """Let a daemon look at the others. Return the subjects of the open alerts."""
    await store.lost_workers.update()
    alerts = await store.queries.alerts()
    return [alert.subject for alert in alerts if alert.code == "worker_lost"]


@pytest.fixture
async def hosts(open_store):
    """Return the stores of two daemons that have just started."""
    stores = [
        await open_store(make_policy("a"), worker=name) for name in ("one", "two")
    ]
    for store in stores:
        await store.actions.register_worker()
    return stores


async def test_a_dead_daemon_is_an_alert_until_it_is_back(hosts, runtime):
    """Only hosts that share a database look at each other. A short silence is no death."""
    one, two = hosts
    runtime.advance_time(LOST_AFTER / 2)
    await one.actions.heartbeat()
    assert await lost_workers(one) == []
    runtime.advance_time(LOST_AFTER)
    await one.actions.heartbeat()
    expected = ["worker_lost:two"] if one.database.is_shared else []
    assert await lost_workers(one) == await lost_workers(one) == expected
    await two.actions.heartbeat()
    assert await lost_workers(one) == []


async def test_a_daemon_that_stops_in_order_is_not_lost(hosts, runtime):
    one, two = hosts
    await two.actions.deregister_worker()
    runtime.advance_time(timedelta(hours=1))
    assert await lost_workers(one) == []
