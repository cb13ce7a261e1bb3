"""The intent journal and the call record: knowledge of calls outside the database, after a crash.

The journal has one synced line for each recorded intent.

A line missing from the database proves that the database is older than the calls. A line torn by a
crash at the very end belongs to a call that never began. Damage anywhere else means that a call may
be missing.

A line is one JSON object. Its last key `crc32` is the checksum of all bytes before it. A release
reads the keys that it knows, and checks the sum over all.

The call record lists the calls of recorded intents that have begun, as far as one process knows
within one boot. A line is written before an intent is committed. Another one is written right
before the first byte of its call. They are not synced. A line outlives a crash of the process that
wrote it, because the system holds it. It does not outlive a crash of the machine. So a call with an
intent line and no start line provably never began, if the machine has not been booted since. A
missing line proves nothing else. A call without proof counts as begun.
"""

import errno
import json
import os
import re
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import Any, Self
from zlib import crc32

from publisher.domain.post import DeliveryId
from publisher.runtime.files import put_in_place, sync, write_beside
from publisher.runtime.shared_files import share

TAIL_BYTES = 256 * 1024
"""The size of the end compared at startup.

If the database lacks any line, it lacks the newest ones.
"""
JOURNAL_RETENTION = timedelta(days=90)
"""The journal may not reach back to a backup that is older than this."""
CallKey = tuple[DeliveryId, int]
"""A delivery and the fencing token of its lease during the call. No other call has both."""
MAX_CALL_RECORD_BYTES = 1024 * 1024
"""Above this size the file is rewritten with the open calls only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRecord:
    """One intent. `post`, `occurrence` and `account` identify its delivery in any database.

    `part` is the part of a long text that the call was for, 0 being the post itself. `identity` is
    the account's own on its platform then, `method` the adapter's word for the way of the call,
    empty where it is not known.
    """

    delivery: int
    attempt: int
    fencing_token: int
    rendered_hash: str
    at: str
    post: str
    occurrence: str
    account: str
    part: int
    identity: str
    method: str

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the record of a row without the keys of later releases.

        Raises TypeError if a key is missing.
        """
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in row.items() if name in known})

    def to_row(self) -> dict[str, Any]:
        """Return the keys and values of the record's line."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalContents:
    """The records of a journal, oldest line first.

    `damaged_lines` are numbers, counted from the first line read. `complete_since` is set once the
    journal was compacted: lines up to that instant may be missing.
    """

    records: Sequence[JournalRecord] = ()
    damaged_lines: Sequence[int] = ()
    complete_since: datetime | None = None


class IntentJournal:
    """Append intents to a file. A line is on disk when `append` returns.

    `last_record` is the newest line.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.last_record = next(reversed(read_records(path)), None)
        self._file = _open(path)
        share(path)  # the dashboard compares the database with it
        self._lock = threading.Lock()
        self._is_repaired = False
        self._has_failed = False

    def append(self, records: Sequence[JournalRecord]) -> None:
        """Write and sync the intents together.

        Raises OSError if the disk fails. Then none of their calls may start.
        """
        lines = b"".join(_format_line(record.to_row()) for record in records)
        with self._lock:
            try:
                self._repair()
                _write_all(self._file, lines)
                os.fdatasync(self._file.fileno())
            except OSError:
                self._is_repaired = False
                self._has_failed = True
                raise
        self.last_record = records[-1]

    def can_append(self) -> bool:
        """Return True if lines can be written. After a failure, each call tries it again."""
        with self._lock:
            if self._has_failed:
                try:
                    self._repair()
                    end = self._file.seek(0, os.SEEK_END)
                    _write_all(self._file, b" " * 4096)
                    os.fdatasync(self._file.fileno())
                    self._file.truncate(end)
                except OSError:
                    # the trial bytes have no line end, and are cut off like a torn line
                    self._is_repaired = False
                    return False
                self._has_failed = False
        return True

    def _repair(self) -> None:
        """Cut off a line torn by a crash or a full disk, and sync the file's name.

        The call of that line never started. This waits until a line of our own is due. A process
        that only reads must not touch the lines of another one.
        """
        if self._is_repaired:
            return
        with self.path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            start = max(0, end - TAIL_BYTES)
            file.seek(start)
            tail = file.read()
            if tail and not tail.endswith(b"\n"):
                file.truncate(start + tail.rfind(b"\n") + 1)
        sync(self.path.parent)
        self._is_repaired = True

    def compact(self, obsolete: Collection[JournalRecord]) -> int:
        """Remove obsolete lines, but never the newest line. Return how many.

        The new file replaces the old one atomically; a damaged journal stays as it is. Intents are
        appended meanwhile: the lock is held only to copy the lines that have been added since.
        """
        with self._lock:
            self._repair()
            end = self.path.stat().st_size
        contents = read_journal(self.path, end=end)
        removed = {
            record
            for record in contents.records
            if record in obsolete and record != self.last_record
        }
        if contents.damaged_lines or not removed:
            return 0
        newest = max(datetime.fromisoformat(record.at) for record in removed)
        kept = [record for record in contents.records if record not in removed]
        fresh = _write_beside(
            self.path, kept, max(newest, contents.complete_since or newest)
        )
        with self._lock, ExitStack() as failed:
            new = failed.enter_context(_open(fresh))
            with self.path.open("rb") as old:
                old.seek(end)
                _write_all(new, old.read())
            os.fsync(new.fileno())
            fresh.replace(self.path)
            failed.pop_all()
            self._file.close()
            self._file, self._is_repaired = new, False
            self._repair()
        return len(contents.records) - len(kept)

    def close(self) -> None:
        self._file.close()


