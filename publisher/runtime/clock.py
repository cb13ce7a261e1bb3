"""The wall clock, whether it can be trusted, and failpoints: one object that tests replace."""

import asyncio
import ctypes
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Lock

from publisher.domain.errors import PublisherError

CLOCK_JUMP_THRESHOLD = timedelta(seconds=2)
"""A step of the wall clock up to this size, either way, does not count as a jump."""
SERVER_DATE_TOLERANCE = timedelta(seconds=10)
"""How far a platform's `Date` may differ from a clock that it confirms."""
MAX_TIMESTAMP_SKEW = 2 * (SERVER_DATE_TOLERANCE + CLOCK_JUMP_THRESHOLD)
"""The largest error in the difference of two timestamps, each read from a confirmed clock."""
MAX_READING_GAP_SECONDS = 0.5
"""How far apart two clock readings may lie that count as simultaneous."""
ADJTIMEX_TIME_ERROR = 5
"""TIME_ERROR of adjtimex(2): the clock is not synchronized, or was set manually since."""
TIMEX_BYTES = 1024
"""Larger than `struct timex` on any platform. All zeros only query the state."""

FAILPOINT_NAMES = frozenset({
    "reload.after_read", "reload.before_commit", "plan.after_insert",
    "claim.after_commit", "token.after_refresh", "media.after_upload", "step.after_commit",
    "intent.before_commit", "intent.after_commit", "journal.after_append",
    "http.after_connect", "http.mid_body", "http.after_body", "http.after_reply",
    "outcome.before_commit", "outcome.after_commit", "submitted.after_poll",
    "reconcile.before_read", "reconcile.after_read", "reconcile.before_commit",
    "retract.before_call", "retract.after_call", "audit.before_append",
    "migrate.mid", "backup.before_rename",
    "restore.before_commit", "restore.after_commit", "restore.mid",
})  # fmt: skip
"""Every failpoint, the place for a test to kill, freeze or fail the process."""


class FailpointRaisedError(PublisherError):
    """A failpoint with the action `raise` was hit."""


