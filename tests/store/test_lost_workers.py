"""A daemon that dies is an alert of the other hosts, until it is back or has stopped in order."""

import socket
from datetime import timedelta

import pytest

from publisher.domain.errors import Problem
from publisher.store.base import FORGOTTEN_AFTER
from publisher.store.db.rows import keep_alert
from publisher.store.monitor.lost_workers import (
    GONE_AFTER,
    LOST_AFTER,
)
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


async def test_of_two_daemons_with_one_host_name_the_dead_one_is_named_in_full(
    hosts, runtime, monkeypatch
):
    """Only the workspace distinguishes them; a host with a name of its own is called by it."""
    one, two = hosts
    if not one.database.is_shared:
        return
    for second, named in ((socket.gethostname(), "two"), ("other", "other")):
        monkeypatch.setattr(socket, "gethostname", lambda second=second: second)
        await two.actions.register_worker()
        await one.actions.heartbeat()
        assert await lost_workers(one) == []
        runtime.advance_time(LOST_AFTER * 2)
        await one.actions.heartbeat()
        await lost_workers(one)
        [alert] = await one.queries.alerts()
        assert alert.facts["host"] == named


async def test_a_daemon_that_stops_in_order_is_not_lost(hosts, runtime):
    one, two = hosts
    await two.actions.deregister_worker()
    runtime.advance_time(timedelta(hours=1))
    assert await lost_workers(one) == []


async def raise_host_alerts(store):
    """Raise an alert of each form about a store's host, and some about other matters."""
    await store.system_alerts.keep_host_alerts("disk_low", {"/var": {"since": "x"}})
    await store.system_alerts.set_files_alert("x")
    await store.system_alerts.set_rights_alert([Problem(code="right_missing")])
    now, worker = store.runtime.now(), store.worker
    for code, subject in (
        ("job_failing", f"job:notify:{worker}"),
        ("job_failing", f"job:check_login:{worker}"),
        ("waiting_for_journal", f"worker:{worker}"),
    ):
        await store.database.write(keep_alert, now, code, subject, {})


async def host_alerts(store):
    """Let a daemon look at the others. Return the codes and heads of the open alerts."""
    await store.lost_workers.update()
    alerts = await store.queries.alerts()
    heads = {alert.subject.rpartition(":two")[0] for alert in alerts}
    return heads - {"worker_lost"}


OF_OTHERS = {"job:check_login", "worker"}
"""An account with the name of a host, and a journal that must still be compared."""
OF_DAEMON = {"disk_low", "files", "job:notify"}


async def test_the_alerts_about_a_host_end_with_it(hosts, runtime):
    """Only that host could have ended them. A stop of minutes ends none.

    A host without a daemon may still have a dashboard without rights.
    """
    one, two = hosts
    await raise_host_alerts(two)
    if not one.database.is_shared:  # one host: the other worker is its former name
        assert await host_alerts(one) == OF_OTHERS
        return
    assert await host_alerts(one) == OF_OTHERS | OF_DAEMON | {"rights"}
    await two.actions.deregister_worker()
    runtime.advance_time(GONE_AFTER / 2)
    assert await host_alerts(one) == OF_OTHERS | OF_DAEMON | {"rights"}
    runtime.advance_time(GONE_AFTER)
    assert await host_alerts(one) == OF_OTHERS | {"rights"}
    runtime.advance_time(FORGOTTEN_AFTER)
    assert await host_alerts(one) == OF_OTHERS


async def test_the_alerts_about_a_dead_host_end_when_it_is_forgotten(hosts, runtime):
    one, two = hosts
    await raise_host_alerts(two)
    runtime.advance_time(FORGOTTEN_AFTER)
    if one.database.is_shared:
        assert await host_alerts(one) == OF_OTHERS | OF_DAEMON | {"rights"}
    runtime.advance_time(LOST_AFTER)
    assert await host_alerts(one) == OF_OTHERS


async def test_a_host_keeps_its_own_alerts(hosts, runtime):
    _one, two = hosts
    await raise_host_alerts(two)
    runtime.advance_time(FORGOTTEN_AFTER + LOST_AFTER)
    assert await host_alerts(two) == OF_OTHERS | OF_DAEMON | {"rights"}
