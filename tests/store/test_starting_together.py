"""A database that several processes open for the first time at the same moment."""

import asyncio

from publisher.store.recovery.setup import (
    NEWEST_MIGRATION,
    migration_of,
    prepare_database,
)


async def test_f12_a_reader_does_not_disturb_the_first_start_of_the_daemon(
    database_url, tmp_path, runtime
):
    """F12: one of several concurrent starts creates the new database, complete for all."""
    journal = tmp_path / "intents.jsonl"
    await asyncio.gather(
        *(prepare_database(database_url, "drill", journal, runtime) for _ in range(5))
    )
    assert migration_of(database_url) == NEWEST_MIGRATION
