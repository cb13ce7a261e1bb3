"""Time, dice and sudden death, as things that are given."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from publisher.domain.errors import PublisherError

LITTLE = timedelta(seconds=2)
"""By how much a clock may be set, either way, without anybody minding."""

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


@dataclass(slots=True)
class World:
    """The world as it is. Tests hand in another with the same face.

    `failpoints` maps a name to what happens there (`kill`, `freeze`, `raise`) and at which passing. `heeded` is what
    the clocks showed when it was last seen to whether they agree.
    """

    failpoints: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    heeded: Clocks = field(init=False)
    _passed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.heeded = self.clocks()

    def now(self) -> datetime:
        """Give the instant, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Give seconds of a clock that never jumps and runs on while the process is frozen or the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    def clocks(self) -> Clocks:
        """Read both clocks."""
        return Clocks(at=self.now(), ticks=self.monotonic())

    def is_set_ahead(self) -> bool:
        """Whether the clock was set ahead and nobody has heeded it yet: waits seem longer than they were."""
        return self.clocks().set_since(self.heeded) > LITTLE

    def boot(self) -> str | None:
        """Return the name of the machine's present boot, None where the system has none."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() or None
        except OSError:
            return None

    async def sleep_until(self, instant: datetime) -> None:
        """Wait for an instant; return at once when it has passed."""
        while (left := (instant - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 # clocks jump while we wait
            await asyncio.sleep(left)

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
