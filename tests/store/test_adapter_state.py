"""State that adapters store for a login, when several processes write it at once."""

import asyncio
from datetime import timedelta

from publisher.contract import Token
from publisher.domain.account import LoginId
from publisher.store.db.database import Database, open_engine
from publisher.store.monitor.adapter_state import MemoryTokenStore, StoredAdapterState
from publisher.store.recovery.setup import prepare_database


async def test_no_change_of_adapter_state_is_lost(database_url, tmp_path, runtime):
    """F42: three workers that count in one value count right.

    Each worker gets the value from before its own write.
    """
    await prepare_database(database_url, "drill", tmp_path / "intents.jsonl", runtime)
    workers = [Database(open_engine(database_url), runtime) for _ in range(3)]
    notes = [
        StoredAdapterState(database=worker, login=LoginId("wechat/a"))
        for worker in workers
    ]
    reported = await asyncio.gather(
        *(
            note.update("count", lambda noted: str(int(noted or 0) + 1))
            for _ in range(10)
            for note in notes
        )
    )
    assert sorted(reported, key=lambda noted: int(noted or 0)) == [
        None,
        *map(str, range(1, 30)),
    ]
    assert await notes[0].get("count") == "30"
    await notes[1].set("count", "0")
    assert await notes[2].get("count") == "0"
    for worker in workers:
        await worker.close()


async def test_f98_a_token_is_good_with_its_own_secret_only(runtime):
    """F98: a former secret's token, or one fetched during the replacement, is never used.

    It must not answer for the new secret.
    """
    secret, fetched = {"app_secret": "1"}, iter("abc")
    tokens = MemoryTokenStore(login="l", now=runtime.now, secret=lambda: secret)

    async def fetch():
        return Token(value=next(fetched), expires_at=runtime.now() + timedelta(hours=2))

    async def fetch_while_replaced():
        nonlocal secret
        secret = {"app_secret": "3"}
        return await fetch()

    assert [await tokens.renew(None, fetch), await tokens.current()] == ["a", "a"]
    secret = {"app_secret": "2"}
    assert await tokens.current() is None
    assert await tokens.renew(None, fetch_while_replaced) == "b"
    assert await tokens.current() is None
    assert [await tokens.renew(None, fetch), await tokens.current()] == ["c", "c"]