def read_records(path: Path, max_bytes: int | None = TAIL_BYTES) -> list[JournalRecord]:
    """Return the lines in the last `max_bytes` of the journal, oldest first, or all if None."""
    return list(read_journal(path, max_bytes).records)


def read_journal(
    path: Path, max_bytes: int | None = None, end: int | None = None
) -> JournalContents:
    """Read the lines in the `max_bytes` before `end`, or all lines if None.

    `end` is the journal's end by default.
    """
    if not path.exists():
        return JournalContents()
    with path.open("rb") as file:
        end = path.stat().st_size if end is None else end
        start = max(0, end - max_bytes) if max_bytes is not None else 0
        file.seek(start)
        lines = file.read(end - start).split(b"\n")
    records: list[JournalRecord] = []
    damaged: list[int] = []
    complete_since: datetime | None = None
    # the first line of a tail may be cut, the last one torn
    for number, line in enumerate(lines[bool(start) : -1], 1):
        match _parse_line(line):
            case JournalRecord() as record:
                records.append(record)
            case datetime() as instant if number == 1 and not start:
                complete_since = instant
            case _:
                damaged.append(number)
    return JournalContents(
        records=records, damaged_lines=damaged, complete_since=complete_since
    )


def write_journal(
    path: Path, records: Sequence[JournalRecord], complete_since: datetime | None
) -> None:
    """Replace the journal by just these lines, atomically and synced."""
    put_in_place(_write_beside(path, records, complete_since), path)


def _write_beside(
    path: Path, records: Sequence[JournalRecord], complete_since: datetime | None
) -> Path:
    """Write a journal of just these lines next to the journal, synced; return its path."""
    lines: list[dict[str, Any]] = (
        [{"kept_since": complete_since.isoformat()}] if complete_since else []
    )
    lines += [record.to_row() for record in records]
    fresh = write_beside(path, b"".join(map(_format_line, lines)))
    share(fresh)
    return fresh


def _open(path: Path) -> FileIO:
    """Open for appending, unbuffered: bytes that a full disk refused must not be written later."""
    return path.open("ab", buffering=0)


