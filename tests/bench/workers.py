"""P7: two workers on one PostgreSQL against one.

`python -m tests.bench.workers FOLDER` prints a line, waits for one, delivers all that is due, and
prints the processor seconds that this took.
"""

import asyncio
import io
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from publisher.domain.delivery import State
from publisher.engine.sender import send_due
from publisher.runtime.logs import configure_logging
from tests.bench.database import accept_schedule, application, postgres, promote_all
from tests.bench.figures import BenchOptions, Figure, RunCost, measure_in_turn
from tests.bench.platform import run_platform
from tests.bench.process import running
from tests.bench.workspace import format_posts, workspace, write_schedule

ACCOUNTS = 150
LATENCY_SECONDS = 0.1
IN_FLIGHT = 16
"""Calls at once of each worker.

They are so few that the platform's latency bounds a worker, and not the processor of one machine.
"""


def p7(options: BenchOptions) -> Iterator[Figure]:
    """Measure the speed and the cost per delivery of one worker and of two, for the same posts."""
    posts = options.choose(8, 1)
    deliveries = posts * ACCOUNTS
    with postgres() as create_database:
        one, two = measure_in_turn(
            options.few_runs,
            lambda: deliver_together(1, posts, create_database()),
            lambda: deliver_together(2, posts, create_database()),
        )
    yield Figure(
        id="P7",
        name="deliveries/s of two workers on PostgreSQL against one",
        value=one.seconds / two.seconds,
        goal=1.6,
        is_minimum=True,
        parts={
            "deliveries/s of one": deliveries / one.seconds,
            "deliveries/s of two": deliveries / two.seconds,
            "the platform allows one": IN_FLIGHT / LATENCY_SECONDS,
        },
    )
    yield Figure(
        id="P7",
        name="CPU of a delivery, two workers against one",
        value=two.processor_seconds / one.processor_seconds,
        goal=1.2,
        parts={
            "CPU ms of one": one.processor_seconds / deliveries * 1e3,
            "CPU ms of two": two.processor_seconds / deliveries * 1e3,
        },
    )


def deliver_together(count: int, posts: int, database: str) -> RunCost:
    """Deliver so many posts to every account by so many workers, each with a workspace of its own.

    Return the seconds until the last has nothing to do, and the processor seconds of the workers
    alone.
    """
    with ExitStack() as stack:
        platform = stack.enter_context(run_platform(LATENCY_SECONDS))
        folders = [
            stack.enter_context(
                workspace(ACCOUNTS, platform.base_url, database=database)
            )
            for _ in range(count)
        ]
        write_schedule(folders[0], format_posts(posts, None))
        asyncio.run(accept_schedule(folders[0]))
        asyncio.run(_promote(folders[0]))
        command = [sys.executable, "-m", "tests.bench.workers"]
        workers = [
            stack.enter_context(
                running(
                    [*command, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            for folder in folders
        ]
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()  # it is ready
        began = time.perf_counter()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(b"go\n")
            worker.stdin.flush()
        spent = sum(float(worker.communicate()[0]) for worker in workers)
        seconds = time.perf_counter() - began
        states = asyncio.run(_count_states(folders[0]))
        if states != {State.PUBLISHED: posts * ACCOUNTS}:
            raise AssertionError(states)
    return RunCost(seconds, spent)


async def _promote(folder: Path) -> None:
    async with application(folder, can_send=False) as opened:
        await promote_all(opened)


async def _count_states(folder: Path) -> Counter[State]:
    async with application(folder, can_send=False) as opened:
        return Counter(
            delivery.state for delivery in await opened.store.queries.deliveries()
        )


async def work(folder: Path) -> None:
    """Deliver, once a line has come in, until nothing is left."""
    async with application(folder, can_send=True) as opened:
        await opened.store.outbox.preload()  # as the daemon does
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        spent = RunCost.meter()
        while await opened.store.outbox.next_due_at() is not None:
            await send_due(opened.store, opened.adapters, IN_FLIGHT, asyncio.Event())
        sys.stdout.write(f"{spent().processor_seconds}\n")


if __name__ == "__main__":
    configure_logging(io.StringIO())
    asyncio.run(work(Path(sys.argv[1])))
