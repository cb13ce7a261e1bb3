"""A database that several processes open for the first time at the same moment."""

import asyncio

from publisher.store.recovery.setup import NEWEST_MIGRATION, migration_of, prepare_database


async def test_f12_who_looks_while_the_daemon_starts_does_not_spoil_its_first_start(database_url, tmp_path, world):
    """F12: a new database opened by several at once is brought up by one of them, and is whole for all."""
    journal = tmp_path / "intents.jsonl"
    await asyncio.gather(*(prepare_database(database_url, "drill", journal, world) for _ in range(5)))
    assert migration_of(database_url) == NEWEST_MIGRATION
