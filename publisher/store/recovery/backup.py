"""Backups of a SQLite database, and the restore of an older database.

A backup is made while the database is in use, checked, and labelled with a checksum. Deliveries
that may have been sent since a restored database was written become unknown before it is used.
"""

import errno
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from publisher.domain.audit_chain import (
    RESTORED_EVENT,
    Checkpoint,
    parse_cut_checkpoints,
)
from publisher.domain.delivery import Actor
from publisher.domain.errors import RefusedError
from publisher.runtime.clock import Runtime
from publisher.runtime.files import sync
from publisher.store.base import BaseStore
from publisher.store.comparison import accept_restored, void_authority
from publisher.store.database_identity import accepted_until, workers_to_compare
from publisher.store.db.database import (
    BUSY_TIMEOUT_SECONDS,
    GENESIS_KEY,
    Transaction,
    is_corrupt,
    sqlite_file,
)
from publisher.store.db.intent_journal import (
    JournalRecord,
    read_journal,
    read_records,
)
from publisher.store.db.rows import AUDIT_BROKEN, clear_alerts, raise_alert, write_audit
from publisher.store.db.sqlite_files import connect_sqlite, require_own_schema
from publisher.store.db.tables import AUDIT, DATABASE_INFO, PAUSE, WORKER
from publisher.store.lost_attempts import (
    mark_waiting_unresolved,
    missing_from,
    orphaned_attempts,
    recover,
)
from publisher.store.recovery.folder import take_over_folder
from publisher.store.recovery.setup import BACKUP_KEY

PART_SUFFIX = ".part"
"""Suffix of an unfinished copy."""
RESTORE_PAUSE_REASON = "restored"
"""Reason of the pause of everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupInfo:
    """The label inside a backup.

    `newest_record` is the last one of the journal at that time, and `checksum` is a hash of
    everything in the backup.
    """

    at: str
    database: str
    environment: str
    chain: str
    entries: int
    newest_record: JournalRecord | None
    checksum: str


def make_backup(
    source: Path, target: Path, journal: Path, runtime: Runtime
) -> BackupInfo:
    """Copy a database to a part file, check it, and only then give it its final name.

    Raises RefusedError when the database is damaged, FileExistsError rather than overwrite
    anything, OSError.
    """
    if target.exists():
        raise FileExistsError(17, os.strerror(17), str(target))
    part = target.with_name(target.name + PART_SUFFIX)
    part.unlink(missing_ok=True)
    # record and time are read before the copy: it holds every attempt until then, and may lack what
    # is sent meanwhile
    newest = next(reversed(read_records(journal)), None)
    try:
        with _reject_damage(source, written=target):
            at = runtime.now()
            copy_database(source, part)
            info = _write_info(part, source, newest, at)
            with closing(connect_sqlite(part)) as copy:
                if not _passes_integrity_check(copy):
                    raise RefusedError("database_corrupt", file=str(source))
        sync(part)
        runtime.hit_failpoint_now("backup.before_rename")
        try:
            os.link(
                part, target
            )  # unlike a rename, it never replaces a file created meanwhile
        except FileExistsError:
            raise
        except OSError:  # a file system without links, as on many USB sticks
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    sync(target.absolute().parent)
    return info


def read_backup_info(file: Path) -> BackupInfo:
    """Read the label of a backup and check that it is intact, without writing anything.

    Raises RefusedError for a file that is no backup of ours, is damaged, or has another schema;
    OSError.
    """
    with _open_backup(file) as connection:
        info = _require_label(connection, file)
        require_own_schema(connection.execute, file)
        if (
            not _passes_integrity_check(connection)
            or _checksum_of(connection, info) != info.checksum
        ):
            raise RefusedError("backup_damaged", file=str(file))
    return info


def read_backup_label(file: Path) -> BackupInfo:
    """Read the label of a backup, without a check of its contents, and without writing anything.

    Raises RefusedError for a file that is no backup of ours, or is damaged; OSError.
    """
    with _open_backup(file) as connection:
        return _require_label(connection, file)


def stored_backup_info(file: Path) -> BackupInfo | None:
    """Read the label of a database in use.

    It has a label only if a backup was copied there manually.
    """
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
            newest = connection.execute(
                "SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1"
            ).fetchone()
            chain = _database_info(connection).get(GENESIS_KEY)
    except sqlite3.DatabaseError:
        return None
    if newest is None or chain is None:
        return None
    sequence, digest = int(newest[0]), str(newest[1])
    return Checkpoint(
        database=file.name,
        chain=chain,
        sequence=sequence,
        hash=digest,
        at=runtime.now().isoformat(),
    )


def restore_details(file: Path) -> list[str]:
    """Return the details of earlier restores in a database's audit; none if it is unreadable."""
    query = (
        "SELECT detail FROM audit WHERE event = ? AND subject = 'database' ORDER BY id"
    )
    try:
        with closing(_open(file)) as connection:
            return [
                detail for (detail,) in connection.execute(query, (RESTORED_EVENT,))
            ]
    except sqlite3.DatabaseError:
        return []


