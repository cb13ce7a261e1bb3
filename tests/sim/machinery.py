"""The rest of the machine, made up as well: clocks, randomness, the log, and the daemon's metronome."""

import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import structlog
from sqlalchemy import Engine, event

import adapters._http
import publisher.daemon
import publisher.wiring.application
import publisher.wiring.books
import publisher.wiring.studio
from publisher.daemon import GRACE, Daemon, _beat
from publisher.rendering import Templates, load_templates
from publisher.rendering.worker import Worker
from publisher.store.call_record import CallRecord
from publisher.store.journal import Journal
from publisher.world import World
from tests.sim.loop import LIFE, DiedError, Life, VirtualLoop, dice_for
from tests.sim.network import Network
from tests.sim.platforms import EPOCH
from tests.sim.true_time import TrueTime

BEATS = {
    "confirm_clock": (0.0, 1.0),
    "keep": (0.0, 1.0),
    "deliver": (0.1, 0.5),
    "look": (1.0, 1.0),
    "retract": (1.0, 1.0),
    "read_schedule": (20.0, 20.0),
    "plan": (20.0, 60.0),
    "sign": (5.0, 15.0),
    "probe": (5.0, 30.0),
    "watch": (30.0, 15.0),
    "anchor": (10.0, 300.0),
}
"""The daemon's verbs, the seconds to the first beat of each, and those between two."""


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
class SimWorld(World):
    """The world of one process: the loop's time, by the host's clock, and death at failpoints."""

    loop: VirtualLoop = field(kw_only=True)
    fate: Fate = field(kw_only=True)
    host: Host = field(kw_only=True)
    fell: Callable[[str], None] = lambda _name: None

    def now(self) -> datetime:
        return datetime.fromtimestamp(EPOCH, UTC) + timedelta(seconds=self.loop.time() + self.host.ahead)

    def monotonic(self) -> float:
        return self.loop.time() - self.host.booted_at

    def is_kernel_synchronised(self) -> bool:
        """Nobody keeps this clock right."""
        return False

    def boot(self) -> str:
        return f"boot at {self.host.booted_at}"

    def die_here(self, name: str) -> None:
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
    build = publisher.wiring.application.build_studio

    def build_once(settings: Any) -> Any:
        """Settings never change here, templates seldom, and reading them takes longer than all else."""
        key = settings.workspace, _own_files(settings.workspace / "templates")
        if key not in studios:
            studios[key] = build(settings)
        return studios[key]

    with contextlib.ExitStack() as stack:
        for place, name, value in (
            (time, "time", lambda: EPOCH + loop.time()),
            (time, "monotonic", loop.time),
            (adapters._http, "_Network", lambda: network),
            (publisher.daemon, "_run_on", lambda daemon: _run_on(daemon, pace)),
            (publisher.daemon, "_spare_the_collector", lambda: None),
            (publisher.wiring.application, "build_studio", build_once),
            (publisher.wiring.books, "Journal", _open_journal),
            (publisher.wiring.books, "CallRecord", _open_record),
            (publisher.wiring.studio, "load_templates", _load_once),
        ):
            stack.enter_context(replaced(place, name, value))
        stack.enter_context(made_up_bytes(seed))
        stack.enter_context(_logged(loop, trace=trace))
        for follow in (_belongs, true_time.follow):
            event.listen(Engine, "connect", follow)
            stack.callback(event.remove, Engine, "connect", follow)
        random.seed(f"{seed}/random")
        stack.callback(random.setstate, kept)
        yield


@contextlib.contextmanager
def replaced(place: object, name: str, value: object) -> Iterator[None]:
    """Put another thing in a name's place for a while."""
    kept = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, kept)


@contextlib.contextmanager
def made_up_bytes(seed: str) -> Iterator[None]:
    """Let what the system gives as chance come from the seed."""
    give = dice_for(f"{seed}/bytes").randbytes
    with replaced(os, "urandom", give), replaced(random, "_urandom", give):
        yield


@contextlib.contextmanager
def _logged(loop: VirtualLoop, *, trace: bool) -> Iterator[None]:
    def tell(_logger: object, _method: str, fields: dict[str, Any]) -> str:
        if not trace:
            raise structlog.DropEvent
        life = LIFE.get()
        told = " ".join(f"{key}={value}" for key, value in fields.items() if key not in ("event", "exc_info"))
        if fields.get("exc_info"):
            told += f" {sys.exc_info()[1]!r}"
        return f"{loop.time():9.3f} {life.name if life else '-'} {fields['event']} {told}"

    kept = structlog.get_config()
    structlog.configure(
        processors=[tell], logger_factory=structlog.PrintLoggerFactory(sys.stderr), cache_logger_on_first_use=False
    )
    try:
        yield
    finally:
        structlog.configure(**kept)


def _belongs(connection: Any, _record: object) -> None:
    """The system closes a dead process's files; SQLite rolls back what was not committed."""
    life = LIFE.get()
    if life is not None:
        life.ends.append(connection.close)


def _load_once(folders: Sequence[Path], _process: object) -> Templates:
    """Compile the shipped templates once; few runs have any of their own."""
    return load_templates(folders, Worker()) if any(map(_own_files, folders[:-1])) else _shipped(folders[-1])


def _own_files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(folder.rglob("*.*")))


@cache
def _shipped(folder: Path) -> Templates:
    return load_templates([folder], Worker())


def _open_journal(path: Path) -> Journal:
    journal, life = Journal(path), LIFE.get()
    if life is not None:
        life.ends.append(journal.close)
    return journal


def _open_record(path: Path | None = None, boot: str | None = None) -> CallRecord:
    record, life = CallRecord(path, boot), LIFE.get()
    if life is not None:
        life.ends.append(record.close)
    return record


async def _run_on(daemon: Daemon, pace: Callable[[], float]) -> int:
    """Beat as the daemon does, every beat after the one before; `pace` says how much slower."""

    async def go_on(name: str) -> None:
        first, period = BEATS[name]
        await asyncio.sleep(first)
        while not daemon.stopping.is_set():
            await _beat(daemon, getattr(daemon, name))
            await asyncio.sleep(period * pace())

    metronome = [asyncio.create_task(go_on(name)) for name in BEATS]
    await daemon.stopping.wait()
    for task in metronome:
        task.cancel()
    if daemon.beats:
        await asyncio.wait(daemon.beats, timeout=GRACE)
    return 0


def new_life(number: int) -> Life:
    return Life(name=f"life-{number}", is_mortal=True)
