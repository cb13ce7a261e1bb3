"""P1, P3: durable deliveries a second against a bare loop over the same calls, and what the disk is asked for."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from adapters._http import LoginHttp
from adapters.weibo import api
from adapters.weibo.capabilities import SHARE
from publisher.contract import HttpResponse
from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.post import Baseline, DeliveryId, SendRequest
from publisher.engine.sender import send_due
from publisher.store.db.tables import load_rendered_post
from tests.bench.figures import Figure, in_turn
from tests.bench.rig import double, schedule_of, workspace
from tests.bench.store import application, file_schedule, ripen_all

AT_ONCE = 64
ACCOUNTS = 150
DEADLINE = timedelta(seconds=20)


def p1(_publisher: Sequence[str], runs: int, posts: int = 14) -> list[Figure]:
    """Measure a burst of so many posts to every account, and the bare loop over the same calls."""
    deliveries = posts * ACCOUNTS
    with double() as platform:
        ours, bare = in_turn(
            runs,
            lambda: measure(deliver_all, posts, platform.base_url),
            lambda: measure(call_all, posts, platform.base_url),
        )
    parts = {"deliveries/s": deliveries / ours, "bare calls/s": deliveries / bare}
    name = "durable deliveries/s / bare loop, SQLite"
    return [Figure(id="P1", name=name, value=bare / ours, goal=0.75, is_floor=True, parts=parts)]


def measure(contest: Callable[[Path], Coroutine[Any, Any, float]], posts: int, base_url: str) -> float:
    """File so many posts for every account in a new workspace; give the seconds that the contest takes there."""
    with workspace(ACCOUNTS, base_url) as folder:
        (folder / "schedule.toml").write_text(schedule_of(posts, None), "utf-8")
        asyncio.run(file_schedule(folder))
        return asyncio.run(contest(folder))


async def deliver_all(folder: Path) -> float:
    """Deliver all that is filed. Returns seconds from the first claim to the last receipt."""
    async with application(folder, can_send=True) as opened:
        await ripen_all(opened.store.maintenance)
        began = time.perf_counter()
        taken = await send_due(opened.store, opened.adapters, AT_ONCE, asyncio.Event())
        seconds = time.perf_counter() - began
        if Counter(item.state for item in await opened.store.queries.deliveries()) != {State.PUBLISHED: taken}:
            raise AssertionError(Counter(item.state for item in await opened.store.queries.deliveries()))
        return seconds


async def call_all(folder: Path) -> float:
    """Make the same calls with the same client and connection policy, and nothing else. Returns seconds."""
    async with application(folder, can_send=False) as opened:
        https = {}
        for name in opened.settings.accounts:
            https[name] = LoginHttp(
                request_timeout=DEADLINE, monotonic=time.monotonic, failpoint=_pass, is_host_allowed=bool
            )
        ready = []
        for parcel in parcels_of(folder):
            account = opened.settings.accounts[parcel.account]
            text = parcel.rendered.text
            site = api.WeiboEndpoint(profile=SHARE, base_url=account.base_url, token=account.identity)
            words = api.PostForm(text=text, marker_code="", client_ip=account.public_ip)
            call = api.encode_share(site, words, None)
            ready.append((https[parcel.account], call, parcel))
        waiting = iter(ready)

        async def call_on() -> None:
            for http, call, parcel in waiting:
                answer = await http.create(call, parcel)
                if not isinstance(answer, HttpResponse) or answer.status != 200:
                    raise AssertionError(answer)

        began = time.perf_counter()
        await asyncio.gather(*(call_on() for _ in range(AT_ONCE)))
        return time.perf_counter() - began


def parcels_of(folder: Path) -> list[SendRequest]:
    """Give what would be sent, outside the database."""
    now = datetime.now(UTC)
    with sqlite3.connect(folder / "var" / "publisher.db") as connection:
        rows = connection.execute("SELECT account, body FROM rendered_post").fetchall()
    connection.close()
    return [
        SendRequest(
            delivery=DeliveryId(number),
            attempt=1,
            account=AccountId(account),
            rendered=load_rendered_post(body),
            images=(),
            baseline=Baseline(newest_id=None, taken_at=now),
            intended_at=now,
            start_by=time.monotonic() + 600,
        )
        for number, (account, body) in enumerate(rows)
    ]


def _pass(_name: str) -> None:
    return
