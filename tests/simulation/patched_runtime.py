"""The rest of the simulated machine.

It has clocks, random numbers, the log, and the times of the daemon's jobs.
"""

import asyncio
import contextlib
import math
import os
import random
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import structlog
from sqlalchemy import Engine, event

import adapters._http
import publisher.app.application
import publisher.app.checks
import publisher.app.offline
import publisher.app.open_store
import publisher.daemon
import publisher.engine.planner
from publisher.daemon import SHUTDOWN_TIMEOUT_SECONDS, Daemon
from publisher.rendering.child import RenderWorker
from publisher.rendering.templates import Templates, load_templates
from publisher.runtime.clock import Runtime
from publisher.store.db.intent_journal import CallRecord, IntentJournal
from tests.chaos.mutants.patch import Patch
from tests.simulation.channels import Channels
from tests.simulation.loop import PROCESS, CrashedError, VirtualLoop, rng_for
from tests.simulation.network import SimulatedNetwork
from tests.simulation.platforms import EPOCH

JOB_TIMES = {
    "confirm_clock": (0.0, 1.0),
    "run_maintenance": (0.0, 1.0),
    "send": (0.1, 0.5),
    "reconcile": (1.0, 1.0),
    "retract": (1.0, 1.0),
    "read_schedule": (20.0, 20.0),
    "plan": (20.0, 60.0),
    "heartbeat": (5.0, 15.0),
    "check_logins": (5.0, 30.0),
    "monitor": (30.0, 15.0),
    "write_checkpoint": (10.0, 300.0),
}
"""The daemon's jobs: the seconds to the first run, and between two runs."""
NOTIFYING_JOB_TIMES = {
    "check_preflight": (15.0, 30.0),
    "check_silence": (20.0, 60.0),
    "check_backlog": (25.0, 30.0),
    "return_alerts": (70.0, 60.0),
    "notify": (1.0, 2.0),
}
"""The same times of the jobs that run only where people are notified."""
LONGEST_PERIOD = {"notify": 20.0, "monitor": 30.0}
"""Seconds between two runs of a job at most, however slow the pace.

People are notified within a minute, and an account is read within a minute after it is due (I11).
"""

INSERTED = ("AFTER INSERT", "TRUE")
ENDED = (
    "AFTER UPDATE OF ended_at",
    "OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL",
)
CLEARED = (
    "AFTER UPDATE OF cleared_at",
    "OLD.cleared_at IS NULL AND NEW.cleared_at IS NOT NULL",
)
TRIGGERS = (
    ("attempt", "id", "intended_at", INSERTED),
    ("attempt", "id", "ended_at", ENDED),
    ("audit", "id", "at", INSERTED),
    ("readback", "id", "at", INSERTED),
    ("schedule", "id", "accepted_at", INSERTED),
    ("alert", "id", "at", INSERTED),
    ("alert", "id", "cleared_at", CLEARED),
    ("notice", "id", "at", INSERTED),
    ("notice", "id", "ended_at", ENDED),
    ("observed_post", "remote_id", "seen_at", INSERTED),
)
"""The recorded instants.

Each has the table, its key, the column that the host's clock fills, the statement, and the
condition.
"""


