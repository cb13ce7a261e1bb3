"""A database that several processes open for the first time at the same moment."""

import asyncio

from publisher.store.setup import HEAD, prepare, version_of


async def test_f12_who_looks_while_the_daemon_starts_does_not_spoil_its_first_start(database_url, tmp_path, world):
    """F12: a new database opened by several at once is brought up by one of them, and is whole for all."""
    journal = tmp_path / "intents.jsonl"
    await asyncio.gather(*(prepare(database_url, "drill", journal, world) for _ in range(5)))
    assert version_of(database_url) == HEAD
