"""Time, dice and sudden death, as things that are given."""

import asyncio
import ctypes
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Lock

from publisher.domain.errors import PublisherError

LITTLE = timedelta(seconds=2)
"""By how much the clock may be set, either way, and still count as the same clock."""
CLOCK_TOLERANCE = timedelta(seconds=10)
"""By how much a platform's `Date` may differ from a clock that it confirms."""
STAMPS_APART = 2 * (CLOCK_TOLERANCE + LITTLE)
"""By how much the time between two instants, each of a confirmed clock, may differ from what it seems."""
MOST_BETWEEN = 0.5
"""Seconds that two readings which count as one may lie apart."""
UNSYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2): nothing keeps the clock right, or it was set by hand since."""
TIMEX_BYTES = 1024
"""More than `struct timex` takes anywhere; zeros ask for the state and change nothing."""

FAILPOINTS = frozenset({
    "reload.after_read",
    "reload.before_commit",
    "plan.after_insert",
    "claim.after_commit",
    "token.after_refresh",
    "media.after_upload",
    "step.after_commit",
    "intent.before_commit",
    "intent.after_commit",
    "journal.after_append",
    "http.after_connect",
    "http.mid_body",
    "http.after_body",
    "http.after_reply",
    "outcome.before_commit",
    "outcome.after_commit",
    "submitted.after_poll",
    "reconcile.before_read",
    "reconcile.after_read",
    "reconcile.before_commit",
    "retract.before_call",
    "retract.after_call",
    "audit.before_append",
    "migrate.mid",
    "backup.before_rename",
    "restore.before_commit",
    "restore.after_commit",
    "restore.mid",
})  # fmt: skip
"""Every place at which a test may let the process die, freeze or fail."""


class FailpointRaisedError(PublisherError):
    """A failpoint was told to raise."""


class FailpointSyntaxError(PublisherError):
    """PUBLISHER_FAILPOINTS does not read `name:kill|freeze|raise@N,…` with names of the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """What both clocks show at one moment: the one that people set, and the one that never jumps."""

    at: datetime
    ticks: float

    def set_since(self, earlier: "Clocks") -> timedelta:
        """Give by how much the clock was set since an earlier moment: ahead or, where that is negative, back."""
        return (self.at - earlier.at) - timedelta(seconds=self.ticks - earlier.ticks)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockTrust:
    """Whether the wall clock is confirmed, by which reading, and since when (`since`, monotonic seconds) that stands.

    A clock that differs from `seen` by more than LITTLE has been set.
    """

    seen: Clocks
    is_confirmed: bool
    since: float


