"""Backups of a SQLite database: made while it is in use, checked, and labelled with a checksum."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from publisher.domain.audit_chain import RESTORED_EVENT, Checkpoint
from publisher.domain.errors import RefusedError
from publisher.runtime.clock import Runtime
from publisher.store.db.database import GENESIS_KEY, is_corrupt
from publisher.store.db.intent_journal import JournalRecord, read_records, sync_directory
from publisher.store.recovery.setup import BACKUP_KEY

BUSY_TIMEOUT_SECONDS = 10.0
PART_SUFFIX = ".part"
"""Suffix of an unfinished copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupInfo:
    """The label inside a backup.

    `newest_record` is the last one of the journal at that time, and `checksum` is a hash of everything in the backup.
    """

    at: str
    database: str
    environment: str
    chain: str
    entries: int
    newest_record: JournalRecord | None
    checksum: str


def make_backup(source: Path, target: Path, journal: Path, runtime: Runtime) -> BackupInfo:
    """Copy a database to a part file, check it, and only then give it its final name.

    Raises RefusedError when the database is damaged, FileExistsError rather than overwrite anything, OSError.
    """
    if target.exists():
        raise FileExistsError(17, os.strerror(17), str(target))
    part = target.with_name(target.name + PART_SUFFIX)
    part.unlink(missing_ok=True)
    # record and time are read before the copy: it holds every attempt until then, and may lack what is sent meanwhile
    newest = next(reversed(read_records(journal)), None)
    try:
        with _reject_damage(source):
            at = runtime.now()
            copy_database(source, part)
            info = _write_info(part, source, newest, at)
            with closing(sqlite3.connect(part)) as copy:
                if not _passes_integrity_check(copy):
                    raise RefusedError("database_corrupt", file=str(source))
        _sync(part)
        runtime.hit_failpoint_now("backup.before_rename")
        try:
            os.link(part, target)  # unlike a rename, it never replaces a file created meanwhile
        except FileExistsError:
            raise
        except OSError:  # a file system without links, as on many USB sticks
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    sync_directory(target.absolute().parent)
    return info


def read_backup_info(file: Path) -> BackupInfo:
    """Read the label of a backup and check that it is intact, without writing anything.

    Raises RefusedError for a file that is no backup of ours, or is damaged; OSError.
    """
    with file.open("rb"):
        pass
    immutable = f"{file.absolute().as_uri()}?mode=ro&immutable=1"  # so that SQLite creates no file beside it
    with _reject_damage(file, "backup_damaged"), closing(sqlite3.connect(immutable, uri=True)) as connection:
        info = _read_info(connection)
        if info is None:
            raise RefusedError("not_a_backup", file=str(file))
        if not _passes_integrity_check(connection) or _checksum_of(connection, info) != info.checksum:
            raise RefusedError("backup_damaged", file=str(file))
    return info


def stored_backup_info(file: Path) -> BackupInfo | None:
    """Read the label of a database in use; it has one only if a backup was copied there manually."""
    with _reject_damage(file), closing(_open(file)) as connection:
        return _read_info(connection)


def genesis_of(file: Path) -> str | None:
    """Return the genesis of a database's audit chain; None where none can be read."""
    try:
        with closing(_open(file)) as connection:
            return _database_info(connection).get(GENESIS_KEY)
    except sqlite3.DatabaseError:
        return None


def read_checkpoint(file: Path, runtime: Runtime) -> Checkpoint | None:
    """Return a checkpoint of a database's newest audit entry; None where none can be read."""
    if not file.is_file():
        return None
    try:
        with closing(_open(file)) as connection:
            newest = connection.execute("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
            chain = _database_info(connection).get(GENESIS_KEY)
    except sqlite3.DatabaseError:
        return None
    if newest is None or chain is None:
        return None
    sequence, digest = int(newest[0]), str(newest[1])
    return Checkpoint(database=file.name, chain=chain, sequence=sequence, hash=digest, at=runtime.now().isoformat())


def restore_details(file: Path) -> list[str]:
    """Return the details of earlier restores in a database's audit; none where it cannot be read."""
    query = "SELECT detail FROM audit WHERE event = ? AND subject = 'database' ORDER BY id"
    try:
        with closing(_open(file)) as connection:
            return [detail for (detail,) in connection.execute(query, (RESTORED_EVENT,))]
    except sqlite3.DatabaseError:
        return []


def copy_database(source: Path, target: Path) -> None:
    """Copy a consistent snapshot of a database, its write-ahead log included, into a new private file."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(_open(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode = DELETE")


def merge_wal(file: Path) -> None:
    """Merge the write-ahead log into a database that nobody has open, and sync the file."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    _sync(file)


def _write_info(part: Path, source: Path, newest: JournalRecord | None, at: datetime) -> BackupInfo:
    with closing(sqlite3.connect(part)) as connection, connection:
        stored = _database_info(connection)
        connection.execute("DELETE FROM database_info WHERE key = ?", (BACKUP_KEY,))
        info = BackupInfo(
            at=at.isoformat(),
            database=source.name,
            environment=stored.get("environment", ""),
            chain=stored.get(GENESIS_KEY, ""),
            entries=connection.execute("SELECT count(*) FROM audit").fetchone()[0],
            newest_record=newest,
            checksum="",
        )
        info = replace(info, checksum=_checksum_of(connection, info))
        connection.execute("INSERT INTO database_info VALUES (?, ?)", (BACKUP_KEY, json.dumps(asdict(info))))
    return info


def _read_info(connection: sqlite3.Connection) -> BackupInfo | None:
    try:
        row: dict[str, Any] = json.loads(_database_info(connection)[BACKUP_KEY])
        newest = JournalRecord.from_row(row["newest_record"]) if row["newest_record"] else None
        return BackupInfo(**{**row, "newest_record": newest})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _database_info(connection: sqlite3.Connection) -> dict[str, str]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'database_info'").fetchone():
        return {}
    return dict(connection.execute("SELECT key, value FROM database_info"))


def _checksum_of(connection: sqlite3.Connection, info: BackupInfo) -> str:
    """Hash every row and the rest of the label, as the integrity check does not see damage inside a text."""
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    digest = sha256(repr(replace(info, checksum="")).encode())
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    for (table,) in connection.execute(tables).fetchall():
        digest.update(table.encode())
        for row in connection.execute(f"SELECT * FROM {quote_identifier(table)} ORDER BY rowid"):  # noqa: S608 # quoted
            if (table, row[0]) != ("database_info", BACKUP_KEY):
                digest.update(repr(row).encode())
    return digest.hexdigest()


def quote_identifier(name: str) -> str:
    """Quote a table name: a file from elsewhere may have any."""
    return '"' + name.replace('"', '""') + '"'


def _passes_integrity_check(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")


@contextmanager
def _reject_damage(file: Path, code: str = "database_corrupt") -> Iterator[None]:
    """Translate SQLite errors about a damaged file, or one that is no database. Raises RefusedError, OSError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise OSError(5, str(error), str(file)) from error
        is_other = code == "backup_damaged" and "not a database" in str(error)
        raise RefusedError("not_a_backup" if is_other else code, file=str(file)) from error


def _open(file: Path) -> sqlite3.Connection:
    """Open a database that may be in use; a missing one is not created."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_SECONDS)


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
