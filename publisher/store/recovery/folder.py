"""The folder of a database: one process at a time holds it.

A copy of it in another folder is recognised.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, func, select

from publisher.domain.delivery import Actor
from publisher.domain.errors import RefusedError
from publisher.runtime.file_locks import hold_lock, is_still_at, lock_now
from publisher.runtime.shared_files import is_writable_to_others, open_plain
from publisher.store.db.database import Transaction, sqlite_file
from publisher.store.db.rows import write_audit, write_row
from publisher.store.db.tables import DATABASE_INFO, WORKER

FOLDER_KEY = "folder"
"""The key of the folder in which a SQLite database was last used.

A daemon or a person's order used it there.
"""
MACHINE_ID_FILE = Path("/etc/machine-id")
FS_IOC_GETVERSION = 0x80087601
"""Asks ext4, xfs or btrfs for the generation of an inode, a random number (ioctl_iflags(2))."""
_LAST_WRITE = func.coalesce(
    WORKER.c.stopped_at, WORKER.c.heartbeat_at, type_=WORKER.c.heartbeat_at.type
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderIdentity:
    """A folder. Inode and generation distinguish it from its copies.

    Both stay when it is renamed on its file system. Two disks may have folders of one inode number.
    Their generations differ, on file systems that have any. The rest is only reported: path, device
    and machine differ in a container, by another mount, or after a boot.
    """

    inode: int
    generation: int | None
    path: str
    device: int
    host: str
    machine: str

    @classmethod
    def read(cls, folder: Path) -> "FolderIdentity":
        """Return the identity of a folder as it is now. Raises OSError."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            status, generation = os.fstat(descriptor), read_generation(descriptor)
        finally:
            os.close(descriptor)
        try:
            machine = MACHINE_ID_FILE.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            machine = "?"
        return cls(
            inode=status.st_ino,
            generation=generation,
            path=str(folder.resolve()),
            device=status.st_dev,
            host=socket.gethostname(),
            machine=machine,
        )

    def is_same(self, other: "FolderIdentity") -> bool:
        """Return True if this is the same folder, under any path."""
        has_generations = self.generation is not None and other.generation is not None
        return self.inode == other.inode and (
            not has_generations or self.generation == other.generation
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedFolder:
    """A database in another folder than its last one, and its knowledge of the daemon there.

    `was_stopped` means that that daemon had been stopped in an orderly way, at `last_at`, before
    the copy was made.
    """

    original: FolderIdentity
    present: FolderIdentity
    last_at: datetime | None
    was_stopped: bool

    def facts(self) -> dict[str, str]:
        """Return the facts of a refusal."""
        places = {"there": self.original, "here": self.present}
        facts = {
            f"{name}_{key}": str(value)
            for name, one in places.items()
            for key, value in asdict(one).items()
        }
        return {
            **facts,
            "last": self.last_at.isoformat(timespec="seconds") if self.last_at else "?",
        }


def find_copied_folder(connection: Connection, folder: Path) -> CopiedFolder | None:
    """Return the folder where a database was last used, if it is another one.

    Return None if it is this one, or not known.
    """
    stored = connection.scalar(
        select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == FOLDER_KEY)
    )
    if stored is None:
        return None
    original, present = (
        FolderIdentity(**json.loads(stored)),
        FolderIdentity.read(folder),
    )
    if original.is_same(present):
        return None
    newest = (
        select(WORKER.c.stopped_at, _LAST_WRITE.label("last_at"))
        .order_by(WORKER.c.heartbeat_at.desc())
        .limit(1)
    )
    worker = connection.execute(newest).one_or_none()
    return CopiedFolder(
        original=original,
        present=present,
        last_at=worker.last_at if worker else None,
        was_stopped=worker is None or worker.stopped_at is not None,
    )


def take_over_folder(
    transaction: Transaction, folder: Path, now: datetime, by: Actor
) -> None:
    """Record a person's order to use a database in this folder from now on.

    It is an audit entry if the database is a copy.
    """
    copied = find_copied_folder(transaction.connection, folder)
    store_folder(transaction.connection, folder)
    if copied is not None:
        write_audit(
            transaction,
            now,
            by,
            event="workspace_taken_over",
            subject="database",
            detail=copied.facts(),
        )


def store_folder(connection: Connection, folder: Path) -> None:
    """Record that a database is used in this folder from now on."""
    value = json.dumps(asdict(FolderIdentity.read(folder)))
    write_row(connection, DATABASE_INFO, {"key": FOLDER_KEY}, {"value": value})


