"""The rest of the machine, made up as well: clocks, randomness, the log, and the daemon's metronome."""

import asyncio
import contextlib
import os
import random
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import structlog
from sqlalchemy import Engine, event

import adapters._http
import publisher.app.application
import publisher.app.offline
import publisher.app.open_store
import publisher.daemon
from publisher.daemon import SHUTDOWN_TIMEOUT_SECONDS, Daemon
from publisher.rendering.child import RenderWorker
from publisher.rendering.templates import Templates, load_templates
from publisher.runtime.clock import Runtime
from publisher.store.db.intent_journal import CallRecord, IntentJournal
from tests.chaos.mutants.patch import Patch
from tests.simulation.loop import LIFE, DiedError, VirtualLoop, dice_for
from tests.simulation.network import Network
from tests.simulation.platforms import EPOCH

T = TypeVar("T")

BEATS = {
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
"""The daemon's verbs, the seconds to the first beat of each, and those between two."""

INSERTED, ENDED, CLEARED = (
    ("AFTER INSERT", "TRUE"),
    ("AFTER UPDATE OF ended_at", "OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL"),
    ("AFTER UPDATE OF cleared_at", "OLD.cleared_at IS NULL AND NEW.cleared_at IS NOT NULL"),
)
TRIGGERS = (
    ("attempt", "id", "intended_at", INSERTED),
    ("attempt", "id", "ended_at", ENDED),
    ("audit", "id", "at", INSERTED),
    ("readback", "id", "at", INSERTED),
    ("schedule", "id", "accepted_at", INSERTED),
    ("alert", "id", "at", INSERTED),
    ("alert", "id", "cleared_at", CLEARED),
    ("observed_post", "remote_id", "seen_at", INSERTED),
)
"""Which instants are noted: the table, its key, the column that the host's clock fills, the statement and where."""


@dataclass(slots=True)
class TrueTime:
    """The true instants of rows, in seconds of `now`, by table, key and column.

    What is rolled back is noted again when it is written again.
    """

    now: Callable[[], float]
    instants: dict[str, dict[str, dict[str, float]]] = field(default_factory=lambda: defaultdict(dict))

    def follow(self, connection: sqlite3.Connection, _record: Any = None) -> None:
        """Note the rows that a connection writes from now on. Nothing of it stands in the database's file."""
        connection.create_function("note_true_time", 3, self._note)
        for table, key, column, (statement, where) in TRIGGERS:
            connection.execute(
                f"CREATE TEMP TRIGGER true_{table}_{column} {statement} ON main.{table} WHEN {where} "
                f"BEGIN SELECT note_true_time('{table}', NEW.{key}, '{column}'); END"
            )

    def _note(self, table: str, row: object, column: str) -> None:
        self.instants[table].setdefault(str(row), {})[column] = self.now()

    def of_attempt(self, row: int) -> float:
        """Give the instant at which an attempt was announced; the beginning of time for what was there before."""
        return self.instants["attempt"].get(str(row), {}).get("intended_at", 0.0)


@dataclass(slots=True)
class Fate:
    """Where a mortal life dies: by chance at any failpoint, or at the n-th passing of those that are named."""

    dice: Random
    chance: float = 0.0
    appointed: dict[str, int] = field(default_factory=dict)

    def strikes(self, name: str) -> bool:
        if name in self.appointed:
            self.appointed[name] -= 1
            if self.appointed[name] <= 0:
                del self.appointed[name]
                return True
        return self.chance > 0 and self.dice.random() < self.chance


@dataclass(slots=True)
class Host:
    """The machine that all processes run on: by how many seconds its clock is ahead, and when it was switched on."""

    ahead: float = 0.0
    booted_at: float = 0.0


@dataclass(slots=True)
class SimWorld(Runtime):
    """The world of one process: the loop's time, by the host's clock, and death at failpoints."""

    loop: VirtualLoop = field(kw_only=True)
    fate: Fate = field(kw_only=True)
    host: Host = field(kw_only=True)
    fell: Callable[[str], None] = lambda _name: None

    def now(self) -> datetime:
        return datetime.fromtimestamp(EPOCH, UTC) + timedelta(seconds=self.loop.time() + self.host.ahead)

    def monotonic(self) -> float:
        return self.loop.time() - self.host.booted_at

    def is_kernel_clock_synchronized(self) -> bool:
        """Nobody keeps this clock right."""
        return False

    def boot(self) -> str:
        return f"boot at {self.host.booted_at}"

    def hit_failpoint_now(self, name: str) -> None:
        life = LIFE.get()
        if life is None or not life.is_mortal or life.is_dead or not self.fate.strikes(name):
            return
        life.died_at = name
        self.fell(name)
        raise DiedError(name)


@contextlib.contextmanager
def made_up(
    loop: VirtualLoop, network: Network, seed: str, pace: Callable[[], float], true_time: TrueTime, *, trace: bool
) -> Iterator[None]:
    """Let nothing but the seed decide, as long as this lasts."""
    kept = random.getstate()
    studios: dict[object, Any] = {}
    build = publisher.app.application.build_offline_app

    def build_once(settings: Any) -> Any:
        """Settings never change here, templates seldom, and reading them takes longer than all else."""
        key = settings.workspace, _own_files(settings.workspace / "templates")
        if key not in studios:
            studios[key] = build(settings)
        return studios[key]

    def format_entry(_logger: object, _method: str, fields: dict[str, Any]) -> str:
        if not trace:
            raise structlog.DropEvent
        life = LIFE.get()
        reported = " ".join(f"{key}={value}" for key, value in fields.items() if key not in ("event", "exc_info"))
        if fields.get("exc_info"):
            reported += f" {sys.exc_info()[1]!r}"
        return f"{loop.time():9.3f} {life.name if life else '-'} {fields['event']} {reported}"

    with made_up_bytes(seed) as patch, contextlib.ExitStack() as stack:
        for place, name, value in (
            (time, "time", lambda: EPOCH + loop.time()),
            (time, "monotonic", loop.time),
            (adapters._http, "_NetworkBackend", lambda: network),
            (publisher.daemon, "run_until_stopped", lambda daemon: _run_on(daemon, pace)),
            (publisher.daemon, "freeze_gc", lambda: None),
            (publisher.app.application, "build_offline_app", build_once),
            (publisher.app.open_store, "IntentJournal", _closed_with_life(IntentJournal)),
            (publisher.app.open_store, "CallRecord", _closed_with_life(CallRecord)),
            (publisher.app.offline, "load_templates", _load_once),
        ):
            patch.put(place, name, value)
        stack.callback(structlog.configure, **structlog.get_config())
        printer = structlog.PrintLoggerFactory(sys.stderr)
        structlog.configure(processors=[format_entry], logger_factory=printer, cache_logger_on_first_use=False)
        for follow in (_belongs, true_time.follow):
            event.listen(Engine, "connect", follow)
            stack.callback(event.remove, Engine, "connect", follow)
        random.seed(f"{seed}/random")
        stack.callback(random.setstate, kept)
        yield


def made_up_bytes(seed: str) -> Patch:
    """Let the system's random bytes come from the seed, until the context of the patch ends."""
    patch, give = Patch(), dice_for(f"{seed}/bytes").randbytes
    patch.put(os, "urandom", give)
    patch.put(random, "_urandom", give)
    return patch


def _belongs(file: Any, _record: object = None) -> None:
    """The system closes a dead process's files; SQLite rolls back what was not committed."""
    life = LIFE.get()
    if life is not None:
        life.ends.append(file.close)


def _load_once(folders: Sequence[Path], _process: object) -> Templates:
    """Compile the shipped templates once; few runs have any of their own."""
    return load_templates(folders, RenderWorker()) if any(map(_own_files, folders[:-1])) else _shipped(folders[-1])


def _own_files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(folder.rglob("*.*")))


