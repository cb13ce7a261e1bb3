"""P10: the wait of a person at the command line."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from tests.bench.database import accept_schedule
from tests.bench.figures import BenchOptions, Figure, RunCost, measure_in_turn
from tests.bench.workspace import format_posts, workspace, write_schedule

IMPORT = (sys.executable, "-c", "import sqlmodel")
ACCOUNTS = 150
POSTS = 100
RECIPIENTS = [
    [f"a{number}", f"a{number + 1}", f"a{number + 2}"]
    for number in range(0, ACCOUNTS - 2, 3)
]
"""Three accounts for each post: 300 deliveries."""


def p10(options: BenchOptions) -> Iterator[Figure]:
    """Measure the processor time of `--help`, `check` and `status` against an import of the ORM."""
    with workspace(ACCOUNTS) as folder:
        write_schedule(
            folder,
            format_posts(POSTS, datetime.now(UTC) + timedelta(days=1), RECIPIENTS),
        )
        asyncio.run(accept_schedule(folder))
        here = (*options.publisher, "-C", folder)
        commands = (
            IMPORT,
            (*options.publisher, "--help"),
            (*here, "check"),
            (*here, "status"),
        )
        for command in commands:  # the first run compiles modules
            RunCost.of_command(command)
        base, *costs = measure_in_turn(
            options.runs,
            *(partial(RunCost.of_command, command) for command in commands),
        )
    names = (
        "publisher --help",
        "publisher check, 100 posts",
        "publisher status, 300 deliveries",
    )
    for name, cost, goal in zip(names, costs, (0.5, 2, 1.5), strict=True):
        yield Figure(
            id="P10",
            name=f"{name}, against import sqlmodel",
            value=cost.processor_seconds / base.processor_seconds,
            goal=goal,
            parts={
                "CPU s": cost.processor_seconds,
                "CPU s of the import": base.processor_seconds,
            },
        )
