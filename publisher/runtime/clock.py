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

CLOCK_JUMP_THRESHOLD = timedelta(seconds=2)
"""By how much the clock may be set, either way, and still count as the same clock."""
SERVER_DATE_TOLERANCE = timedelta(seconds=10)
"""By how much a platform's `Date` may differ from a clock that it confirms."""
MAX_TIMESTAMP_SKEW = 2 * (SERVER_DATE_TOLERANCE + CLOCK_JUMP_THRESHOLD)
"""By how much the time between two instants, each of a confirmed clock, may differ from what it seems."""
MAX_READING_GAP_SECONDS = 0.5
"""Seconds that two readings which count as one may lie apart."""
ADJTIMEX_TIME_ERROR = 5
"""TIME_ERROR of adjtimex(2): nothing keeps the clock right, or it was set by hand since."""
TIMEX_BYTES = 1024
"""More than `struct timex` takes anywhere; zeros ask for the state and change nothing."""

FAILPOINT_NAMES = frozenset({
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
class ClockReading:
    """What both clocks show at one moment: the one that people set, and the one that never jumps."""

    at: datetime
    monotonic_seconds: float

    def jump_since(self, earlier: "ClockReading") -> timedelta:
        """Give by how much the clock was set since an earlier moment: ahead or, where that is negative, back."""
        return (self.at - earlier.at) - timedelta(seconds=self.monotonic_seconds - earlier.monotonic_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockTrust:
    """Whether the wall clock is confirmed, by which reading, and since when (`since`, monotonic seconds) that stands.

    A clock that differs from `seen` by more than LITTLE has been set.
    """

    reading: ClockReading
    is_confirmed: bool
    changed_at_seconds: float


@dataclass(slots=True)
class Runtime:
    """The world as it is. Tests hand in another with the same face.

    `failpoints` maps a name to what happens there (`kill`, `freeze`, `raise`) and at which passing. The wall clock
    counts as wrong until it is confirmed, and again whenever it was set: `trust` says how it stands, `apart` by how
    much it was ahead of the last platform's `Date` that contradicted it, `jumps` by how much it was set, unreported.
    """

    failpoints: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    clock_trust: ClockTrust = field(init=False)
    server_clock_offset: timedelta | None = field(default=None, init=False)
    clock_jumps: list[timedelta] = field(default_factory=list, init=False)
    clock_confirmed: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _hit_counts: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self.mark_clock_unconfirmed()

    def now(self) -> datetime:
        """Give the instant, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Give seconds of a clock that never jumps and runs on while the process is frozen or the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    def read_clocks(self) -> ClockReading:
        """Read both clocks, again where the process was stopped between the two."""
        began, at, ticks = self.monotonic(), self.now(), self.monotonic()
        while ticks - began > MAX_READING_GAP_SECONDS:
            began, at, ticks = self.monotonic(), self.now(), self.monotonic()
        return ClockReading(at=at, monotonic_seconds=ticks)

    def mark_clock_unconfirmed(self) -> None:
        """Count the clock as unconfirmed, as at the start of a process."""
        clocks = self.read_clocks()
        self.clock_trust = ClockTrust(reading=clocks, is_confirmed=False, changed_at_seconds=clocks.monotonic_seconds)
        self.clock_confirmed.clear()

    def is_clock_confirmed(self) -> bool:
        """Whether the wall clock may be relied on. Compares both clocks now: one that was set is not confirmed."""
        with self._lock:
            trust, clocks = self.clock_trust, self.read_clocks()
            jump = clocks.jump_since(trust.reading)
            if abs(jump) > CLOCK_JUMP_THRESHOLD:
                since = clocks.monotonic_seconds if trust.is_confirmed else trust.changed_at_seconds
                self.clock_trust = ClockTrust(reading=clocks, is_confirmed=False, changed_at_seconds=since)
                self.server_clock_offset = None
                self.clock_jumps.append(jump)
                self.clock_confirmed.clear()
            return self.clock_trust.is_confirmed

    def now_if_confirmed(self) -> datetime | None:
        """Return the instant, or None while the wall clock is not confirmed."""
        clocks = self.read_clocks()
        return clocks.at if self.is_clock_confirmed() else None

    def confirm_clock(self, reading: ClockReading) -> None:
        """Count the clock as right if it was so at a reading. Does nothing where it was set after that."""
        if self.is_clock_confirmed():
            return
        with self._lock:
            now = self.read_clocks()
            if abs(now.jump_since(reading)) <= CLOCK_JUMP_THRESHOLD:
                self.clock_trust = ClockTrust(
                    reading=reading, is_confirmed=True, changed_at_seconds=now.monotonic_seconds
                )
                self.server_clock_offset = None
                self.clock_confirmed.set()

    def check_server_date(self, date: str, started_seconds: float) -> None:
        """Take the `Date` of a platform's reply to a call that began at `began`, by monotonic().

        It confirms the clock when it is within CLOCK_TOLERANCE of both ends of the call, and contradicts it when it
        lies outside the call by more; the date of a slow reply may say neither.
        """
        if self.is_clock_confirmed():
            return
        reading = self.read_clocks()
        began_at = reading.at - timedelta(seconds=reading.monotonic_seconds - started_seconds)
        try:
            server_date = parsedate_to_datetime(date)
            stated = server_date.astimezone(UTC) if server_date.tzinfo else server_date.replace(tzinfo=UTC)
        except (ValueError, TypeError, IndexError, OverflowError):  # whatever a server sends: the reply still counts
            return
        if reading.at - SERVER_DATE_TOLERANCE <= stated <= began_at + SERVER_DATE_TOLERANCE:
            self.confirm_clock(reading)
        elif not began_at - SERVER_DATE_TOLERANCE <= stated <= reading.at + SERVER_DATE_TOLERANCE:
            self.server_clock_offset = began_at + (reading.at - began_at) / 2 - stated

    def confirm_from_kernel(self) -> None:
        """Let the kernel confirm the clock, where a time service keeps it right and no platform contradicts it."""
        reading = self.read_clocks()
        if self.server_clock_offset is None and self.is_kernel_clock_synchronized():
            self.confirm_clock(reading)

    def is_kernel_clock_synchronized(self) -> bool:
        """Whether the kernel says that the clock is kept right (adjtimex(2), Linux); False where it cannot say."""
        try:
            adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
        except (AttributeError, OSError, TypeError):
            return False
        return bool(0 <= adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)) < ADJTIMEX_TIME_ERROR)

    def unconfirmed_for(self) -> timedelta | None:
        """Return how long the clock has been unconfirmed; None when it is confirmed."""
        if self.is_clock_confirmed():
            return None
        return timedelta(seconds=self.monotonic() - self.clock_trust.changed_at_seconds)

    def boot_id(self) -> str | None:
        """Return the name of the machine's present boot, None where the system has none."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() or None
        except OSError:
            return None

    async def sleep_until(self, instant: datetime) -> None:
        """Wait for an instant; return at once when it has passed. A clock that is set back makes it no longer."""
        latest = self.monotonic() + max((instant - self.now()).total_seconds(), 0) + MAX_READING_GAP_SECONDS
        while (left := (instant - self.now()).total_seconds()) > 0 and self.monotonic() < latest:  # noqa: ASYNC110
            await asyncio.sleep(min(left, latest - self.monotonic()))

    async def hit_failpoint(self, name: str) -> None:
        """Mark a place where the process may die. Does nothing unless this one was switched on."""
        self.hit_failpoint_now(name)

    def hit_failpoint_now(self, name: str) -> None:
        """Do what `failpoint` does, in code that cannot wait."""
        if name not in self.failpoints:
            return
        self._hit_counts[name] += 1
        action, at = self.failpoints[name]
        if self._hit_counts[name] == at:
            _trigger_failpoint(action, name)


def _trigger_failpoint(action: str, name: str) -> None:
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "freeze":
            signal.raise_signal(signal.SIGSTOP)  # to this very thread: it must not get any further
        case _:
            raise FailpointRaisedError(name)


def parse_failpoints(text: str) -> Mapping[str, tuple[str, int]]:
    """Read the switch `intent.after_commit:kill@3,http.mid_body:freeze@1`.

    Raises FailpointSyntaxError when a name or deed is not known.
    """
    points = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, rest = item.partition(":")
        action, _, count = rest.partition("@")
        if name not in FAILPOINT_NAMES or action not in {"kill", "freeze", "raise"} or not (count or "1").isdigit():
            raise FailpointSyntaxError(item)
        points[name] = (action, int(count or "1"))
    return points
