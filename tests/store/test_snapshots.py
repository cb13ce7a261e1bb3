"""Several reads of one moment, on SQLite and on PostgreSQL."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from publisher.engine.decisions import named_person
from publisher.store.db import database as database_module

BY = named_person("王")


async def count_pauses(store):
    return len(await store.queries.pauses())


async def test_reads_of_a_snapshot_see_one_moment(open_store):
    """A write in between is seen after the snapshot only."""
    store = await open_store()
    async with store.database.snapshot():
        seen = [await count_pauses(store)]
        await store.actions.pause("all", BY, "drill")
        seen.append(await count_pauses(store))
    seen.append(await count_pauses(store))
    assert seen == [0, 0, 1]


async def test_a_query_that_fails_ends_no_snapshot(open_store):
    """The next read is answered, on PostgreSQL too."""
    store = await open_store()
    async with store.database.snapshot():
        with pytest.raises(DBAPIError):
            await store.database.read(
                lambda connection: connection.execute(text("SELECT nothing"))
            )
        assert await count_pauses(store) == 0


async def test_slow_snapshots_keep_no_other_read_waiting(open_store, monkeypatch):
    """Beyond a number of open ones, each read sees its own moment."""
    monkeypatch.setattr(database_module, "MAX_SNAPSHOTS", 1)
    store = await open_store()
    async with store.database.snapshot(), store.database.snapshot():
        assert await count_pauses(store) == 0
    async with store.database.snapshot():
        assert await count_pauses(store) == 0
