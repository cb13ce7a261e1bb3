"""Copies of a SQLite database that are kept: made while others work on it, and told from everything else."""

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
"""Marks a copy that is not finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupInfo:
    """What a copy says of itself: `newest` is the journal's last line then, and `seal` a hash of all that it holds."""

    at: str
    database: str
    environment: str
    chain: str
    entries: int
    newest_record: JournalRecord | None
    checksum: str


def make_backup(source: Path, target: Path, journal: Path, runtime: Runtime) -> BackupInfo:
    """Copy a database into a new file, check the copy, and only then give it its name.

    Raises RefusedError when the database is damaged, FileExistsError rather than overwrite anything, OSError.
    """
    if target.exists():
        raise FileExistsError(17, os.strerror(17), str(target))
    part = target.with_name(target.name + PART_SUFFIX)
    part.unlink(missing_ok=True)
    newest = next(reversed(read_records(journal)), None)  # read first: the copy knows all that was announced by now
    try:
        with _reject_damage(source):
            at = runtime.now()  # taken first as well: the copy may lack what is called while it is being made
            copy_database(source, part)
            label = _write_info(part, source, newest, at)
            with closing(sqlite3.connect(part)) as made:
                if not _passes_integrity_check(made):
                    raise RefusedError("database_corrupt", file=str(source))
        _sync(part)
        runtime.hit_failpoint_now("backup.before_rename")
        _rename_without_overwrite(part, target)
    finally:
        part.unlink(missing_ok=True)
    sync_directory(target.absolute().parent)
    return label


def _rename_without_overwrite(part: Path, target: Path) -> None:
    """Unlike a rename alone, this never takes the place of a file that has come meanwhile."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # a file system that has no links, as on many a stick
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        part.replace(target)


def read_backup_info(file: Path) -> BackupInfo:
    """Read what a copy says of itself, and see that it is whole; nothing is written.

    Raises RefusedError for what is no copy of ours, or is damaged; OSError.
    """
    with file.open("rb"):
        pass
    with _reject_damage(file, "backup_damaged"), closing(_open_immutable(file)) as connection:
        label = _read_info(connection)
        if label is None:
            raise RefusedError("not_a_backup", file=str(file))
        if not _passes_integrity_check(connection) or _checksum_of(connection, label) != label.checksum:
            raise RefusedError("backup_damaged", file=str(file))
    return label


def stored_backup_info(file: Path) -> BackupInfo | None:
    """Read the label of a database in use, which has one only where a copy was put in place by hand."""
    with _reject_damage(file), closing(_open(file)) as connection:
        return _read_info(connection)


def genesis_of(file: Path) -> str | None:
    """Name the audit's chain of a database; None where none can be read."""
    try:
        with closing(_open(file)) as connection:
            return _database_info(connection).get(GENESIS_KEY)
    except sqlite3.DatabaseError:
        return None


def read_checkpoint(file: Path, runtime: Runtime) -> Checkpoint | None:
    """Give the newest entry of a database's audit, for writing down outside; None where none can be read."""
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
    sequence, digest = newest
    return Checkpoint(
        database=file.name, chain=chain, sequence=int(sequence), hash=str(digest), at=runtime.now().isoformat()
    )


def restore_details(file: Path) -> list[str]:
    """Give what a database's audit tells of earlier restorings; nothing where it cannot be read."""
    query = "SELECT detail FROM audit WHERE event = ? AND subject = 'database' ORDER BY id"
    try:
        with closing(_open(file)) as connection:
            return [detail for (detail,) in connection.execute(query, (RESTORED_EVENT,))]
    except sqlite3.DatabaseError:
        return []


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as of one moment, with what its log of newest changes holds, into a new file for us alone."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(_open(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode = DELETE")


def merge_wal(file: Path) -> None:
    """Let a database that nobody has open be one file, on disk, with no log of newest changes by its side."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    _sync(file)


def _write_info(part: Path, source: Path, newest: JournalRecord | None, at: datetime) -> BackupInfo:
    with closing(sqlite3.connect(part)) as connection, connection:
        stamps = _database_info(connection)
        connection.execute("DELETE FROM database_info WHERE key = ?", (BACKUP_KEY,))
        label = BackupInfo(
            at=at.isoformat(),
            database=source.name,
            environment=stamps.get("environment", ""),
            chain=stamps.get(GENESIS_KEY, ""),
            entries=connection.execute("SELECT count(*) FROM audit").fetchone()[0],
            newest_record=newest,
            checksum="",
        )
        label = replace(label, checksum=_checksum_of(connection, label))
        connection.execute("INSERT INTO database_info VALUES (?, ?)", (BACKUP_KEY, json.dumps(asdict(label))))
    return label


def _read_info(connection: sqlite3.Connection) -> BackupInfo | None:
    written = _database_info(connection).get(BACKUP_KEY)
    if written is None:
        return None
    try:
        row: dict[str, Any] = json.loads(written)
        newest = JournalRecord.from_row(row["newest_record"]) if row["newest_record"] else None
        return BackupInfo(**{**row, "newest_record": newest})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _database_info(connection: sqlite3.Connection) -> dict[str, str]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'database_info'").fetchone():
        return {}
    return dict(connection.execute("SELECT key, value FROM database_info"))


def _checksum_of(connection: sqlite3.Connection, info: BackupInfo) -> str:
    """Hash every row and the rest of the label: damage within a page's text leaves the pages in order."""
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
    """Quote the name of a table: a file from elsewhere may have any."""
    return '"' + name.replace('"', '""') + '"'


def _passes_integrity_check(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")


@contextmanager
def _reject_damage(file: Path, code: str = "database_corrupt") -> Iterator[None]:
    """Say in our words that a file is damaged or no database. Raises RefusedError, OSError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise OSError(5, str(error), str(file)) from error
        is_other = code == "backup_damaged" and "not a database" in str(error)
        raise RefusedError("not_a_backup" if is_other else code, file=str(file)) from error


def _open(file: Path) -> sqlite3.Connection:
    """Open a database that may be in use, as one who only reads; one that is not there is not made."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_SECONDS)


def _open_immutable(file: Path) -> sqlite3.Connection:
    """Open a file that nobody works on, so that nothing comes to stand beside it either."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
