"""One process among several that speak for one WeChat login; it reads the account each time it is told to.

Arguments: the database's URL, the platform's address, the AppID. Prints what each read brought.
"""

import asyncio
import sys
from datetime import timedelta

from adapters._http import LoginHttp
from adapters.wechat import WECHAT
from publisher.contract import Adapter, AdapterKit
from publisher.domain.account import Account, AccountId, LoginId, Platform
from publisher.domain.outcome import Unknown
from publisher.store.engine import Database, open_engine
from publisher.store.notes import LoginNotes, LoginTokens
from publisher.world import World


def adapter_of(database: Database, address: str, app_id: str) -> Adapter:
    world = database.world
    account = Account(
        id=AccountId(app_id), platform=Platform("wechat"), identity=app_id, secret=app_id, base_url=address
    )
    kit = AdapterKit(
        http=LoginHttp(
            deadline=timedelta(seconds=10), monotonic=world.monotonic, failpoint=lambda _name: None, allow=bool
        ),
        secret=lambda: {"app_id": app_id, "app_secret": "2"},
        tokens=LoginTokens(now=world.now),
        notes=LoginNotes(database=database, login=LoginId(f"wechat/{app_id}")),
        now=world.now,
        failpoint=world.failpoint,
    )
    return WECHAT.create(account, kit)


async def main(url: str, address: str, app_id: str) -> None:
    database = Database(open_engine(url), World())
    adapter = adapter_of(database, address, app_id)
    while await asyncio.to_thread(sys.stdin.readline):
        seen = await adapter.recent()
        print(seen.reason if isinstance(seen, Unknown) else "read", flush=True)  # noqa: T201 # its answer
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
