"""One of several processes that use one WeChat login; it reads the account once per input line.

Arguments: the database's URL, the platform's address, the AppID. Prints the result of each read.
"""

import asyncio
import sys
from datetime import timedelta

from adapters.wechat import WECHAT
from publisher.app.application import http_for_login
from publisher.contract import Adapter, AdapterContext
from publisher.domain.account import Account, AccountId, LoginId, Platform
from publisher.domain.results import Unknown
from publisher.runtime.clock import Runtime
from publisher.store.db.database import Database, open_engine
from publisher.store.monitor.adapter_state import MemoryTokenStore, StoredAdapterState

TIMEOUT = timedelta(seconds=10)


def adapter_of(database: Database, address: str, app_id: str) -> Adapter:
    runtime = database.runtime
    account = Account(
        id=AccountId(app_id),
        platform=Platform("wechat"),
        identity=app_id,
        secret=app_id,
        base_url=address,
    )
    kit = AdapterContext(
        http=http_for_login(
            timeout=TIMEOUT,
            monotonic=runtime.monotonic,
            is_host_allowed=bool,
            can_create=False,
        ),
        secret=lambda: {"app_id": app_id, "app_secret": "2"},
        tokens=MemoryTokenStore(login=f"wechat/{app_id}", now=runtime.now),
        state=StoredAdapterState(database=database, login=LoginId(f"wechat/{app_id}")),
        now=runtime.now,
        failpoint=runtime.hit_failpoint,
    )
    return WECHAT.create(account, kit)


async def main(url: str, address: str, app_id: str) -> None:
    database = Database(open_engine(url), Runtime())
    adapter = adapter_of(database, address, app_id)
    while await asyncio.to_thread(sys.stdin.readline):
        seen = await adapter.list_recent()
        print(seen.reason if isinstance(seen, Unknown) else "read", flush=True)  # noqa: T201 # its answer
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