@dataclass(slots=True)
class World:
    """The world as it is. Tests hand in another with the same face.

    `failpoints` maps a name to what happens there (`kill`, `freeze`, `raise`) and at which passing. The wall clock
    counts as wrong until it is confirmed, and again whenever it was set: `trust` says how it stands, `apart` by how
    much it was ahead of the last platform's `Date` that contradicted it, `jumps` by how much it was set, unreported.
    """

    failpoints: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    trust: ClockTrust = field(init=False)
    apart: timedelta | None = field(default=None, init=False)
    jumps: list[timedelta] = field(default_factory=list, init=False)
    confirmed: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _passed: Counter[str] = field(default_factory=Counter)
    _turn: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self.doubt_clock()

    def now(self) -> datetime:
        """Give the instant, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Give seconds of a clock that never jumps and runs on while the process is frozen or the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    def clocks(self) -> Clocks:
        """Read both clocks, again where the process was stopped between the two."""
        began, at, ticks = self.monotonic(), self.now(), self.monotonic()
        while ticks - began > MOST_BETWEEN:
            began, at, ticks = self.monotonic(), self.now(), self.monotonic()
        return Clocks(at=at, ticks=ticks)

    def doubt_clock(self) -> None:
        """Count the clock as unconfirmed, as at the start of a process."""
        clocks = self.clocks()
        self.trust = ClockTrust(seen=clocks, is_confirmed=False, since=clocks.ticks)
        self.confirmed.clear()

    def is_clock_confirmed(self) -> bool:
        """Whether the wall clock may be relied on. Compares both clocks now: one that was set is not confirmed."""
        with self._turn:
            trust, clocks = self.trust, self.clocks()
            jump = clocks.set_since(trust.seen)
            if abs(jump) > LITTLE:
                since = clocks.ticks if trust.is_confirmed else trust.since
                self.trust = ClockTrust(seen=clocks, is_confirmed=False, since=since)
                self.apart = None
                self.jumps.append(jump)
                self.confirmed.clear()
            return self.trust.is_confirmed

    def confirmed_now(self) -> datetime | None:
        """Return the instant, or None while the wall clock is not confirmed."""
        clocks = self.clocks()
        return clocks.at if self.is_clock_confirmed() else None

    def confirm_clock(self, reading: Clocks) -> None:
        """Count the clock as right if it was so at a reading. Does nothing where it was set after that."""
        if self.is_clock_confirmed():
            return
        with self._turn:
            now = self.clocks()
            if abs(now.set_since(reading)) <= LITTLE:
                self.trust = ClockTrust(seen=reading, is_confirmed=True, since=now.ticks)
                self.apart = None
                self.confirmed.set()

    def hear_date(self, date: str, began: float) -> None:
        """Take the `Date` of a platform's reply to a call that began at `began`, by monotonic().

        It confirms the clock when it is within CLOCK_TOLERANCE of both ends of the call, and contradicts it when it
        lies outside the call by more; the date of a slow reply may say neither.
        """
        if self.is_clock_confirmed():
            return
        reading = self.clocks()
        began_at = reading.at - timedelta(seconds=reading.ticks - began)
        try:
            there = parsedate_to_datetime(date)
            stated = there.astimezone(UTC) if there.tzinfo else there.replace(tzinfo=UTC)
        except (ValueError, TypeError, IndexError, OverflowError):  # whatever a server sends: the reply still counts
            return
        if reading.at - CLOCK_TOLERANCE <= stated <= began_at + CLOCK_TOLERANCE:
            self.confirm_clock(reading)
        elif not began_at - CLOCK_TOLERANCE <= stated <= reading.at + CLOCK_TOLERANCE:
            self.apart = began_at + (reading.at - began_at) / 2 - stated

    def ask_kernel(self) -> None:
        """Let the kernel confirm the clock, where a time service keeps it right and no platform contradicts it."""
        reading = self.clocks()
        if self.apart is None and self.is_kernel_synchronised():
            self.confirm_clock(reading)

    def is_kernel_synchronised(self) -> bool:
        """Whether the kernel says that the clock is kept right (adjtimex(2), Linux); False where it cannot say."""
        try:
            adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
        except (AttributeError, OSError, TypeError):
            return False
        return bool(0 <= adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)) < UNSYNCHRONISED)

    def doubted_for(self) -> timedelta | None:
        """Return how long the clock has been unconfirmed; None when it is confirmed."""
        if self.is_clock_confirmed():
            return None
        return timedelta(seconds=self.monotonic() - self.trust.since)

    def boot(self) -> str | None:
        """Return the name of the machine's present boot, None where the system has none."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() or None
        except OSError:
            return None

    async def sleep_until(self, instant: datetime) -> None:
        """Wait for an instant; return at once when it has passed. A clock that is set back makes it no longer."""
        latest = self.monotonic() + max((instant - self.now()).total_seconds(), 0) + MOST_BETWEEN
        while (left := (instant - self.now()).total_seconds()) > 0 and self.monotonic() < latest:  # noqa: ASYNC110
            await asyncio.sleep(min(left, latest - self.monotonic()))

    async def failpoint(self, name: str) -> None:
        """Mark a place where the process may die. Does nothing unless this one was switched on."""
        self.die_here(name)

    def die_here(self, name: str) -> None:
        """Do what `failpoint` does, in code that cannot wait."""
        if name not in self.failpoints:
            return
        self._passed[name] += 1
        deed, at = self.failpoints[name]
        if self._passed[name] == at:
            _do(deed, name)


def _do(deed: str, name: str) -> None:
    match deed:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "freeze":
            signal.raise_signal(signal.SIGSTOP)  # to this very thread: it must not get any further
        case _:
            raise FailpointRaisedError(name)


def read_failpoints(text: str) -> Mapping[str, tuple[str, int]]:
    """Read the switch `intent.after_commit:kill@3,http.mid_body:freeze@1`.

    Raises FailpointSyntaxError when a name or deed is not known.
    """
    points = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, rest = item.partition(":")
        deed, _, count = rest.partition("@")
        if name not in FAILPOINTS or deed not in {"kill", "freeze", "raise"} or not (count or "1").isdigit():
            raise FailpointSyntaxError(item)
        points[name] = (deed, int(count or "1"))
    return points