def read_generation(descriptor: int) -> int | None:
    """Return the generation of an open file's inode; None where the file system has none."""
    buffer = bytearray(8)
    try:
        fcntl.ioctl(descriptor, FS_IOC_GETVERSION, buffer)
    except OSError:
        return None
    generation: int = struct.unpack_from("=I", buffer)[0]
    return generation


@contextlib.contextmanager
def file_lock(file: Path | None) -> Iterator[None]:
    """Serialize the set-up of a SQLite file across processes; the lock ends with its process.

    Raises RefusedError where the file, or that of the lock, is a link that another user may have
    put there.
    """
    if file is None:
        yield
        return
    require_no_link(file)
    lock_file = file.with_name(f"{file.name}.setup")
    with contextlib.ExitStack() as stack:
        with _reject_link(lock_file):
            stack.enter_context(hold_lock(lock_file))
        yield


@dataclass(slots=True)
class ProcessLock:
    """The lock of the only daemon here; the operating system releases it when the process ends.

    The folder itself is locked, as no tidy-up removes it while the database is in it. A file beside
    the database is locked too, and names the holder.
    """

    locked: Path
    folder: int
    file: IO[str]

    @classmethod
    def acquire(cls, locked: Path) -> "ProcessLock":
        """Lock a file and its folder. Raises RefusedError naming the holder, OSError."""
        lock_file = _lock_file_of(locked)
        folder = os.open(locked.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            lock_now(folder)
        except BlockingIOError as error:
            os.close(folder)
            raise _second_daemon(locked) from error
        except (
            OSError
        ):  # a network file system locks no folders; the file alone is locked there
            pass
        try:
            return cls(locked, folder, _lock_by_name(locked, lock_file))
        except BaseException:
            os.close(folder)
            raise

    def restore_file(self) -> bool:
        """Create the lock file again if it was deleted. Returns True if it was.

        Raises RefusedError if another process has created and locked it meanwhile.
        """
        lock_file = _lock_file_of(self.locked)
        if is_still_at(self.file.fileno(), lock_file):
            return False
        replacement = _lock_by_name(self.locked, lock_file)
        self.file.close()
        self.file = replacement
        return True

    def release(self) -> None:
        self.file.close()
        os.close(self.folder)


def lock_process(url: str, workspace: Path) -> ProcessLock:
    """Lock a SQLite file and its folder for this process; for a shared database, the workspace.

    Raises RefusedError naming the holder when another process has the lock. Raises RefusedError if
    a SQLite file has a second hard link: SQLite would keep one log for each name, and damage the
    file. Raises as `require_no_link` does.
    """
    locked = sqlite_file(url) or workspace / "var" / "daemon"
    if locked.is_file() and locked.stat().st_nlink > 1:
        raise RefusedError("database_linked", file=str(locked))
    require_no_link(locked)
    locked.parent.mkdir(parents=True, exist_ok=True)
    return ProcessLock.acquire(locked)


def require_no_link(file: Path) -> None:
    """Raise RefusedError for a symbolic link in a folder where another user may have put it.

    An operator's own link, to a database on another disk, is in a folder of theirs alone.
    """
    if file.is_symlink() and is_writable_to_others(file.parent):
        raise RefusedError("database_linked", file=str(file))


@contextlib.contextmanager
def _reject_link(file: Path) -> Iterator[None]:
    """Raise RefusedError where a link or a pipe stands in the place of a file."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENXIO}:
            raise
        raise RefusedError("database_linked", file=str(file)) from error


def _lock_file_of(locked: Path) -> Path:
    return locked.with_name(f"{locked.name}.lock")


def _lock_by_name(locked: Path, lock_file: Path) -> IO[str]:
    """Lock a file and write this process's name into it. Raises RefusedError naming the holder."""
    with _reject_link(lock_file):
        file = open(lock_file, "a+", encoding="utf-8", opener=open_plain)  # noqa: SIM115 # it is locked while open
    try:
        lock_now(file)
    except BlockingIOError as error:
        file.close()
        raise _second_daemon(locked) from error
    file.truncate(0)
    file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
    file.flush()
    return file


def _second_daemon(locked: Path) -> RefusedError:
    """Return the refusal.

    The holder is not named if its lock file is gone, or is just being written.
    """
    holder: dict[str, object] = {}
    # it may use another database in the folder
    for lock_file in (
        *locked.parent.glob("*.lock"),
        _lock_file_of(locked),
    ):
        with (
            contextlib.suppress(OSError, ValueError),
            open(lock_file, encoding="utf-8", opener=open_plain) as file,
        ):
            named = json.load(file)
            holder = named if named and isinstance(named, dict) else holder
    facts = {name: str(holder.get(name, "?")) for name in ("host", "pid")}
    return RefusedError("second_daemon", file=str(locked), **facts)
