"""P4, P14: the cost of claims, plans, looks and starts on top of a long past."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from publisher.app.application import Application
from publisher.domain.account import AccountId
from publisher.domain.post import PostId, SendRequest
from publisher.engine.planner import active_schedule, plan_window
from publisher.store.queries.snapshot import take_snapshot
from publisher.store.recovery.setup import check_integrity
from tests.bench.database import (
    accept_schedule,
    add_past_deliveries,
    application,
    change_rows,
    database_file,
    promote_all,
)
from tests.bench.figures import BenchOptions, Figure, median
from tests.bench.workspace import format_posts, workspace, write_schedule

ACCOUNTS = 150
PASTS, BRIEF_PASTS = (1_000, 10_000, 100_000, 1_000_000), (100, 1_000)
CLAIM = "claim + intend"
START, CHECK = "start", "reading the whole file"
"""A start reads the whole file to find damage. Its cost grows with the file, so it has no goal."""
DUE = "UPDATE delivery SET due_at = ?, next_action_at = ? WHERE state = 'pending'"
PUBLISHED = """
UPDATE delivery
SET state = 'published', version = version + 1, remote_id = '9' || id, published_at = due_at
WHERE state = 'sending'
"""
ROUNDS = 7
OPEN_POSTS = 3
"""Posts to every account that are still to come: 450 open deliveries."""
POST, ACCOUNT = PostId("post-0"), AccountId("a0")


def p4(options: BenchOptions) -> Iterator[Figure]:
    """Measure claiming a delivery and recording its intent on top of a short and a long past."""
    yield _figure("P4", CLAIM, 1.5, options)


def p14(options: BenchOptions) -> Iterator[Figure]:
    """Measure people's and the planner's queries, and a start, on pasts of different lengths."""
    for name in costs_after(options.choose(PASTS, BRIEF_PASTS)[0]):
        if name != CLAIM:
            yield _figure("P14", name, None if name in {START, CHECK} else 2, options)


def _figure(
    figure_id: str, name: str, goal: float | None, options: BenchOptions
) -> Figure:
    pasts = options.choose(PASTS, BRIEF_PASTS)
    costs = [costs_after(rows)[name] for rows in pasts]
    return Figure(
        id=figure_id,
        name=f"{name}, {pasts[-1]:,} past deliveries against {pasts[0]:,}",
        value=costs[-1] / costs[0],
        goal=goal,
        parts={
            f"ms at {rows:,}": cost * 1e3
            for rows, cost in zip(pasts, costs, strict=True)
        },
    )


@cache
def costs_after(rows: int) -> Mapping[str, float]:
    """Return the processor seconds of each operation after `rows` past deliveries.

    Both figures use them.
    """
    return asyncio.run(_measure(rows))


async def _measure(rows: int) -> Mapping[str, float]:
    with workspace(ACCOUNTS) as folder:
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        write_schedule(folder, format_posts(OPEN_POSTS + ROUNDS, tomorrow))
        await accept_schedule(folder)
        add_past_deliveries(folder, rows, ACCOUNTS)
        costs: dict[str, float] = {}
        url = f"sqlite:///{database_file(folder)}"
        costs[CHECK] = await _median_cost(
            lambda: asyncio.to_thread(check_integrity, url)
        )

        async def start() -> None:
            async with application(folder, can_send=True) as opened:
                await opened.store.maintenance.expire_own_leases()
                await plan(opened)

        costs[START] = await _median_cost(start)
        async with application(folder, can_send=True) as opened:
            queries = opened.store.queries
            costs["planning"] = await _median_cost(lambda: plan(opened))
            costs["status"] = await _median_cost(lambda: take_snapshot(queries))

            async def why() -> None:
                await queries.audit_history(POST)
                await take_snapshot(queries, [POST])
                [delivery] = await queries.deliveries(POST, ACCOUNT)
                await queries.delivery_history(delivery)

            costs["why"] = await _median_cost(why)
            today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            costs["Today"] = await _median_cost(
                lambda: opened.store.dashboard.board(
                    today, today + timedelta(days=2), None
                )
            )
            now = int(time.time() * 1e6)
            change_rows(folder, DUE, now, now)
            await promote_all(opened)
            costs[CLAIM] = median(
                [await _claim_and_intend(opened, folder) for _ in range(ROUNDS)]
            )
    return costs


async def plan(opened: Application) -> None:
    """Plan as the daemon does."""
    schedule = await active_schedule(opened.planner, "schedule.toml")
    if schedule is None:
        raise AssertionError(schedule)
    await plan_window(
        opened.planner, schedule, await opened.store.posts.schedule_version()
    )


async def _median_cost(operation: Callable[[], Awaitable[object]]) -> float:
    """Return the processor seconds of an operation."""
    costs = []
    for _ in range(ROUNDS):
        began = time.process_time()
        await operation()
        costs.append(time.process_time() - began)
    return median(costs)


async def _claim_and_intend(opened: Application, folder: Path) -> float:
    """Claim one delivery on every account and record its intent; return the seconds of one.

    The unit is processor seconds.
    """
    began = time.process_time()
    leases = await opened.store.outbox.claim(ACCOUNTS)
    answers = await asyncio.gather(
        *(opened.store.outbox.record_intent(lease) for lease in leases)
    )
    cost = (time.process_time() - began) / ACCOUNTS
    if [type(answer) for answer in answers] != [SendRequest] * ACCOUNTS:
        raise AssertionError(answers)
    change_rows(folder, PUBLISHED)
    return cost
