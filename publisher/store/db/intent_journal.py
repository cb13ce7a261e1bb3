"""The intent journal: one synced line per announced call, in a file outside the database.

A line that the database does not know proves that the database is older than what was done. A line that a death has
torn at the very end announces a call that never began; damage anywhere else means that a call may be forgotten.

A line is one JSON object, whose last key `crc32` is the checksum of all bytes before it. A release reads the keys that
it knows, under the checksum of all. Lines of earlier releases have no checksum, and no key that is not known.
"""

import json
import os
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Any, Self
from zlib import crc32

TAIL_BYTES = 256 * 1024
"""How much of the end is compared at a start: if any line is unknown, the newest ones are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRecord:
    """One announced call. `post`, `label` and `account` name its delivery in any database; older lines lack them.

    `floor` says which floor of its text it was to make, 0 being the post itself.
    """

    delivery: int
    attempt: int
    fencing_token: int
    rendered_hash: str
    at: str
    post: str = ""
    occurrence: str = ""
    account: str = ""
    part: int = 0

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read what was written, perhaps by a later release, whose further keys are passed over. Raises TypeError."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in row.items() if name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalContents:
    """What was read of a journal, oldest line first.

    `damaged` counts the lines from the first one read that are none. `kept_since` is set once old lines have been
    left out: lines up to that instant may be missing.
    """

    records: Sequence[JournalRecord] = ()
    damaged_lines: Sequence[int] = ()
    complete_since: datetime | None = None


_TRIAL_BYTES = b" " * 4096
"""What is written and cut off again, to see whether a journal that has refused a line takes one now."""


class IntentJournal:
    """Appends intents to a file; a line is on disk when `append` returns. `last` is the newest line."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.last_record = next(reversed(read_records(path)), None)
        self._file = _open(path)
        self._lock = threading.Lock()
        self._is_repaired = False
        self._has_failed = False

    def append(self, records: Sequence[JournalRecord]) -> None:
        """Write and sync the intents, together. Raises OSError when the disk refuses; then no call may start."""
        lines = b"".join(_line_of(asdict(intent)) for intent in records)
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
        """Return whether lines can be written; after a refusal this is tried anew each time, until it works."""
        with self._lock:
            if self._has_failed:
                try:
                    self._repair()
                    end = self._file.seek(0, os.SEEK_END)
                    _write_all(self._file, _TRIAL_BYTES)
                    os.fdatasync(self._file.fileno())
                    self._file.truncate(end)
                except OSError:
                    self._is_repaired = False  # what the trial has left has no line's end, and is cut like a torn line
                    return False
                self._has_failed = False
        return True

    def _repair(self) -> None:
        """Cut what a death or a full disk has left torn, and let the file's name be on disk before its lines are.

        Not before a line of our own is due: a process that only looks must not touch what another one writes.
        """
        if not self._is_repaired:
            _cut_torn_line(self.path)
            sync_directory(self.path.parent)
            self._is_repaired = True

    def compact(self, obsolete: Collection[JournalRecord]) -> int:
        """Leave out lines that nobody will ask for again, all but the newest one. Returns how many.

        The new file takes the old one's place at one stroke; a damaged journal stays as it is. Calls are announced
        meanwhile: only what has come in since waits to be taken along.
        """
        with self._lock:
            self._repair()
            end = self.path.stat().st_size
        contents = read_journal(self.path, end=end)
        left_out = {one for one in contents.records if one in obsolete and one != self.last_record}
        if contents.damaged_lines or not left_out:
            return 0
        newest = max(datetime.fromisoformat(one.at) for one in left_out)
        kept = [one for one in contents.records if one not in left_out]
        fresh = _write_temporary(self.path, kept, max(newest, contents.complete_since or newest))
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
    """Read the lines within so many bytes of the journal's end, oldest first; all of them where `most` is None."""
    return list(read_journal(path, max_bytes).records)


def read_journal(path: Path, max_bytes: int | None = None, end: int | None = None) -> JournalContents:
    """Read the lines within so many bytes of the journal's end, or of where it ended; all where `most` is None."""
    if not path.exists():
        return JournalContents()
    with path.open("rb") as file:
        end = path.stat().st_size if end is None else end
        start = max(0, end - max_bytes) if max_bytes is not None else 0
        file.seek(start)
        read = file.read(end - start)
    lines = read.split(b"\n")[bool(start) : -1]  # the first line of a tail may be cut, the last one torn
    intents: list[JournalRecord] = []
    damaged: list[int] = []
    kept_since: datetime | None = None
    for number, line in enumerate(lines, 1):
        match _read_line(line):
            case JournalRecord() as intent:
                intents.append(intent)
            case datetime() as instant if number == 1 and not start:
                kept_since = instant
            case _:
                damaged.append(number)
    return JournalContents(records=intents, damaged_lines=damaged, complete_since=kept_since)


def write_journal(path: Path, records: Sequence[JournalRecord], complete_since: datetime | None) -> None:
    """Put a journal of just these lines in place, at one stroke and synced."""
    _write_temporary(path, records, complete_since).replace(path)
    sync_directory(path.parent)


def _write_temporary(path: Path, records: Sequence[JournalRecord], complete_since: datetime | None) -> Path:
    """Write a journal of just these lines beside one, synced; give its place."""
    fresh = path.with_name(path.name + ".new")
    lines: list[dict[str, Any]] = [{"kept_since": complete_since.isoformat()}] if complete_since else []
    lines += [asdict(intent) for intent in records]
    with fresh.open("wb") as file:
        file.write(b"".join(map(_line_of, lines)))
        file.flush()
        os.fsync(file.fileno())
    return fresh


def _open(path: Path) -> FileIO:
    """Open for appending, without a buffer: what a full disk refused must not come out later, on its own."""
    return path.open("ab", buffering=0)


def _write_all(file: FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def sync_directory(directory: Path) -> None:
    """Let what was made, renamed or removed in a folder survive a power cut."""
    number = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


_CHECKSUMMED_LINE = re.compile(rb'(\{.+),"crc32":"([0-9a-f]{8})"\}')


def _line_of(row: Mapping[str, Any]) -> bytes:
    body = json.dumps(row, separators=(",", ":")).encode().removesuffix(b"}")
    return body + b',"crc32":"%08x"}\n' % crc32(body)


def _read_line(line: bytes) -> JournalRecord | datetime | None:
    sealed = _CHECKSUMMED_LINE.fullmatch(line)
    if sealed and crc32(sealed[1]) != int(sealed[2], 16):
        return None
    try:
        row = json.loads(line)
        if "kept_since" in row:
            return datetime.fromisoformat(row["kept_since"])
        intent = JournalRecord.from_row(row) if sealed else JournalRecord(**row)
        datetime.fromisoformat(intent.at)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return intent


def _cut_torn_line(path: Path) -> None:
    """A death in the middle of a line leaves it torn; its call never started. Let the next begin on a fresh line."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        start = max(0, end - TAIL_BYTES)
        file.seek(start)
        tail = file.read()
        if tail and not tail.endswith(b"\n"):
            file.truncate(start + tail.rfind(b"\n") + 1)