class FailpointSyntaxError(PublisherError):
    """PUBLISHER_FAILPOINTS is not `NAME:kill|freeze|raise@N,…` with known names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReading:
    """A simultaneous reading of the wall clock and the monotonic clock."""

    at: datetime
    monotonic_seconds: float

    def jump_since(self, earlier: "ClockReading") -> timedelta:
        """Return how far the wall clock was set since an earlier reading.

        The jump is ahead if positive, back if negative.
        """
        return (self.at - earlier.at) - timedelta(
            seconds=self.monotonic_seconds - earlier.monotonic_seconds
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockTrust:
    """The trust in the wall clock: confirmed or not, by a reading, since a monotonic time.

    A clock that differs from `reading` by more than CLOCK_JUMP_THRESHOLD has been set. `is_proven`:
    the kernel or a platform has confirmed it; otherwise only a person has.
    """

    reading: ClockReading
    is_confirmed: bool
    changed_at_seconds: float
    is_proven: bool = False


@dataclass(slots=True)
class Runtime:
    """The real clock and failpoints. Tests pass in a subclass.

    `failpoints` maps a name to its action (`kill`, `freeze`, `raise`) and the number of the hit
    that acts. The wall clock is unconfirmed at first, and again whenever it was set.
    `server_clock_offset` is how far it was ahead of the last platform's `Date` that contradicted
    it; `clock_jumps` are its jumps that were not reported yet.
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
        """Return the wall clock's time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds of a clock that never jumps.

        It runs on while the process is frozen or the machine sleeps.
        """
        return (
            time.clock_gettime(time.CLOCK_BOOTTIME)
            if hasattr(time, "CLOCK_BOOTTIME")
            else time.monotonic()
        )

    def read_clocks(self) -> ClockReading:
        """Read both clocks; repeat if the process was stopped in between."""
        while True:
            before, at, after = self.monotonic(), self.now(), self.monotonic()
            if after - before <= MAX_READING_GAP_SECONDS:
                return ClockReading(at=at, monotonic_seconds=after)

    def mark_clock_unconfirmed(self) -> None:
        """Mark the clock unconfirmed, as at the start of a process."""
        reading = self.read_clocks()
        self.clock_trust = ClockTrust(
            reading=reading,
            is_confirmed=False,
            changed_at_seconds=reading.monotonic_seconds,
        )
        self.clock_confirmed.clear()

    def is_clock_confirmed(self) -> bool:
        """Return True if the wall clock can be trusted.

        Both clocks are compared first, to detect a jump.
        """
        with self._lock:
            trust, reading = self.clock_trust, self.read_clocks()
            jump = reading.jump_since(trust.reading)
            if abs(jump) > CLOCK_JUMP_THRESHOLD:
                since = (
                    reading.monotonic_seconds
                    if trust.is_confirmed
                    else trust.changed_at_seconds
                )
                self.clock_trust = ClockTrust(
                    reading=reading, is_confirmed=False, changed_at_seconds=since
                )
                self.server_clock_offset = None
                self.clock_jumps.append(jump)
                self.clock_confirmed.clear()
            return self.clock_trust.is_confirmed

    def now_if_confirmed(self) -> datetime | None:
        """Return the time, or None while the wall clock is not confirmed."""
        reading = self.read_clocks()
        return reading.at if self.is_clock_confirmed() else None

    def is_clock_proven(self) -> bool:
        """Return True if the kernel or a platform has confirmed the clock.

        That is more than a person's word.
        """
        return self.is_clock_confirmed() and self.clock_trust.is_proven

    def confirm_clock(self, reading: ClockReading) -> None:
        """Confirm the clock as of a reading, by the kernel or a platform.

        Do nothing if the clock was set after that.
        """
        if not self.is_clock_proven():
            self._trust_reading(reading, is_proven=True)

    def accept_confirmation(self, reading: ClockReading) -> None:
        """Confirm the clock by a person's word of a reading, until a platform contradicts it.

        Does nothing if the clock was set after the reading, or if a platform contradicts it
        already.
        """
        if not self.is_clock_confirmed() and self.server_clock_offset is None:
            self._trust_reading(reading, is_proven=False)

    def _trust_reading(self, reading: ClockReading, *, is_proven: bool) -> None:
        with self._lock:
            now = self.read_clocks()
            if abs(now.jump_since(reading)) <= CLOCK_JUMP_THRESHOLD:
                self.clock_trust = ClockTrust(
                    reading=reading,
                    is_confirmed=True,
                    changed_at_seconds=now.monotonic_seconds,
                    is_proven=is_proven,
                )
                self.server_clock_offset = None
                self.clock_confirmed.set()

    def check_server_date(self, date: str, started_seconds: float) -> None:
        """Compare the clock with the `Date` of a response.

        The call began at `started_seconds`, by monotonic(). A date within SERVER_DATE_TOLERANCE of
        both ends of the call confirms the clock. A date outside the call by more than that
        contradicts it, and ends a person's confirmation. The date of a slow response may do
        neither.
        """
        if self.is_clock_proven():
            return
        reading = self.read_clocks()
        started_at = reading.at - timedelta(
            seconds=reading.monotonic_seconds - started_seconds
        )
        try:
            parsed = parsedate_to_datetime(date)
            server_date = (
                parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
            )
        # a malformed date must not lose the response
        except (
            ValueError,
            TypeError,
            IndexError,
            OverflowError,
        ):
            return
        if (
            reading.at - SERVER_DATE_TOLERANCE
            <= server_date
            <= started_at + SERVER_DATE_TOLERANCE
        ):
            self.confirm_clock(reading)
        elif (
            not started_at - SERVER_DATE_TOLERANCE
            <= server_date
            <= reading.at + SERVER_DATE_TOLERANCE
        ):
            if self.clock_trust.is_confirmed:
                self.mark_clock_unconfirmed()
            self.server_clock_offset = (
                started_at + (reading.at - started_at) / 2 - server_date
            )

    def confirm_from_kernel(self) -> None:
        """Confirm the clock if the kernel reports it synchronized and no platform objects."""
        reading = self.read_clocks()
        if self.server_clock_offset is None and self.is_kernel_clock_synchronized():
            self.confirm_clock(reading)

    def is_kernel_clock_synchronized(self) -> bool:
        """Return True if the kernel reports the clock synchronized (adjtimex(2), Linux).

        Return False if it cannot report.
        """
        try:
            adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
        except (AttributeError, OSError, TypeError):
            return False
        return bool(
            0
            <= adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
            < ADJTIMEX_TIME_ERROR
        )

    def unconfirmed_for(self) -> timedelta | None:
        """Return how long the clock has been unconfirmed; None if it is confirmed."""
        if self.is_clock_confirmed():
            return None
        return timedelta(seconds=self.monotonic() - self.clock_trust.changed_at_seconds)

    def boot_id(self) -> str | None:
        """Return the id of the machine's current boot; None if the system has none."""
        try:
            return (
                Path("/proc/sys/kernel/random/boot_id")
                .read_text(encoding="ascii")
                .strip()
                or None
            )
        except OSError:
            return None

    async def sleep_until(self, instant: datetime) -> None:
        """Sleep until `instant`, or not at all if it has passed.

        Setting the clock back does not lengthen the sleep.
        """
        latest = (
            self.monotonic()
            + max((instant - self.now()).total_seconds(), 0)
            + MAX_READING_GAP_SECONDS
        )
        while (  # noqa: ASYNC110
            left := (instant - self.now()).total_seconds()
        ) > 0 and self.monotonic() < latest:
            await asyncio.sleep(min(left, latest - self.monotonic()))

    async def hit_failpoint(self, name: str) -> None:
        """Hit a failpoint. Does nothing unless it is active."""
        self.hit_failpoint_now(name)

    def hit_failpoint_now(self, name: str) -> None:
        """Hit a failpoint, in code that is not async."""
        if name not in self.failpoints:
            return
        self._hit_counts[name] += 1
        action, at = self.failpoints[name]
        if self._hit_counts[name] != at:
            return
        match action:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "freeze":
                # to this very thread, which must not get any further
                signal.raise_signal(signal.SIGSTOP)
            case _:
                raise FailpointRaisedError(name)


def parse_failpoints(text: str) -> Mapping[str, tuple[str, int]]:
    """Parse `intent.after_commit:kill@3,http.mid_body:freeze@1` to name, action and count.

    The count is the number of the hit that acts. Raises FailpointSyntaxError if a name or an action
    is unknown.
    """
    points = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, rest = item.partition(":")
        action, _, count = rest.partition("@")
        if (
            name not in FAILPOINT_NAMES
            or action not in {"kill", "freeze", "raise"}
            or not (count or "1").isdigit()
        ):
            raise FailpointSyntaxError(item)
        points[name] = (action, int(count or "1"))
    return points


def handle_stop_signals(stop: Callable[[], object]) -> None:
    """Call `stop` on ^C, on SIGTERM, and when the terminal is closed.

    A signal that is ignored already, as by nohup, stays ignored.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if (
            number is not signal.SIGHUP
            or signal.getsignal(number) is not signal.SIG_IGN
        ):
            loop.add_signal_handler(number, stop)
