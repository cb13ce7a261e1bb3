"""The call record: which calls of recorded intents have begun, as far as one process knows within one boot.

A line is written before an intent is committed, and another one right before the first byte of its call. They are not
synced: what a process has written outlives a crash of the process, because the system holds it, but not one of the
machine. So a call with an intent line and no start line provably never began, if the machine has not been booted since.
A missing line proves nothing else, and what is not proven counts as begun.
"""

import errno
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from publisher.domain.rendered import DeliveryId

CallKey = tuple[DeliveryId, int]
"""A delivery and the fencing token of the lease under which it is called: no other call has both."""
MAX_CALL_RECORD_BYTES = 1024 * 1024
"""Above this size the file is rewritten with the open calls only."""


class CallRecord:
    """The call record of this process; until `reset()`, that of the previous process.

    `boot` identifies the current boot of the machine. Without it, or without a file, nothing is proven.
    """

    def __init__(self, path: Path | None = None, boot: str | None = None) -> None:
        self._path, self._boot = path, boot
        self._file: FileIO | None = None
        self._size = 0
        self._lock = threading.Lock()
        self._pending, self._started = _read(path, boot) if path and boot else (set(), set())

    def reset(self) -> bool:
        """Start this process's own record, after all leases of the previous process have expired.

        Return False if it cannot be written; then nothing is proven. Raises OSError if the old record cannot be
        removed: it would be taken for ours after the next crash.
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
        """Write that the intents of these calls are about to be committed. Raises OSError; then none may be."""
        new = set(calls)
        if self._file is None:  # then nothing is proven
            return
        with self._lock:
            if self._size > MAX_CALL_RECORD_BYTES:
                self._rewrite()
            self._append(_lines("intended", new))
            self._pending |= new

    def record_start(self, delivery: DeliveryId, fencing_token: int) -> None:
        """Write that the first byte of a call is sent now. Raises OSError; then it must not be sent."""
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
        """Drop a call whose outcome is recorded: it is not looked up again."""
        with self._lock:
            self._pending.discard((delivery, fencing_token))
            self._started.discard((delivery, fencing_token))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rewrite(self) -> None:
        """Replace the file by one with the open calls only."""
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
    """Raise OSError if only a part could be written: a torn line is ignored."""
    if file.write(lines.encode()) != len(lines):
        raise OSError(errno.ENOSPC, "the call record could not be written whole")


def _lines(kind: str, calls: Iterable[CallKey]) -> str:
    return "".join(f"{kind} {delivery} {fencing_token}\n" for delivery, fencing_token in sorted(calls))


def _read(path: Path, boot: str) -> tuple[set[CallKey], set[CallKey]]:
    """Return the pending and the started calls of another process in this boot. A torn last line is ignored.

    A record that cannot be read, or that has a torn line in the middle, proves nothing.
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
"""When the end of a call is dropped from memory: every visibility window is over by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnd:
    """The end of a call: since when it is known, in monotonic seconds, and whether this process ended the call."""

    known_since_ticks: float
    is_own: bool


@dataclass(slots=True)
class CallEnds:
    """The ends of calls that this process knows."""

    _ends: dict[CallKey, CallEnd] = field(default_factory=dict)

    def record_own(self, delivery: DeliveryId, fencing_token: int, ticks: float) -> None:
        """Record that this process has just ended a call; a later end of the same call replaces it."""
        self._record(delivery, fencing_token, CallEnd(known_since_ticks=ticks, is_own=True))

    def get_end(self, delivery: DeliveryId, fencing_token: int, ticks: float) -> CallEnd:
        """Return the end of a call that is over; if it is new here, it counts as known since `ticks`."""
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