def _write_all(file: FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


_encode_row = json.JSONEncoder(separators=(",", ":")).encode
_CHECKSUMMED_LINE = re.compile(rb'(\{.+),"crc32":"([0-9a-f]{8})"\}')


def _format_line(row: Mapping[str, Any]) -> bytes:
    body = _encode_row(row).encode().removesuffix(b"}")
    return body + b',"crc32":"%08x"}\n' % crc32(body)


def _parse_line(line: bytes) -> JournalRecord | datetime | None:
    """Return the record, or the instant of a first line; None for a damaged line."""
    checksummed = _CHECKSUMMED_LINE.fullmatch(line)
    if not checksummed or crc32(checksummed[1]) != int(checksummed[2], 16):
        return None
    try:
        row = json.loads(line)
        if "kept_since" in row:
            return datetime.fromisoformat(row["kept_since"])
        record = JournalRecord.from_row(row)
        datetime.fromisoformat(record.at)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return record


class CallRecord:
    """The call record of this process; until `reset()`, that of the previous process.

    `boot` identifies the current boot of the machine. Without it, or without a file, nothing is
    proven.
    """

    def __init__(self, path: Path | None = None, boot: str | None = None) -> None:
        self._path, self._boot = path, boot
        self._file: FileIO | None = None
        self._size = 0
        self._lock = threading.Lock()
        self._pending, self._started = (
            _read(path, boot) if path and boot else (set(), set())
        )

    def reset(self) -> bool:
        """Start this process's own record, after all leases of the previous process have expired.

        Return False if it cannot be written; then nothing is proven. Raises OSError if the old
        record cannot be removed: it would be taken for ours after the next crash.
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
        """Write that the intents of these calls will now be committed.

        Raises OSError. Then none may be committed.
        """
        new = set(calls)
        if self._file is None:  # then nothing is proven
            return
        with self._lock:
            if self._size > MAX_CALL_RECORD_BYTES:
                self._rewrite()
            self._append(_lines("intended", new))
            self._pending |= new

    def record_start(self, delivery: DeliveryId, fencing_token: int) -> None:
        """Write that the first byte of a call is sent now. Raises OSError: it must not be sent."""
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

    def has_started(self, delivery: DeliveryId, fencing_token: int) -> bool:
        """Return True if this call was recorded as started.

        That record is written right before its first byte.
        """
        return (delivery, fencing_token) in self._started

    def forget(self, delivery: DeliveryId, fencing_token: int) -> None:
        """Drop a call with a recorded outcome. It is not looked up again."""
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
        lines = (
            f"boot {self._boot}\n"
            + _lines("intended", self._pending)
            + _lines("started", self._started)
        )
        _write_all(file, lines.encode())
        fresh.replace(self._path)
        self.close()
        self._file, self._size = file, len(lines)

    def _append(self, lines: str) -> None:
        if self._file is not None:
            _write_all(self._file, lines.encode())
            self._size += len(lines)


def _lines(kind: str, calls: Iterable[CallKey]) -> str:
    return "".join(
        f"{kind} {delivery} {fencing_token}\n"
        for delivery, fencing_token in sorted(calls)
    )


def _read(path: Path, boot: str) -> tuple[set[CallKey], set[CallKey]]:
    """Return the pending and started calls of another process in this boot.

    A torn last line is ignored. A record that cannot be read, or that has a torn line in the
    middle, proves nothing.
    """
    try:
        first, *lines = path.read_text(encoding="ascii").split("\n")
        found: dict[str, set[CallKey]] = {"intended": set(), "started": set()}
        for kind, delivery, fencing_token in (line.split(" ") for line in lines[:-1]):
            found[kind].add((DeliveryId(int(delivery)), int(fencing_token)))
    except (OSError, ValueError, KeyError):
        return set(), set()
    return (
        (found["intended"], found["started"])
        if first == f"boot {boot}"
        else (set(), set())
    )
