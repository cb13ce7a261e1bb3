"""P14: what planning, claiming, looking and starting cost after a long past."""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from publisher.engine.planner import active_schedule, plan_window
from publisher.store.recovery.setup import check_integrity
from tests.bench.commands import seconds_of
from tests.bench.figures import Figure, median
from tests.bench.rig import schedule_of, workspace
from tests.bench.scale import ACCOUNTS, announce, fill
from tests.bench.store import application, file_schedule

PASTS = (1_000, 10_000, 100_000)
CHECK = "reading the whole file"
"""What a start does to find damage: it costs what the file is long, and is given beside the rest."""
OPEN_POSTS = 3
"""Posts to every account that are still to come: 450 open deliveries."""
LEFT = """
INSERT INTO post (id, content_hash, body, in_force_since, is_scheduled, is_cancelled)
SELECT DISTINCT past.post, 'd', post.body, 0, 0, 0 FROM delivery AS past, post
WHERE past.state = 'published' AND post.id = 'post-0'
"""
"""The posts of the past have left the schedule."""


def p14(publisher: Sequence[str], runs: int, pasts: Sequence[int] = PASTS) -> list[Figure]:
    """Measure the same schedule on top of pasts of different lengths."""
    costs = [asyncio.run(_costs(publisher, runs, rows)) for rows in pasts]
    figures = []
    for name in costs[0]:
        parts = {f"ms at {rows:,}": cost[name] * 1e3 for rows, cost in zip(pasts, costs, strict=True)}
        figure = f"{name}, {pasts[-1]:,} past deliveries / {pasts[0]:,}"
        goal = None if name == CHECK else 2.0
        figures.append(Figure(id="P14", name=figure, value=costs[-1][name] / costs[0][name], goal=goal, parts=parts))
    return figures


async def _costs(publisher: Sequence[str], runs: int, rows: int) -> dict[str, float]:
    """Give the seconds that each of the four takes, of the processor where nothing is waited for."""
    with workspace(ACCOUNTS) as folder:
        (folder / "schedule.toml").write_text(schedule_of(OPEN_POSTS, datetime.now(UTC) + timedelta(days=1)), "utf-8")
        await file_schedule(folder)
        fill(folder, rows)
        with closing(sqlite3.connect(folder / "var" / "publisher.db")) as connection, connection:
            connection.execute(LEFT)
        whole, started, planned = [], [], []
        for _ in range(runs):
            whole.append(_check(folder))
            start, plan = await _start(folder)
            started.append(start - whole[-1])
            planned.append(plan)
        status = median([seconds_of([*publisher, "-C", str(folder), "status"]) for _ in range(runs)])
    return {
        "planning": median(planned),
        "claim + intend": await announce(rows),
        "status": status,
        "start": median(started),
        CHECK: median(whole),
    }


def _check(folder: Path) -> float:
    began = time.process_time()
    check_integrity(f"sqlite:///{folder / 'var' / 'publisher.db'}")
    return time.process_time() - began


async def _start(folder: Path) -> tuple[float, float]:
    """Open the whole as a daemon does, end what a death left, and plan; give what that costs, and planning again."""
    began = time.process_time()
    async with application(folder, can_send=True) as opened:
        await opened.store.maintenance.expire_own_leases()
        schedule = await active_schedule(opened.planner, "schedule.toml")
        if schedule is None:
            raise AssertionError(schedule)
        version = await opened.store.posts.schedule_version()
        await plan_window(opened.planner, schedule, version)
        started = time.process_time() - began
        began = time.process_time()
        await plan_window(opened.planner, schedule, version)
        return started, time.process_time() - began
