"""The call record: which announced calls have begun, as far as one process tells within one boot of its machine.

A line is written before an intent is committed, and another one right before the first byte of its creating call. They
are not synced: what a process has written outlives its death, as the system holds it, but not the machine's. So a call
that was announced here and has no second line provably never began, as long as the machine has not been started again.
Nothing else is proven by a missing line, and what is not proven counts as begun.
"""

import errno
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from publisher.domain.rendered import DeliveryId

CallKey = tuple[DeliveryId, int]
"""A delivery and the epoch of the lease under which it is called: no other call ever has both."""
MAX_CALL_RECORD_BYTES = 1024 * 1024
"""From here on the file is written again with the open calls alone."""


class CallRecord:
    """The record of this process, and until `start` that of the process before it.

    `boot` names the present boot of the machine. Without it, or without a file, nothing is ever proven.
    """

    def __init__(self, path: Path | None = None, boot: str | None = None) -> None:
        self._path, self._boot = path, boot
        self._file: FileIO | None = None
        self._size = 0
        self._lock = threading.Lock()
        self._pending, self._started = _read(path, boot) if path and boot else (set(), set())

    def reset(self) -> bool:
        """Begin a record of our own, once every lease of the process before is settled.

        Return False where it cannot be written; then nothing is proven. Raises OSError where the old record cannot be
        removed: it would be taken for ours after the next death.
        """
        with self._lock:
            self._pending, self._started = set(), set()
            if self._path is not None:
                self._path.unlink(missing_ok=True)
            try:
                self._rewrite()
            except OSError:
                return False
            return True

    def record_pending(self, calls: Iterable[CallKey]) -> None:
        """Write down that these calls are about to be announced. Raises OSError; then none of them may be."""
        new = set(calls)
        if self._file is None:  # then nothing is proven, whatever becomes of them
            return
        with self._lock:
            if self._size > MAX_CALL_RECORD_BYTES:
                self._rewrite()
            self._append(_lines("intended", new))
            self._pending |= new

    def record_start(self, delivery: DeliveryId, fencing_token: int) -> None:
        """Write down that the first byte of a call leaves now. Raises OSError; then it may not."""
        call = (delivery, fencing_token)
        with self._lock:
            if call in self._pending and self._file is None:
                raise OSError(errno.EBADF, "the call record is closed")
            self._append(_lines("started", [call]))
            self._started.add(call)

    def may_have_started(self, delivery: DeliveryId, fencing_token: int) -> bool:
        """Return False only if it is proven that no byte of this call has left."""
        call = (delivery, fencing_token)
        return call not in self._pending or call in self._started

    def forget(self, delivery: DeliveryId, fencing_token: int) -> None:
        """Drop a call whose outcome is recorded: nobody will ask for it again."""
        with self._lock:
            self._pending.discard((delivery, fencing_token))
            self._started.discard((delivery, fencing_token))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rewrite(self) -> None:
        """Put a file of just the calls that are still open in the place of the old one."""
        if self._path is None or self._boot is None:
            return
        fresh = self._path.with_name(self._path.name + ".new")
        file = fresh.open("wb", buffering=0)
        lines = f"boot {self._boot}\n" + _lines("intended", self._pending) + _lines("started", self._started)
        _write_all(file, lines)
        fresh.replace(self._path)
        self.close()
        self._file, self._size = file, len(lines)

    def _append(self, lines: str) -> None:
        if self._file is not None:
            _write_all(self._file, lines)
            self._size += len(lines)


def _write_all(file: FileIO, lines: str) -> None:
    """Raise OSError where the disk takes a part only: what is torn counts for nothing."""
    if file.write(lines.encode()) != len(lines):
        raise OSError(errno.ENOSPC, "the call record could not be written whole")


def _lines(kind: str, calls: Iterable[CallKey]) -> str:
    return "".join(f"{kind} {delivery} {fencing_token}\n" for delivery, fencing_token in sorted(calls))


def _read(path: Path, boot: str) -> tuple[set[CallKey], set[CallKey]]:
    """Read what another process wrote in this boot. A last line that is torn was not acted upon.

    A record that cannot be read proves nothing, nor does one with a torn line in its middle.
    """
    try:
        first, *lines = path.read_text(encoding="ascii").split("\n")
        found: dict[str, set[CallKey]] = {"intended": set(), "started": set()}
        for kind, delivery, fencing_token in (line.split(" ") for line in lines[:-1]):
            found[kind].add((DeliveryId(int(delivery)), int(fencing_token)))
    except (OSError, ValueError, KeyError):
        return set(), set()
    return (found["intended"], found["started"]) if first == f"boot {boot}" else (set(), set())


CALL_END_RETENTION_SECONDS = 86400.0
"""Seconds after which the end of a call is forgotten here: every settle time is over by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnd:
    """The end of a call: since when it is known, in monotonic seconds, and whether this process ended it."""

    known_since_ticks: float
    is_own: bool


@dataclass(slots=True)
class CallEnds:
    """The ends of calls that this process knows of. A call is named by its delivery and its epoch."""

    _ends: dict[tuple[DeliveryId, int], CallEnd] = field(default_factory=dict)

    def record_own(self, delivery: DeliveryId, fencing_token: int, ticks: float) -> None:
        """Note that this process has just ended a call; a later end of the same call counts."""
        self._record(delivery, fencing_token, CallEnd(known_since_ticks=ticks, is_own=True))

    def get_end(self, delivery: DeliveryId, fencing_token: int, ticks: float) -> CallEnd:
        """Return what is known of a call that is over; at `ticks`, if it is new here."""
        if (delivery, fencing_token) not in self._ends:
            self._record(delivery, fencing_token, CallEnd(known_since_ticks=ticks, is_own=False))
        return self._ends[delivery, fencing_token]

    def _record(self, delivery: DeliveryId, fencing_token: int, end: CallEnd) -> None:
        self._ends.pop((delivery, fencing_token), None)
        while (
            self._ends
            and next(iter(self._ends.values())).known_since_ticks < end.known_since_ticks - CALL_END_RETENTION_SECONDS
        ):
            del self._ends[next(iter(self._ends))]
        self._ends[delivery, fencing_token] = end