def copy_database(source: Path, target: Path) -> None:
    """Copy a consistent snapshot of a database into a new private file.

    The snapshot includes its write-ahead log.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(_open(source)) as old, closing(connect_sqlite(target)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode = DELETE")


def merge_wal(file: Path) -> None:
    """Merge the write-ahead log into a database that nobody has open, and sync the file."""
    with closing(connect_sqlite(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    sync(file)


def _write_info(
    part: Path, source: Path, newest: JournalRecord | None, at: datetime
) -> BackupInfo:
    with closing(connect_sqlite(part)) as connection, connection:
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
        connection.execute(
            "INSERT INTO database_info VALUES (?, ?)",
            (BACKUP_KEY, json.dumps(asdict(info))),
        )
    return info


def _read_info(connection: sqlite3.Connection) -> BackupInfo | None:
    try:
        row: dict[str, Any] = json.loads(_database_info(connection)[BACKUP_KEY])
        newest = (
            JournalRecord.from_row(row["newest_record"])
            if row["newest_record"]
            else None
        )
        return BackupInfo(**{**row, "newest_record": newest})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


@contextmanager
def _open_backup(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a backup so that SQLite creates no file beside it."""
    with file.open("rb"):
        pass
    with (
        _reject_damage(file, "backup_damaged"),
        closing(connect_sqlite(file, "ro&immutable=1")) as connection,
    ):
        yield connection


def _require_label(connection: sqlite3.Connection, file: Path) -> BackupInfo:
    info = _read_info(connection)
    if info is None:
        raise RefusedError("not_a_backup", file=str(file))
    return info


def _database_info(connection: sqlite3.Connection) -> dict[str, str]:
    if not connection.execute(
        "SELECT 1 FROM sqlite_master WHERE name = 'database_info'"
    ).fetchone():
        return {}
    return dict(connection.execute("SELECT key, value FROM database_info"))


