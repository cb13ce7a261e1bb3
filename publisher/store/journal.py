"""The intent journal: one synced line per announced call, in a file outside the database.

A line that the database does not know proves that the database is older than what was done.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

TAIL_BYTES = 256 * 1024
"""How much of the end is compared at a start: if any line is unknown, the newest ones are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One announced call."""

    delivery: int
    attempt: int
    epoch: int
    rendition: str
    at: str


class Journal:
    """Appends intents to a file; a line is on disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._end_torn_line(path)

    def append(self, intents: Sequence[Intent]) -> None:
        """Write and sync the intents, together. Raises OSError when the disk refuses; then no call may start."""
        lines = "".join(json.dumps(asdict(intent), separators=(",", ":")) + "\n" for intent in intents)
        self._file.write(lines.encode())
        self._file.flush()
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _end_torn_line(self, path: Path) -> None:
        """A death in the middle of a line leaves it torn; its call never started. Begin the next on a fresh line."""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 1))
            tail = file.read()
        if tail not in {b"", b"\n"}:
            self._file.write(b"\n")
            self._file.flush()


def newest_intents(path: Path) -> list[Intent]:
    """Read the whole lines near the journal's end, oldest first; none when there is no journal."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read().split(b"\n")
    intents = []
    for line in lines[:-1]:
        try:
            intents.append(Intent(**json.loads(line)))
        except (ValueError, TypeError):
            continue  # the first line of the tail may be cut, and a torn one announces a call that never began
    return intents
