"""A replica of PostgreSQL that is behind or gone is an alert, where its state can be read."""

import pytest
from sqlalchemy import text

from publisher.engine.decisions import named_person
from publisher.testing.builders import make_policy

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
STATE = """
CREATE TABLE public.pg_stat_replication (
    application_name text, client_addr inet, state text, replay_lag interval,
    reply_time timestamptz)
"""


async def execute(store, *statements):
    def write(transaction):
        for statement in statements:
            transaction.connection.execute(text(statement))

    await store.database.write(write)


@pytest.fixture
async def store(open_store):
    """Return a store that reads a table of the tests in place of the server's view."""
    store = await open_store(make_policy("a"))
    name = store.database.engine.url.database
    order = f'ALTER DATABASE "{name}" SET search_path = public, pg_catalog'
    await execute(store, STATE, order)
    store.database.engine.dispose()
    return store


async def set_replica(store, *, lag="0s", silence="0s", state="streaming"):
    row = f"'two', '10.0.0.2', '{state}', '{lag}', clock_timestamp() - interval '{silence}'"
    await execute(
        store,
        "DELETE FROM pg_stat_replication",
        f"INSERT INTO pg_stat_replication VALUES ({row})",  # noqa: S608 # constants
    )


async def behind(store):
    """Let the daemon look. Return the replica and the reason of each open alert."""
    await store.replication.update()
    return [
        (alert.facts["replica"], alert.facts["reason"])
        for alert in await store.queries.alerts()
        if alert.code == "replication_behind"
    ]


@pytest.mark.parametrize("state", [{"lag": "61s"}, {"silence": "61s"}])
async def test_a_replica_that_is_behind_or_silent_is_an_alert(store, state):
    await set_replica(store, lag="59s")
    assert await behind(store) == []
    await set_replica(store, **state)
    assert await behind(store) == [("two 10.0.0.2", "replica_behind")]
    await set_replica(store)
    assert await behind(store) == []


async def test_the_last_replica_that_goes_is_an_alert(store):
    """A server that never had a replica is none; a copy for a new replica is none yet."""
    await set_replica(store, state="backup", silence="1h")
    assert await behind(store) == []
    await set_replica(store)
    assert await behind(store) == []
    await execute(store, "DELETE FROM pg_stat_replication")
    assert await behind(store) == [("*", "replica_gone")]


@pytest.mark.parametrize("is_acknowledged", [False, True])
async def test_the_alert_about_the_last_replica_outlasts_the_daemon(
    store, open_store, is_acknowledged
):
    """A person who has removed it on purpose acknowledges the alert before the restart."""
    await set_replica(store)
    await behind(store)
    await execute(store, "DELETE FROM pg_stat_replication")
    [gone] = await behind(store)
    if is_acknowledged:
        [alert] = await store.queries.alerts()
        assert await store.actions.dismiss_alert(alert.id, named_person("王"))
    restarted = await open_store(make_policy("a"))
    await restarted.replication.update()
    alerts = [
        *await restarted.queries.alerts(),
        *await restarted.queries.acknowledged_alerts(),
    ]
    found = [(alert.facts["replica"], alert.facts["reason"]) for alert in alerts]
    assert found == ([] if is_acknowledged else [gone])


async def test_without_rights_nothing_is_said(store):
    """A user that may not read the view sees no state: that is no proof of anything."""
    await set_replica(store, lag="1h")
    await execute(
        store,
        "CREATE FUNCTION public.pg_has_role(name, text, text) RETURNS boolean"
        " LANGUAGE sql AS 'SELECT false'",
    )
    assert await behind(store) == []
