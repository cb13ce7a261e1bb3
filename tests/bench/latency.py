"""P5, P6: how soon after its due time a post's first byte reaches the platform."""

import asyncio
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from publisher.daemon import freeze_gc
from tests.bench.bare_calls import BareCall, bare_calls
from tests.bench.database import accept_schedule, change_rows, read_rows
from tests.bench.figures import BenchOptions, Figure, median, percentile
from tests.bench.platform import PlatformClient, run_platform
from tests.bench.workspace import (
    BODY,
    STARTED,
    daemon,
    format_post,
    format_posts,
    wait_for_event,
    workspace,
    write_schedule,
)

LATENCY_SECONDS = 0.05
"""How long the platform takes to answer."""
READY_BEFORE = timedelta(seconds=3)
"""How long before its instant a post must be filed, with a daemon waiting for it."""
BARE_START_SECONDS = 1.0
ACCOUNTS = 150
POSTS = 667
"""Posts to every account: 100,050 deliveries."""
BACKLOG_CALLS = 300
"""The backlog counts as being sent after so many calls."""
URGENT_POSTS = 5


def p5(options: BenchOptions) -> Iterator[Figure]:
    """Measure until the last first byte of simultaneous posts, in a daemon and in a bare loop."""
    most_open = 0
    for accounts, start_seconds, runs in options.choose(
        ((150, 8, options.runs), (1500, 25, options.few_runs)), ((50, 30, 1),)
    ):
        ours: list[Sequence[float]] = []
        bare: list[float] = []
        for _ in range(runs):
            with (
                run_platform(LATENCY_SECONDS) as platform,
                workspace(accounts, platform.base_url) as folder,
            ):
                ours.append(
                    _delays_of_daemon(
                        options,
                        platform,
                        folder,
                        accounts,
                        timedelta(seconds=start_seconds),
                    )
                )
                most_open = max(most_open, platform.most_open())
                with run_platform(LATENCY_SECONDS) as other:
                    bare.append(
                        asyncio.run(
                            _last_bare_call(bare_calls(folder, other.base_url), other)
                        )
                    )
        last = median(map(max, ours))
        yield Figure(
            id="P5",
            name=f"last first byte of {accounts:,} due at once, against bare calls",
            value=last / median(bare),
            goal=1.5,
            parts={
                "last ms": last * 1e3,
                "bare last ms": median(bare) * 1e3,
                "p50 ms": median(percentile(delays, 0.5) for delays in ours) * 1e3,
            },
        )
    yield Figure(
        id="P5", name="most calls in flight on one login", value=most_open, goal=1
    )


def _delays_of_daemon(
    options: BenchOptions,
    platform: PlatformClient,
    folder: Path,
    accounts: int,
    start: timedelta,
) -> Sequence[float]:
    """Return how long after the due time the first byte of each call came, in seconds."""
    due_at = datetime.now(UTC).replace(microsecond=0) + start
    write_schedule(folder, format_posts(1, due_at))
    asyncio.run(accept_schedule(folder))
    with daemon(folder, options.publisher):
        wait_for_event(folder, STARTED)
        if datetime.now(UTC) > due_at - READY_BEFORE:
            raise TimeoutError("the daemon was not ready well before the instant")
        calls = platform.wait_for(accounts, start.total_seconds() + 60)
    delays = [at - due_at.timestamp() for at in calls]
    if len(delays) != accounts or min(delays) < 0:
        raise AssertionError((len(delays), min(delays)))
    return delays


async def _last_bare_call(calls: Sequence[BareCall], platform: PlatformClient) -> float:
    """Make all calls at one instant, each in a waiting task; return when the last one arrived.

    A call arrives with its first byte.
    """
    freeze_gc()  # as the daemon does
    due_at = time.time() + BARE_START_SECONDS

    async def make(call: BareCall) -> None:
        await asyncio.sleep(
            due_at - time.time()
        )  # until the instant that is measured from
        await call.make()

    await asyncio.gather(*map(make, calls))
    return max(await asyncio.to_thread(platform.calls)) - due_at


def p6(options: BenchOptions) -> Iterator[Figure]:
    """Measure until an urgent post's first byte, while a backlog is sent and while idle."""
    posts = options.choose(POSTS, 4)
    backlog = _urgent_delays(options, posts)
    empty = _urgent_delays(options, 0)
    first, bare_first = (median(map(min, delays)) for delays in (backlog, empty))
    parts = {
        "first ms": first * 1e3,
        "first ms, no backlog": bare_first * 1e3,
        f"last of {ACCOUNTS} ms": median(map(max, backlog)) * 1e3,
        f"last of {ACCOUNTS} ms, no backlog": median(map(max, empty)) * 1e3,
    }
    name = f"urgent post behind {posts * ACCOUNTS:,} deliveries"
    yield Figure(
        id="P6",
        name=f"{name}, against no backlog",
        value=first / bare_first,
        goal=2,
        parts=parts,
    )
    yield Figure(id="P6", name=f"{name}, first byte", value=first, goal=1, unit="s")


def _urgent_delays(options: BenchOptions, posts: int) -> Sequence[Sequence[float]]:
    """Return, for each urgent post, the delay of each call's first byte, in seconds.

    A delay counts from the post's due time.
    """
    with (
        run_platform(LATENCY_SECONDS) as platform,
        workspace(ACCOUNTS, platform.base_url) as folder,
    ):
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        write_schedule(folder, format_posts(max(posts, 1), tomorrow))
        filed = asyncio.run(accept_schedule(folder))
        if filed != max(posts, 1) * ACCOUNTS:
            raise AssertionError(filed)
        if posts:
            now = int(time.time() * 1e6)
            due = "UPDATE delivery SET due_at = ?, next_action_at = ?, max_delay = 86400000000"
            change_rows(folder, due, now, now)
        with daemon(folder, options.publisher):
            wait_for_event(folder, STARTED)
            platform.wait_for(min(BACKLOG_CALLS, posts * ACCOUNTS // 2), 120)
            return [
                _send_urgent(options, platform, folder, number)
                for number in range(options.choose(URGENT_POSTS, 1))
            ]


def _send_urgent(
    options: BenchOptions, platform: PlatformClient, folder: Path, number: int
) -> Sequence[float]:
    post = f"urgent-{number}"
    file = folder / f"{post}.toml"
    file.write_text(format_post(post, None, more=f"urgent = true\n{BODY}"), "utf-8")
    command = [*options.publisher, "-C", folder, "send", file, "--by", "bench"]
    subprocess.run(command, check=True, capture_output=True)
    calls = platform.wait_for(ACCOUNTS, 120, marker=post)
    [(due_at,)] = read_rows(
        folder,
        f"SELECT DISTINCT due_at FROM delivery WHERE post = '{post}'",  # noqa: S608 # ours
    )
    return [at - due_at / 1e6 for at in calls]
