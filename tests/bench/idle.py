"""P11, P12, P13: memory and processor of an idle daemon, and the time to a call after a kill."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from publisher.domain.results import Healthy
from tests.bench.database import accept_schedule, application
from tests.bench.figures import BenchOptions, Figure, median
from tests.bench.platform import run_platform
from tests.bench.process import child_pids, processor_seconds, resident_mebibytes
from tests.bench.workspace import (
    NO_BODY,
    STARTED,
    daemon,
    format_posts,
    wait_for_event,
    workspace,
    write_schedule,
)

ACCOUNTS = 150
BACKLOG_POSTS = 667
"""Posts to every account: 100,050 deliveries."""
FUTURE_POSTS = 10_000
RESTART_POSTS = 70
"""Posts to every account that are open at the kill: 10,500 deliveries."""
CALLS_BEFORE_KILL = 100
START_SECONDS, WATCH_SECONDS = 35, 60
"""Seconds until each job, except hourly ones, has run once; and the longest of their intervals."""


def p11(options: BenchOptions) -> Iterator[Figure]:
    """Measure the memory of a daemon with one post to come, and with 100,000 deliveries to come."""
    idle, renderer = _resident(options, 1)
    laden, _renderer = _resident(options, options.choose(BACKLOG_POSTS, 2))
    name = f"memory of an idle daemon, {ACCOUNTS} accounts"
    yield Figure(
        id="P11",
        name=name,
        value=idle,
        goal=120,
        unit="MiB",
        parts={"renderer beside it MiB": renderer},
    )
    name = "100,000 open deliveries, in addition"
    yield Figure(
        id="P11",
        name=name,
        value=laden - idle,
        goal=60,
        unit="MiB",
        parts={"in all MiB": laden},
    )


def _resident(options: BenchOptions, posts: int) -> tuple[float, float]:
    """Return the MiB that a waiting daemon and its renderer hold."""
    with workspace(ACCOUNTS) as folder:
        write_schedule(folder, format_posts(posts, _tomorrow()))
        filed = asyncio.run(accept_schedule(folder))
        if filed != posts * ACCOUNTS:
            raise AssertionError(filed)
        with daemon(folder, options.publisher) as process:
            wait_for_event(folder, STARTED)
            # what it holds after some time is measured
            time.sleep(options.choose(START_SECONDS, 1))
            return resident_mebibytes(process.pid), sum(
                map(resident_mebibytes, child_pids(process.pid))
            )


def p12(options: BenchOptions) -> Iterator[Figure]:
    """Measure the processor time of a daemon, and of its renderer, with only later posts.

    Its clock is confirmed, and its logins and lists have just been read.
    """
    posts = options.choose(FUTURE_POSTS, 100)
    with run_platform() as platform, workspace(ACCOUNTS, platform.base_url) as folder:
        write_schedule(
            folder,
            format_posts(
                posts,
                _tomorrow(),
                [[f"a{number}"] for number in range(ACCOUNTS)],
                NO_BODY,
            ),
        )
        asyncio.run(accept_schedule(folder))
        asyncio.run(_postpone_reads(folder))
        with daemon(folder, options.publisher) as process:
            wait_for_event(folder, STARTED)
            time.sleep(
                options.choose(START_SECONDS, 1)
            )  # what it spends in some time is measured
            began, before = time.monotonic(), processor_seconds(process.pid)
            time.sleep(options.choose(WATCH_SECONDS, 2))  # the time that is measured
            spent, seconds = (
                processor_seconds(process.pid) - before,
                time.monotonic() - began,
            )
    name = f"processor of an idle daemon, {posts:,} future posts"
    parts = {"CPU s": spent, "watched s": seconds}
    yield Figure(
        id="P12",
        name=name,
        value=spent / seconds * 100,
        goal=0.5,
        unit="%",
        parts=parts,
    )


async def _postpone_reads(folder: Path) -> None:
    """Postpone the reads of logins and lists for hours. The logins have just been found to work."""
    async with application(folder, can_send=False) as opened:
        for account in await opened.store.login_health.claim_due_probes(ACCOUNTS):
            await opened.store.login_health.record_probe(account, Healthy())
        await opened.store.monitoring.claim_due_accounts(ACCOUNTS)


def p13(options: BenchOptions) -> Iterator[Figure]:
    """Measure from a daemon's start to its first call: after a kill in a backlog, and alone.

    The second case has one delivery alone.
    """
    posts = options.choose(RESTART_POSTS, 2)
    killed = [
        _first_call(options, posts, is_killed=True) for _ in range(options.few_runs)
    ]
    empty = [_first_call(options, 1, is_killed=False) for _ in range(options.few_runs)]
    yield Figure(
        id="P13",
        name=f"kill -9 to first call, {posts * ACCOUNTS:,} open, against an empty database",
        value=median(killed) / median(empty),
        goal=3,
        parts={
            "s after a kill": median(killed),
            "s with an empty database": median(empty),
            "worst s": max(killed),
        },
    )


def _first_call(options: BenchOptions, posts: int, *, is_killed: bool) -> float:
    """Return the seconds from the start of a daemon to the first call.

    It has one account, unless another daemon was killed.
    """
    recipients = ["all"] if is_killed else ["a0"]
    with run_platform() as platform, workspace(ACCOUNTS, platform.base_url) as folder:
        write_schedule(folder, format_posts(posts, None, [recipients]))
        asyncio.run(accept_schedule(folder))
        if is_killed:
            with daemon(folder, options.publisher) as process:
                platform.wait_for(CALLS_BEFORE_KILL, 60)
                process.kill()
                process.wait()
        started_at = time.time()
        with daemon(folder, options.publisher):
            later: Sequence[float] = ()
            while not later:  # a byte of the killed daemon may still arrive
                calls = platform.wait_for(len(platform.calls()) + 1, 60)
                later = [at for at in calls if at > started_at]
        return later[0] - started_at


def _tomorrow() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
