"""Seven days of 150 accounts on a fast clock: the resources of the daemon, hour by hour.

All jobs of a daemon run at their own intervals in real threads, over real sockets, on a real file.
Only APScheduler, their starter, is replaced by the clock of the week. The platforms are another
process.
"""

import argparse
import asyncio
import gc
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import click

from publisher.app.application import open_application
from publisher.cli.workspace import DemoWorkspace, read_regions
from publisher.config import load_settings
from publisher.daemon import Daemon, freeze_gc
from publisher.i18n import Messages
from publisher.runtime.logs import configure_logging
from tests.e2e.day_scenario import POST, ZONE, create_day_workspace
from tests.e2e.fast_clock import Days, FastRuntime
from tests.e2e.faults import DRAFT, arrange, deal, give_history
from tests.report import IMAGES, Plot, write_plots, write_table
from tests.simulator_process import run_simulator

DAYS, REGIONS = 7, 50
GROUPS = 6
"""The post of each hour goes to one account in so many, in turn: four a day to each."""
URGENT_HOUR = 9
"""The hour of a post to all accounts, mass-sent on some.

On the fifth day the month's quota is used up.
"""
HOURS_KEPT = 48
"""How long a post stays in the schedule after its time, as staff clear up."""
TOKENS_FAIL = {
    "platform": "wechat",
    "endpoint": DRAFT,
    "probability": 0.02,
    "seed": 1,
    "fault": {"kind": "expire_token"},
}
"""Besides the faults of a day: one call in fifty finds its token expired before its time."""
MEGABYTE = 1e6

Sample = Mapping[str, float]


@dataclass(slots=True)
class Week(Days):
    """A daemon with every job run at its interval."""

    ran_at: dict[str, datetime] = field(default_factory=dict)

    async def run_jobs(self) -> None:
        now = self.runtime.now()
        for job in self.daemon.jobs.values():
            if now - self.ran_at.get(job.name, now - timedelta(days=1)) >= timedelta(
                seconds=job.interval_seconds
            ):
                self.ran_at[job.name] = now
                await self.daemon.run_job(job)
        await Days.run_jobs(self)


def write_schedule(
    folder: Path, start: datetime, hour: int, accounts: Sequence[str]
) -> int:
    """Write the posts of the last two days and of the next hour.

    Return the number of accounts of the new ones.
    """
    posts, targets = [], 0
    for number in range(max(0, hour - HOURS_KEPT), hour + 1):
        at = start + timedelta(hours=number, minutes=5)
        kinds = {
            f"hourly-{number}": (
                accounts[number % GROUPS :: GROUPS],
                f"第{number}号反诈提醒",
                "",
            )
        }
        if number % 24 == URGENT_HOUR:
            kinds[f"urgent-{number}"] = (
                accounts,
                f"第{number}号紧急提醒",
                "urgent = true",
            )
        for name, (to, title, more) in kinds.items():
            facts = {
                "id": name,
                "kind": "warning",
                "title": title,
                "at": at,
                "expires": at + timedelta(hours=18),
            }
            extra = f'level = "orange"\n{more}'
            posts.append(POST.format(**facts, to='", "'.join(to), extra=extra))
            targets += len(to) if number == hour else 0
    (folder / "schedule.toml").write_text("".join(posts), "utf-8")
    return targets


def take_sample(folder: Path, hour: int, deliveries: int) -> Sample:
    """Measure this process and its files at the end of an hour."""
    status = dict(
        line.split(":", 1)
        for line in Path("/proc/self/status").read_text("ascii").splitlines()
    )
    gc.collect()

    def megabytes(name: str) -> float:
        file = folder / "var" / name
        return round(file.stat().st_size / MEGABYTE, 2) if file.exists() else 0.0

    return {
        "hour": hour,
        "deliveries": deliveries,
        "memory MB": round(int(status["VmRSS"].split()[0]) * 1024 / MEGABYTE, 1),
        "objects": len(gc.get_objects()),
        "open files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "database MB": megabytes("publisher.db"),
        "WAL MB": megabytes("publisher.db-wal"),
        "journal MB": megabytes("intents.jsonl"),
    }