def _checksum_of(connection: sqlite3.Connection, info: BackupInfo) -> str:
    """Hash every row and the rest of the label.

    The integrity check does not see damage inside a text.
    """
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    digest = sha256(repr(replace(info, checksum="")).encode())
    tables = (
        "SELECT name FROM sqlite_master"
        " WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    for (table,) in connection.execute(tables).fetchall():
        digest.update(table.encode())
        for row in connection.execute(
            f"SELECT * FROM {quote_identifier(table)} ORDER BY rowid"  # noqa: S608 # quoted
        ):
            if (table, row[0]) != ("database_info", BACKUP_KEY):
                digest.update(repr(row).encode())
    return digest.hexdigest()


def quote_identifier(name: str) -> str:
    """Quote a table name: a file from elsewhere may have any."""
    return '"' + name.replace('"', '""') + '"'


def _passes_integrity_check(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")


@contextmanager
def _reject_damage(
    file: Path, code: str = "database_corrupt", written: Path | None = None
) -> Iterator[None]:
    """Translate SQLite errors about a damaged file, no database, or no room for `written`.

    Raises RefusedError, OSError.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, str(error), str(written or file)) from error
        if not is_corrupt(error):
            raise OSError(5, str(error), str(file)) from error
        is_other = code == "backup_damaged" and "not a database" in str(error)
        raise RefusedError(
            "not_a_backup" if is_other else code, file=str(file)
        ) from error


def _open(file: Path) -> sqlite3.Connection:
    """Open a database that may be in use; a missing one is not created."""
    return connect_sqlite(file, "rw", BUSY_TIMEOUT_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredIntents:
    """The journalled attempts since a backup.

    `since` is set if the journal may not hold all of them.
    """

    records: Sequence[JournalRecord]
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreSummary:
    """The result of a restore: lost attempts, unknown deliveries, and orphans for a person.

    The unknown deliveries have no attempt. `workers_to_compare` are the other workers with journals
    still to be compared.
    """

    taken_at: datetime
    recovered: int
    unresolved: int
    orphaned: int
    workers_to_compare: Sequence[str] = ()


def stage_copy(
    source: Path | None, file: Path, environment: str, expected_chain: str | None
) -> tuple[Path, BackupInfo | None]:
    """Copy a backup, or the database itself, to a staging file. Return the copy and its label.

    The staging file is beside the database. Raises RefusedError when the backup is not ours,
    damaged, of another environment, or of another audit chain.
    """
    info = read_backup_info(source) if source is not None else stored_backup_info(file)
    if source is not None and info is not None:
        if info.environment != environment:
            raise RefusedError(
                "other_environment", stamped=info.environment, wanted=environment
            )
        expected = genesis_of(file) or expected_chain
        if expected is not None and expected != info.chain:
            raise RefusedError("backup_of_another", file=str(source))
    incoming = staging_path(file)
    remove_staging(incoming)
    copy_database(source or file, incoming)
    return incoming, info


def staging_path(file: Path) -> Path:
    """Return the path of the copy that a restored database is prepared in."""
    return file.with_name(f"{file.name}.incoming")


def remove_staging(staging: Path) -> None:
    """Remove an unused copy, and the leftovers of preparing one."""
    for suffix in ("", "-wal", "-shm", "-journal", ".setup"):
        staging.with_name(staging.name + suffix).unlink(missing_ok=True)


def read_intents(
    journal: Path,
    info: BackupInfo | None,
    begins_at: datetime,
    *,
    allows_incomplete: bool,
) -> RecoveredIntents:
    """Read the journal, and check that it holds every attempt since a backup or `begins_at`.

    Raises RefusedError if it does not, unless `allows_incomplete`. Then the attempts it may lack
    become unknown.
    """
    contents = read_journal(journal)
    taken_at = datetime.fromisoformat(info.at) if info else begins_at
    newest, complete_since = (
        info.newest_record if info else None,
        contents.complete_since,
    )
    problem = None
    if not journal.exists():
        problem = "journal_missing"
    elif contents.damaged_lines:
        problem = "journal_damaged"
    elif complete_since is not None and complete_since > taken_at:
        problem = "journal_mismatch"
    elif newest is not None and newest not in contents.records:
        is_compacted = (
            complete_since is not None
            and datetime.fromisoformat(newest.at) <= complete_since
        )
        problem = None if is_compacted else "journal_mismatch"
    if problem is not None and not allows_incomplete:
        raise RefusedError(
            problem,
            journal=str(journal),
            line=str(next(iter(contents.damaged_lines), 0)),
        )
    return RecoveredIntents(
        records=contents.records, since=taken_at if allows_incomplete else None
    )


def checkpoints_to_compare(
    newest: Sequence[Checkpoint], file: Path | None
) -> list[tuple[int, str]]:
    """Return the newest external checkpoints, and the ones cut off by earlier restores.

    The restores are of the present file.
    """
    details = restore_details(file) if file is not None else []
    cut = [
        checkpoint for detail in details for checkpoint in parse_cut_checkpoints(detail)
    ]
    return [
        *dict.fromkeys(
            [*cut, *((checkpoint.sequence, checkpoint.hash) for checkpoint in newest)]
        )
    ]


def last_known_at(connection: Connection) -> datetime | None:
    """Return the instant up to which a database without a label knows the sent posts.

    Return None if it knows nothing. The instant is the last heartbeat or audit entry, taking the
    earlier one. People may have cancelled posts since the last heartbeat. An accepted database that
    still waits for workers knows no more than when it was accepted.
    """
    first, last = connection.execute(
        select(func.min(AUDIT.c.at), func.max(AUDIT.c.at))
    ).one()
    heartbeat_at: datetime | None = connection.scalar(
        select(func.max(WORKER.c.heartbeat_at))
    )
    until: datetime | None = min(heartbeat_at, last) if heartbeat_at and last else first
    accepted = accepted_until(connection)
    return min(until, accepted) if until and accepted else until


def finish_restore(  # noqa: PLR0913, PLR0917 # who restored what, from where, and what it cut off
    transaction: Transaction,
    store: BaseStore,
    intents: RecoveredIntents,
    info: BackupInfo | None,
    checkpoints: Sequence[tuple[int, str]],
    by: Actor,
) -> RestoreSummary:
    """Recover lost attempts as unknown, pause everything for a person, and record the restore.

    The pause lasts until a person has looked at it. Actions of people since then are lost as well.
    Posts that they stopped must not be sent before they look. Raises RefusedError while another
    worker is alive on a shared database.
    """
    now, connection = store.runtime.now(), transaction.connection
    begins_at = (
        datetime.fromisoformat(info.at) if info else last_known_at(connection) or now
    )
    if store.database.is_shared:
        accept_restored(
            transaction,
            store.worker,
            now,
            begins_at,
            awaits_others=intents.since is None,
        )
    if (file := sqlite_file(str(store.database.engine.url))) is not None:
        take_over_folder(transaction, file.parent, now, by)
    lost = missing_from(connection, intents.records)
    connection.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key == BACKUP_KEY))
    named = select(AUDIT.c.id, AUDIT.c.hash).where(
        AUDIT.c.id.in_([number for number, _ in checkpoints])
    )
    held = {(row.id, row.hash) for row in connection.execute(named)}
    cut = [checkpoint for checkpoint in checkpoints if checkpoint not in held]
    cut_entries = [{"sequence": number, "hash": digest} for number, digest in cut]
    detail = {"taken_at": begins_at.isoformat(), "calls": len(lost), "cut": cut_entries}
    write_audit(
        transaction, now, by, event=RESTORED_EVENT, subject="database", detail=detail
    )
    if cut:
        clear_alerts(transaction, AUDIT_BROKEN, now)
        raise_alert(
            transaction, now, AUDIT_BROKEN, AUDIT_BROKEN, {"reason": str(max(cut)[0])}
        )
    connection.execute(delete(PAUSE).where(PAUSE.c.scope == "all"))
    connection.execute(
        insert(PAUSE).values(
            scope="all", at=now, by=by.name, reason=RESTORE_PAUSE_REASON
        )
    )
    write_audit(
        transaction,
        now,
        by,
        event="paused",
        subject="all",
        detail={"reason": RESTORE_PAUSE_REASON},
    )
    recovered = {delivery.id for delivery in recover(store, transaction, lost, by)}
    unresolved = 0
    if intents.since is not None:
        unresolved = mark_waiting_unresolved(
            store, transaction, intents.since, by, exclude=recovered
        )
    void_authority(transaction, now, by, "restored")
    clear_alerts(transaction, "all", now)
    facts = {"since": begins_at.isoformat(timespec="seconds"), "by": by.name}
    raise_alert(transaction, now, "database_restored", "all", facts)
    return RestoreSummary(
        taken_at=begins_at,
        recovered=len(lost),
        unresolved=unresolved,
        orphaned=len(set(lost) & set(orphaned_attempts(connection))),
        workers_to_compare=workers_to_compare(connection),
    )
