"""State that adapters store for a login, when several processes write it at once."""

import asyncio

from publisher.domain.account import LoginId
from publisher.store.db.database import Database, open_engine
from publisher.store.monitor.adapter_state import StoredAdapterState
from publisher.store.recovery.setup import prepare_database


async def test_no_change_of_adapter_state_is_lost(database_url, tmp_path, world):
    """F42: three workers that count in one value count right, and each gets the value from before its own write."""
    await prepare_database(database_url, "drill", tmp_path / "intents.jsonl", world)
    workers = [Database(open_engine(database_url), world) for _ in range(3)]
    notes = [StoredAdapterState(database=worker, login=LoginId("wechat/a")) for worker in workers]
    reported = await asyncio.gather(
        *(note.update("count", lambda noted: str(int(noted or 0) + 1)) for _ in range(10) for note in notes)
    )
    assert sorted(reported, key=lambda noted: int(noted or 0)) == [None, *map(str, range(1, 30))]
    assert await notes[0].get("count") == "30"
    await notes[1].set("count", "0")
    assert await notes[2].get("count") == "0"
    for worker in workers:
        await worker.close()
