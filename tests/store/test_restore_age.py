"""The last time of the sent posts that a database without backup metadata knows of."""

from datetime import timedelta

import pytest

from publisher.engine.decisions import named_person
from publisher.store.recovery.backup import last_known_at
from publisher.testing.fakes import START_TIME

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
LI = named_person("li")


async def test_f85_a_pause_in_an_older_database_does_not_make_it_younger(
    open_bare_store, runtime
):
    """The data-loss window begins at the last heartbeat of the daemon, not at the pause."""
    store = open_bare_store()
    actions = store.actions
    await actions.register_worker()
    await actions.pause("all", LI, "an hour before the copy")
    runtime.advance_time(timedelta(hours=1))
    await actions.heartbeat()
    await actions.resume("all", LI)
    runtime.advance_time(timedelta(hours=1))
    await actions.pause("all", LI, "it does not fit")
    assert await store.database.read(last_known_at) == START_TIME + timedelta(hours=1)


async def test_f85_a_database_that_knows_no_daemon_knows_nothing_of_what_was_sent(
    open_bare_store, runtime
):
    """It was copied before the first start: every post since its beginning may be published."""
    store = open_bare_store()
    assert await store.database.read(last_known_at) is None
    await store.actions.pause("all", LI, "first")
    runtime.advance_time(timedelta(hours=1))
    await store.actions.pause("all", LI, "last")
    assert await store.database.read(last_known_at) == START_TIME
