"""P10: what a person waits for at the command line."""

import asyncio
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tests.bench.figures import Figure, in_turn, median
from tests.bench.rig import schedule_of, workspace
from tests.bench.store import file_schedule

IMPORT = (sys.executable, "-c", "import sqlmodel")
SOON = timedelta(days=1)
SPREAD = [[f"a{number}", f"a{number + 1}", f"a{number + 2}"] for number in range(0, 147, 3)]
"""Three accounts for each post."""


def seconds_of(command: Sequence[str]) -> float:
    """Give the processor time that a command takes: on a busy machine its wall time says little."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, env={**os.environ})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def p10(publisher: Sequence[str], runs: int) -> list[Figure]:
    """Measure `--help`, `check` and `status` against importing the ORM alone."""
    at = datetime.now(UTC) + SOON
    with workspace(150) as folder:
        here = [*publisher, "-C", str(folder)]
        (folder / "schedule.toml").write_text(schedule_of(100, at, SPREAD), "utf-8")
        asyncio.run(file_schedule(folder))
        for command in ([*here, "check"], [*here, "status"]):  # a first run compiles modules
            subprocess.run(command, capture_output=True, check=True)
        base, helped, checked, status = in_turn(
            runs,
            lambda: seconds_of(IMPORT),
            lambda: seconds_of([*publisher, "--help"]),
            lambda: seconds_of([*here, "check"]),
            lambda: seconds_of([*here, "status"]),
        )
        (folder / "schedule.toml").write_text(schedule_of(1000, at, SPREAD), "utf-8")
        large = median([seconds_of([*here, "check"]) for _ in range(max(1, runs // 2))])
    return [
        Figure(id="P10", name=name, value=value / base, goal=goal, parts={"seconds": value, "import": base})
        for name, value, goal in (
            ("publisher --help / import sqlmodel", helped, 0.5),
            ("check, 100 posts to 3 accounts / import sqlmodel", checked, 2.0),
            ("status, 300 deliveries / import sqlmodel", status, 1.5),
        )
    ] + [Figure(id="P10", name="check, 1,000 posts to 3 accounts", value=large, goal=3.0, unit="s")]
