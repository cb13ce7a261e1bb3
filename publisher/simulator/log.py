"""What happened, in order, on disk before anyone is told."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

Kind = str
"""One of recv, act, reply, visible, removed, callback."""


def to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


class Disk:
    """Appends lines to files of one directory; without a directory it forgets them and is always in step."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self._files: dict[Path, BinaryIO] = {}
        self._waiting: dict[str, list[bytes]] = {}
        self._flushed: asyncio.Future[None] | None = None
        self._flushing: asyncio.Task[None] | None = None
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)

    def append(self, name: str, line: bytes) -> None:
        if self.directory is not None:
            self._waiting.setdefault(name, []).append(line)

    def read(self, name: str) -> Iterator[bytes]:
        """Whole lines of a file; a line torn by a crash is cut off, nobody was told of it."""
        if self.directory is None or not (path := self.directory / name).exists():
            return
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            os.truncate(path, whole)
        yield from data[:whole].splitlines()

    async def synced(self) -> None:
        """Return when every line appended so far is on disk; calls that meet here share one sync."""
        if not self._waiting and self._flushing is None:
            return
        loop = asyncio.get_running_loop()
        if self._flushed is None:
            self._flushed = loop.create_future()
        mine = self._flushed
        if self._flushing is None:
            self._flushing = loop.create_task(self._flush())
        await asyncio.shield(mine)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while (told := self._flushed) is not None:
                batch, self._waiting, self._flushed = self._waiting, {}, None
                await loop.run_in_executor(None, self._write, batch)
                told.set_result(None)
        finally:
            self._flushing = None

    def _write(self, batch: dict[str, list[bytes]]) -> None:
        if self.directory is None:
            return
        for name in sorted(batch, reverse=True):  # state before log: an act never names an unknown post
            file = self._open(self.directory / name)
            file.write(b"".join(line + b"\n" for line in batch[name]))
            file.flush()
            os.fdatasync(file.fileno())

    def _open(self, path: Path) -> BinaryIO:
        if path not in self._files:
            self._files[path] = path.open("ab")
        return self._files[path]

    def write_now(self) -> None:
        """Write and sync what waits, from ordinary code: at the end, when no loop runs any more."""
        if self._waiting:
            batch, self._waiting = self._waiting, {}
            self._write(batch)

    def clear(self) -> None:
        self._waiting = {}
        if self.directory is not None:
            for path in self.directory.glob("*.jsonl"):
                self._open(path).truncate(0)

    def close(self) -> None:
        self.write_now()
        for file in self._files.values():
            file.close()
        self._files.clear()


class Log:
    """The simulator's record of calls and posts, numbered from 1 without gaps."""

    FILE = "log.jsonl"

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._lines = list(disk.read(self.FILE))

    def add(self, kind: Kind, facts: dict[str, Any]) -> int:
        number = len(self._lines) + 1
        line = to_json({"seq": number, "kind": kind, **facts})
        self._lines.append(line)
        self._disk.append(self.FILE, line)
        return number

    def since(self, number: int) -> bytes:
        """The entries after `number`, as a JSON array."""
        return b"[" + b",\n".join(self._lines[max(number, 0) :]) + b"]"

    def creations(self) -> set[str]:
        """The posts that some `act` names."""
        acts = (json.loads(line) for line in self._lines if b'"kind":"act"' in line)
        return {entry["post_id"] for entry in acts if entry["post_id"]}

    def clear(self) -> None:
        self._lines.clear()
