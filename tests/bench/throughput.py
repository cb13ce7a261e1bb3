"""P1, P1b, P3: durable deliveries a second against bare calls, and disk syncs for them.

`python -m tests.bench.throughput FOLDER` delivers all due posts in a workspace, to be traced.
"""

import asyncio
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from publisher.domain.delivery import State
from publisher.domain.post import SendRequest
from publisher.engine.sender import send_due
from publisher.runtime.logs import configure_logging
from tests.bench.bare_calls import bare_calls, make_calls, make_raw_calls
from tests.bench.database import accept_schedule, application, postgres, promote_all
from tests.bench.figures import (
    BenchOptions,
    Figure,
    RunCost,
    SkippedError,
    measure_in_turn,
    median,
)
from tests.bench.platform import run_platform
from tests.bench.workspace import NO_PLATFORM, format_posts, workspace, write_schedule

IN_FLIGHT = 64
ACCOUNTS = 150
SYNCED_BYTES = 4096
_SYNC_CALL = re.compile(r"\b(?:fsync|fdatasync)\(")


def p1(options: BenchOptions) -> Iterator[Figure]:
    """Measure a burst on both databases, and the same calls by the client and raw sockets alone."""
    posts = options.choose(7, 1)
    deliveries = posts * ACCOUNTS
    with run_platform() as platform, postgres() as create_database:
        with filled_workspace(posts, platform.base_url) as folder:
            calls = bare_calls(folder, platform.base_url)

        def deliver(database: str | None) -> RunCost:
            with filled_workspace(posts, platform.base_url, database) as folder:
                return asyncio.run(deliver_all(folder))

        sqlite, postgresql, bare, raw = measure_in_turn(
            options.runs,
            lambda: deliver(None),
            lambda: deliver(create_database()),
            lambda: RunCost.measure(lambda: asyncio.run(make_calls(calls, IN_FLIGHT))),
            lambda: RunCost.measure(lambda: make_raw_calls(calls, IN_FLIGHT)),
        )
    for database, cost, goal in (
        ("SQLite", sqlite, 0.75),
        ("PostgreSQL", postgresql, 0.65),
    ):
        yield Figure(
            id="P1",
            name=f"durable deliveries/s against bare calls, {database}",
            value=bare.seconds / cost.seconds,
            goal=goal,
            is_minimum=True,
            parts={
                "deliveries/s": deliveries / cost.seconds,
                "bare calls/s": deliveries / bare.seconds,
                "CPU ms a delivery": cost.processor_seconds / deliveries * 1e3,
                "CPU ms a bare call": bare.processor_seconds / deliveries * 1e3,
            },
        )
    yield Figure(
        id="P1b",
        name="durable deliveries/s against raw sockets, SQLite",
        value=raw.seconds / sqlite.seconds,
        parts={
            "deliveries/s": deliveries / sqlite.seconds,
            "raw calls/s": deliveries / raw.seconds,
        },
    )


@contextlib.contextmanager
def filled_workspace(
    posts: int, base_url: str = NO_PLATFORM, database: str | None = None
) -> Iterator[Path]:
    """Make a workspace with so many posts to every account, due at once and filed."""
    with workspace(ACCOUNTS, base_url, database=database) as folder:
        write_schedule(folder, format_posts(posts, None))
        filed = asyncio.run(accept_schedule(folder))
        if filed != posts * ACCOUNTS:
            raise AssertionError(filed)
        yield folder


async def deliver_all(folder: Path) -> RunCost:
    """Deliver all that is filed; return the cost from the first claim to the last receipt."""
    async with application(folder, can_send=True) as opened:
        await promote_all(opened)
        await opened.store.outbox.preload()  # as the daemon does
        spent = RunCost.meter()
        count = await send_due(
            opened.store, opened.adapters, IN_FLIGHT, asyncio.Event()
        )
        cost = spent()
        states = Counter(
            delivery.state for delivery in await opened.store.queries.deliveries()
        )
        if states != {State.PUBLISHED: count}:
            raise AssertionError(states)
        return cost


def p3(options: BenchOptions) -> Iterator[Figure]:
    """Count a burst's syncs, and time a lone intent: no other shares its syncs."""
    posts = options.choose(7, 1)
    deliveries = posts * ACCOUNTS
    with (
        run_platform() as platform,
        filled_workspace(posts, platform.base_url) as folder,
    ):
        syncs = count_syncs(folder)
    yield Figure(
        id="P3",
        name=f"syncs per delivery, {deliveries:,} at once",
        value=syncs / deliveries,
        goal=0.6,
        parts={"syncs": syncs},
    )
    with filled_workspace(1) as folder:
        lone, bare = asyncio.run(lone_intent(folder))
    yield Figure(
        id="P3",
        name="a lone intent against two bare fdatasyncs",
        value=lone / bare,
        goal=5,
        parts={"ms an intent": lone * 1e3, "ms two syncs": bare * 1e3},
    )


def count_syncs(folder: Path) -> int:
    """Deliver all filed posts in a process of its own, and count its fsync and fdatasync calls."""
    if shutil.which("strace") is None:
        raise SkippedError("strace is not installed")
    trace = folder / "trace"
    tracer = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-e",
        "trace=fsync,fdatasync",
        "-o",
        trace,
    ]
    subprocess.run(
        [*tracer, sys.executable, "-m", "tests.bench.throughput", folder], check=True
    )
    return len(_SYNC_CALL.findall(trace.read_text("utf-8", "replace")))


async def lone_intent(folder: Path) -> tuple[float, float]:
    """Return the median seconds of a committed and journalled intent, and of two bare syncs.

    Both use the same disk.
    """
    intents, syncs = [], []
    async with application(folder, can_send=True) as opened:
        await promote_all(opened)
        with (folder / "var" / "bare").open("wb", buffering=0) as file:
            for lease in await opened.store.outbox.claim(ACCOUNTS):
                began = time.perf_counter()
                answer = await opened.store.outbox.record_intent(lease)
                intents.append(time.perf_counter() - began)
                if not isinstance(answer, SendRequest):
                    raise AssertionError(answer)  # noqa: TRY004 # not an error of types
                began = time.perf_counter()
                for _ in range(2):
                    file.write(bytes(SYNCED_BYTES))
                    os.fdatasync(file.fileno())
                syncs.append(time.perf_counter() - began)
    return median(intents), median(syncs)


if __name__ == "__main__":
    configure_logging(io.StringIO())
    asyncio.run(deliver_all(Path(sys.argv[1])))
