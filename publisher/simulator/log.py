"""The event log and the state file, written to disk before a response is sent."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


def to_json(value: object) -> bytes:
    r"""Return a value as JSON.

    Half an emoji becomes its escape, such as \ud83d, as UTF-8 has no other form of it.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "backslashreplace"
    )


class AppendOnlyFiles:
    """Appends lines to the files of one directory.

    Without a directory it drops them and is always in sync.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self._files: dict[Path, BinaryIO] = {}
        self._waiting: dict[str, list[bytes]] = {}
        self._next_sync: asyncio.Future[None] | None = None
        self._sync_task: asyncio.Task[None] | None = None
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)

    def append(self, name: str, line: bytes) -> None:
        if self.directory is not None:
            self._waiting.setdefault(name, []).append(line)

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the complete lines of a file, and cut off a line torn by a crash.

        No response has acknowledged the torn line.
        """
        if self.directory is None or not (path := self.directory / name).exists():
            return
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            os.truncate(path, whole)
        yield from data[:whole].splitlines()

    async def wait_synced(self) -> None:
        """Wait until every line appended so far is on disk; concurrent calls share one sync."""
        if not self._waiting and self._sync_task is None:
            return
        loop = asyncio.get_running_loop()
        if self._next_sync is None:
            self._next_sync = loop.create_future()
        own_sync = self._next_sync
        if self._sync_task is None:
            self._sync_task = loop.create_task(self._flush())
        await asyncio.shield(own_sync)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while (synced := self._next_sync) is not None:
                batch, self._waiting, self._next_sync = self._waiting, {}, None
                await loop.run_in_executor(None, self._write, batch)
                synced.set_result(None)
        finally:
            self._sync_task = None

    def _write(self, batch: dict[str, list[bytes]]) -> None:
        if self.directory is None:
            return
        # state before log, so that no `act` names an unknown post
        for name in sorted(batch, reverse=True):
            file = self._open(self.directory / name)
            file.write(b"".join(line + b"\n" for line in batch[name]))
            file.flush()
            os.fdatasync(file.fileno())

    def _open(self, path: Path) -> BinaryIO:
        if path not in self._files:
            self._files[path] = path.open("ab")
        return self._files[path]

    def clear(self) -> None:
        self._waiting = {}
        if self.directory is not None:
            for path in self.directory.glob("*.jsonl"):
                self._open(path).truncate(0)

    def close(self) -> None:
        batch, self._waiting = self._waiting, {}
        self._write(batch)  # synchronously: at the end no event loop runs
        for file in self._files.values():
            file.close()
        self._files.clear()


class EventLog:
    """The simulator's log of calls and posts, numbered from 1 without gaps."""

    FILE_NAME = "log.jsonl"

    def __init__(self, files: AppendOnlyFiles) -> None:
        self._files = files
        self._lines = list(files.read(self.FILE_NAME))

    def add(self, kind: str, facts: dict[str, Any]) -> int:
        """Add an entry and return its number.

        The kind is recv, act, reply, visible, removed or callback.
        """
        number = len(self._lines) + 1
        line = to_json({"seq": number, "kind": kind, **facts})
        self._lines.append(line)
        self._files.append(self.FILE_NAME, line)
        return number

    def read_since(self, number: int) -> bytes:
        """Return the entries after `number` as a JSON array."""
        return b"[" + b",\n".join(self._lines[max(number, 0) :]) + b"]"

    def get_created_post_ids(self) -> set[str]:
        """Return the ids of posts with a logged creation."""
        acts = (json.loads(line) for line in self._lines if b'"kind":"act"' in line)
        return {entry["post_id"] for entry in acts if entry["post_id"]}

    def clear(self) -> None:
        self._lines.clear()