@cache
def _shipped(folder: Path) -> Templates:
    return load_templates([folder], RenderWorker())


def _closed_with_life(kind: Callable[..., T]) -> Callable[..., T]:
    """Return a function that opens a file of some kind, which is closed when the life that opened it ends."""

    def opened(*facts: Any) -> T:
        file: Any = kind(*facts)
        _belongs(file)
        return file  # type: ignore[no-any-return] # it is of the kind

    return opened


async def _run_on(daemon: Daemon, pace: Callable[[], float]) -> None:
    """Beat as the daemon does, every beat after the one before; `pace` says how much slower."""

    async def go_on(name: str) -> None:
        first, period = BEATS[name]
        job, last_run = daemon.jobs[name], float("-inf")
        await asyncio.sleep(first)
        while not daemon.stop_requested.is_set():
            now = asyncio.get_running_loop().time()
            if daemon.interval_of(job) == job.interval_seconds or now >= last_run + daemon.interval_of(job):
                last_run = now
                await daemon.run_job(job)
            await asyncio.sleep(period * pace())

    metronome = [asyncio.create_task(go_on(name)) for name in BEATS]
    await daemon.stop_requested.wait()
    for task in metronome:
        task.cancel()
    if daemon.running_jobs:
        await asyncio.wait(daemon.running_jobs, timeout=SHUTDOWN_TIMEOUT_SECONDS)