@dataclass(slots=True)
class TrueTime:
    """The true instants of rows, in seconds of `now`, by table, key and column.

    A row that is rolled back is recorded again when it is written again.
    """

    now: Callable[[], float]
    instants: dict[str, dict[str, dict[str, float]]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def follow(self, connection: sqlite3.Connection, _record: Any = None) -> None:
        """Record the rows that a connection writes from now on.

        This leaves no trace in the database's file.
        """
        connection.create_function("note_true_time", 3, self._note)
        for table, key, column, (statement, where) in TRIGGERS:
            connection.execute(
                f"CREATE TEMP TRIGGER true_{table}_{column} {statement} ON main.{table}"
                f" WHEN {where} "
                f"BEGIN SELECT note_true_time('{table}', NEW.{key}, '{column}'); END"
            )

    def _note(self, table: str, row: object, column: str) -> None:
        self.instants[table].setdefault(str(row), {})[column] = self.now()

    def of_attempt(self, row: int) -> float:
        """Return the instant of an attempt's recording; 0 for attempts from before the run."""
        return self.instants["attempt"].get(str(row), {}).get("intended_at", 0.0)


@dataclass(slots=True)
class CrashPlan:
    """The crash points of a daemon.

    It crashes by chance at any failpoint, or at the n-th passing of a named one.
    """

    rng: Random
    chance: float = 0.0
    at_failpoints: dict[str, int] = field(default_factory=dict)

    def is_due(self, name: str) -> bool:
        if name in self.at_failpoints:
            self.at_failpoints[name] -= 1
            if self.at_failpoints[name] <= 0:
                del self.at_failpoints[name]
                return True
        return self.chance > 0 and self.rng.random() < self.chance


@dataclass(slots=True)
class SimulatedHost:
    """The machine of all processes: its clock's lead in seconds, and its boot time."""

    ahead: float = 0.0
    booted_at: float = 0.0


@dataclass(slots=True)
class SimulatedRuntime(Runtime):
    """The runtime of one process.

    It has the loop's time, by the host's clock, and crashes at failpoints.
    """

    loop: VirtualLoop = field(kw_only=True)
    crash_plan: CrashPlan = field(kw_only=True)
    host: SimulatedHost = field(kw_only=True)
    on_crash: Callable[[str], None] = lambda _name: None

    def now(self) -> datetime:
        return datetime.fromtimestamp(EPOCH, UTC) + timedelta(
            seconds=self.loop.time() + self.host.ahead
        )

    def monotonic(self) -> float:
        return self.loop.time() - self.host.booted_at

    def is_kernel_clock_synchronized(self) -> bool:
        """Return False: no time service runs on this host."""
        return False

    def boot_id(self) -> str | None:
        return f"boot at {self.host.booted_at}"

    def hit_failpoint_now(self, name: str) -> None:
        process = PROCESS.get()
        if (
            process is None
            or not process.can_crash
            or process.has_ended
            or not self.crash_plan.is_due(name)
        ):
            return
        process.ended_by = name
        self.on_crash(name)
        raise CrashedError(name)


SMALL_PORTION = 25
"""How many texts are planned at once: large plans of a few posts are planned in portions, too."""


@contextlib.contextmanager
def patched(
    loop: VirtualLoop,
    network: SimulatedNetwork,
    seed: str,
    pace: Callable[[], float],
    true_time: TrueTime,
    *,
    channels: Channels,
    notifies: bool,
    trace: bool,
) -> Iterator[None]:
    """Make everything depend on the seed alone while this lasts."""
    notifying = NOTIFYING_JOB_TIMES if notifies else {}
    kept = random.getstate()

    def format_entry(_logger: object, _method: str, fields: dict[str, Any]) -> str:
        if not trace:
            raise structlog.DropEvent
        process = PROCESS.get()
        reported = " ".join(
            f"{key}={value}"
            for key, value in fields.items()
            if key not in ("event", "exc_info")
        )
        if fields.get("exc_info"):
            reported += f" {sys.exc_info()[1]!r}"
        return f"{loop.time():9.3f} {process.name if process else '-'} {fields['event']} {reported}"

    with seeded_bytes(seed) as patch, contextlib.ExitStack() as stack:
        for place, name, value in (
            (time, "time", lambda: EPOCH + loop.time()),
            (time, "monotonic", loop.time),
            (adapters._http, "_NetworkBackend", lambda: network),
            (
                publisher.daemon,
                "run_until_stopped",
                lambda daemon: _run_jobs(daemon, pace, notifying),
            ),
            (publisher.app.checks, "ProvingChannels", lambda **_workspace: channels),
            (publisher.daemon, "freeze_gc", lambda: None),
            (publisher.engine.planner, "MAX_PORTION_TEXTS", SMALL_PORTION),
            (publisher.app.open_store, "IntentJournal", _closed_at_exit(IntentJournal)),
            (publisher.app.open_store, "CallRecord", _closed_at_exit(CallRecord)),
            (publisher.app.offline, "load_templates", _load_once),
        ):
            patch.put(place, name, value)
        stack.callback(structlog.configure, **structlog.get_config())
        printer = structlog.PrintLoggerFactory(sys.stderr)
        structlog.configure(
            processors=[format_entry],
            logger_factory=printer,
            cache_logger_on_first_use=False,
        )
        for follow in (_close_at_exit, true_time.follow):
            event.listen(Engine, "connect", follow)
            stack.callback(event.remove, Engine, "connect", follow)
        random.seed(f"{seed}/random")
        stack.callback(random.setstate, kept)
        yield


def seeded_bytes(seed: str) -> Patch:
    """Take the system's random bytes from the seed until the context of the patch ends."""
    patch, give = Patch(), rng_for(f"{seed}/bytes").randbytes
    patch.put(os, "urandom", give)
    patch.put(random, "_urandom", give)
    return patch


def _close_at_exit(file: Any, _record: object = None) -> None:
    """Close a file when its process ends, as the system does.

    SQLite then rolls back uncommitted changes.
    """
    process = PROCESS.get()
    if process is not None:
        process.exit_callbacks.append(file.close)


def _load_once(
    folders: Sequence[Path],
    _process: object,
    pages: Iterable[Path] = (),
    contacts_file: Path | None = None,
) -> Templates:
    """Compile the shipped templates once; few runs have templates or contacts of their own."""
    has_own = any(next(folder.rglob("*.*"), None) for folder in folders[:-1]) or (
        contacts_file is not None and contacts_file.exists()
    )
    return (
        load_templates(folders, RenderWorker(), pages, contacts_file)
        if has_own
        else _shipped(folders[-1], tuple(pages))
    )


@cache
def _shipped(folder: Path, pages: tuple[Path, ...]) -> Templates:
    return load_templates([folder], RenderWorker(), pages)


def _closed_at_exit(kind: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that opens a file of some kind.

    The file is closed when the process that opened it ends.
    """

    def opened(*facts: Any) -> Any:
        file = kind(*facts)
        _close_at_exit(file)
        return file

    return opened


async def _run_jobs(
    daemon: Daemon, pace: Callable[[], float], more: Mapping[str, tuple[float, float]]
) -> None:
    """Run the daemon's jobs, and `more` jobs, at their times.

    The jobs run `pace` times as seldom as `JOB_TIMES` says.
    """
    times = {**JOB_TIMES, **more}

    async def repeat(name: str) -> None:
        first, period = times[name]
        job, last_run = daemon.jobs[name], float("-inf")
        await asyncio.sleep(first)
        while not daemon.stop_requested.is_set():
            now = asyncio.get_running_loop().time()
            if daemon.interval_of(
                job
            ) == job.interval_seconds or now >= last_run + daemon.interval_of(job):
                last_run = now
                await daemon.run_job(job)
            await asyncio.sleep(
                min(period * pace(), LONGEST_PERIOD.get(name, math.inf))
            )

    loops = [asyncio.create_task(repeat(name)) for name in times]
    await daemon.stop_requested.wait()
    for task in loops:
        task.cancel()
    if daemon.running_jobs:
        await asyncio.wait(daemon.running_jobs, timeout=SHUTDOWN_TIMEOUT_SECONDS)