async def run_week(
    folder: Path, hours: int, regions: int
) -> tuple[list[Sample], Counter[str]]:
    """Run so many hours in an empty folder.

    Return a sample of each, and the number of deliveries that ended in each state.
    """
    runtime, samples, deliveries = FastRuntime(), [], 0
    with run_simulator() as simulator:
        drill = DemoWorkspace(
            regions=read_regions()[:regions], simulator_url=simulator.url
        )
        names = [account.id for account in drill.accounts]
        troubles = deal(drill.accounts, Random(1))  # noqa: S311 # repeatable on purpose
        create_day_workspace(folder, drill, troubles)
        give_history(simulator, drill.accounts)
        arrange(simulator, troubles)
        simulator.post("/_sim/faults", TOKENS_FAIL)
        today = (
            runtime.now()
            .astimezone(ZONE)
            .replace(hour=0, minute=0, second=0, microsecond=0)
        )
        # a new month, with all of its quota
        start = (today.replace(day=28) + timedelta(days=4)).replace(day=1)
        runtime.shift = start - runtime.now()
        simulator.post("/_sim/clock", {"shift": runtime.shift.total_seconds()})
        runtime.confirm_clock(runtime.read_clocks())
        settings = await load_settings(folder)
        async with open_application(settings, runtime, can_send=True) as app:
            daemon = Daemon(
                app, folder / "schedule.toml", Messages(settings.lang), runtime.now()
            )
            await app.store.maintenance.expire_own_leases()
            await app.store.actions.register_worker()
            week = Week(daemon, runtime, simulator)
            freeze_gc()
            for hour in range(1, hours + 1):
                deliveries += write_schedule(folder, start, hour, names)
                await week.live_until(start + timedelta(hours=hour + 1))
                samples.append(take_sample(folder, hour, deliveries))
                click.echo(json.dumps(samples[-1]), err=True)
            rows = await app.store.queries.deliveries()
    return samples, Counter(row.state.value for row in rows)


def record(samples: Sequence[Sample]) -> None:
    """Write the figures of each day's end, and the plots, into the docs."""
    days = [sample for sample in samples if sample["hour"] % 24 == 0]
    write_table(
        "week",
        [
            {"day": f"{day.pop('hour') / 24:.0f}", **_format(day)}
            for day in map(dict, days)
        ],
    )

    def line(name: str) -> Sequence[tuple[float, float]]:
        return [(sample["hour"] / 24, sample[name]) for sample in samples]

    plots = (
        ("Memory, MB", ("memory MB",)),
        ("Handles", ("open files", "threads")),
        ("Python objects", ("objects",)),
    )
    files = ("Files, MB", ("database MB", "WAL MB", "journal MB"))
    drawn = [
        Plot(title=title, x_title="days", series={n: line(n) for n in names})
        for title, names in (*plots, files)
    ]
    write_plots(IMAGES / "week.svg", drawn)


def _format(sample: Sample) -> Mapping[str, str]:
    return {
        name: f"{value:,.1f}" if name.endswith("MB") else f"{value:,.0f}"
        for name, value in sample.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/week", description=__doc__)
    parser.add_argument("--hours", type=int, default=24 * DAYS)
    parser.add_argument(
        "--regions",
        type=int,
        default=REGIONS,
        help="each has an account on every platform",
    )
    parser.add_argument(
        "--record", action="store_true", help="write the figures into docs/scaling.md"
    )
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="publisher-week-") as folder,
        Path(os.devnull).open("w") as nobody,
    ):
        configure_logging(nobody)
        samples, states = asyncio.run(
            run_week(Path(folder), given.hours, given.regions)
        )
    click.echo(", ".join(f"{state} {number}" for state, number in states.most_common()))
    if given.record:
        record(samples)
    return 0


if __name__ == "__main__":
    sys.exit(main())
