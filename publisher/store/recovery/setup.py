"""Bringing a database up: migrated, named, and never older than what was done."""

import asyncio
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, Engine, create_engine, func, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError

from publisher.domain.delivery import WorkerId
from publisher.domain.errors import RefusedError
from publisher.runtime.clock import Runtime
from publisher.store.db.database import MOVED_TO_KEY, is_corrupt, sqlite_file
from publisher.store.db.intent_journal import TAIL_BYTES, read_journal
from publisher.store.db.mappers import ATTEMPT, DATABASE_INFO
from publisher.store.db.postgres import CONNECT_ARGS
from publisher.store.recovery.identity import current_identity, stored_identity, workers_to_compare
from publisher.store.recovery.recover import is_comparison_expected, journal_problem, missing_from
from publisher.store.recovery.swap import finish_swaps

NEWEST_MIGRATION = "0001"
"""The newest migration; a database that stands there needs no Alembic, which costs a start its time."""
MIGRATIONS_FOLDER = Path(__file__).parents[1] / "db" / "migrations"
BACKUP_KEY = "backup"
"""The key of a copy that was made to be kept: when, of what, and what the journal was then."""
_CHECKED_KEYS = ("environment", MOVED_TO_KEY, BACKUP_KEY)


async def prepare_database(  # noqa: PLR0913 # which database, and how far it is to be trusted
    url: str,
    environment: str,
    journal: Path,
    runtime: Runtime,
    *,
    allows_older: bool = False,
    checks_integrity: bool = False,
) -> None:
    """Create or migrate the database, and refuse what must not be used.

    Raises RefusedError: a corrupt file, a database of another environment, a copy made to be kept, one made by a
    newer version, one whose contents were moved, or a server that does not write to disk what it commits; unless any
    age will do, what `check_age` refuses; and where it must be whole, what `check_whole` does.
    """
    await asyncio.to_thread(migrate, url, environment, journal, runtime, checks_integrity=checks_integrity)
    if not allows_older:
        await asyncio.to_thread(check_against_journal, url, journal)


def migrate(
    url: str, environment: str, journal: Path | None, runtime: Runtime, *, checks_integrity: bool = False
) -> None:
    """Do what `prepare` does, whatever the database's age. A copy that is not in its place yet has no journal."""
    file = sqlite_file(url)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(file):
        if file is not None and journal is not None:
            finish_swaps(file, journal, runtime)
    if checks_integrity:
        check_integrity(url)
    with file_lock(file), _connect(url) as connection:
        if file is None:
            _lock_migration(connection)
        _run_migrations(connection, runtime)
        _check_environment(connection, environment, is_copy=journal is None)
        connection.commit()


def migration_of(url: str) -> str | None:
    """Say which migration a database stands at; None where there is none yet. Changes nothing."""
    file = sqlite_file(url)
    if file is not None and not file.is_file():
        return None
    with _connect(url) as connection:
        return _read_migration(connection)


@contextmanager
def _connect(url: str, *, may_write: bool = True) -> Iterator[Connection]:
    """Connect for a moment. Raises RefusedError where the file turns out to be damaged or no database."""
    engine = _plain_engine(url, may_write=may_write)
    try:
        with engine.connect() as connection:
            yield connection
    except DatabaseError as error:
        if is_corrupt(error):
            raise RefusedError("database_corrupt", file=str(sqlite_file(url))) from error
        raise
    finally:
        engine.dispose()


def _plain_engine(url: str, *, may_write: bool) -> Engine:
    """Open a database without changing anything about it: it may not be ours to touch."""
    if (file := sqlite_file(url)) is not None:
        return create_engine(url if may_write else f"sqlite:///{file.absolute().as_uri()}?mode=ro&uri=true")
    return create_engine(make_url(url).set(drivername="postgresql+psycopg"), connect_args=CONNECT_ARGS)


def check_integrity(url: str) -> None:
    """Read a whole SQLite file, and refuse one that is damaged somewhere. Raises RefusedError.

    It stays as it is, with what a death has left beside it: opened to be written, that would be worked into the damage.
    Only what an upgrade left half done must be taken back first.
    """
    file = sqlite_file(url)
    if file is None or not file.is_file():
        return
    with _connect(url, may_write=file.with_name(f"{file.name}-journal").exists()) as connection:
        _require_integrity(connection, file)


def _require_integrity(connection: Connection, file: Path) -> None:
    if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one() != "ok":
        raise RefusedError("database_corrupt", file=str(file))


@contextmanager
def file_lock(file: Path | None) -> Iterator[None]:
    """Let processes that open a file together bring it up one after the other; who dies gives the turn away."""
    if file is None:
        yield
        return
    with file.with_name(file.name + ".setup").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lock_migration(connection: Connection) -> None:
    """Let hosts that start together migrate one after the other; the turn ends with the connection."""
    connection.execute(select(func.pg_advisory_lock(func.hashtext("publisher/migration"))))
    if connection.exec_driver_sql("SHOW fsync").scalar_one() == "off":
        raise RefusedError("database_unsafe")


def _run_migrations(connection: Connection, runtime: Runtime) -> None:
    version = _read_migration(connection)
    if version == NEWEST_MIGRATION:
        return
    if version is not None and not list(MIGRATIONS_FOLDER.glob(f"versions/{version}_*.py")):
        raise RefusedError("database_newer", version=version)
    if version is not None and connection.dialect.name == "sqlite":
        _require_integrity(connection, Path(str(connection.engine.url.database)))
    from alembic import command  # noqa: PLC0415 # needed only when there is something to migrate
    from alembic.config import Config  # noqa: PLC0415 # same

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_FOLDER))
    config.attributes["connection"] = connection
    config.attributes["after_step"] = lambda **_step: runtime.hit_failpoint_now("migrate.mid")
    _begin(connection)
    command.upgrade(config, "head")
    connection.commit()


def _begin(connection: Connection) -> None:
    """Let all steps be one transaction on SQLite too, whose driver begins none before a change of tables."""
    driver = connection.connection.driver_connection
    if connection.dialect.name == "sqlite" and driver is not None:
        driver.isolation_level = None
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _read_migration(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    return version


def _check_environment(connection: Connection, environment: str, *, is_copy: bool) -> None:
    written = {
        row.key: row.value
        for row in connection.execute(select(DATABASE_INFO).where(DATABASE_INFO.c.key.in_(_CHECKED_KEYS)))
    }
    stamped = written.get("environment")
    if MOVED_TO_KEY in written:
        raise RefusedError("database_moved", to=written[MOVED_TO_KEY])
    if stamped is None:
        connection.execute(insert(DATABASE_INFO).values(key="environment", value=environment))
    elif stamped != environment:
        raise RefusedError("other_environment", stamped=stamped, wanted=environment)
    if BACKUP_KEY in written and not is_copy:
        raise RefusedError("database_is_copy", at=str(json.loads(written[BACKUP_KEY])["at"]))


def check_against_journal(url: str, journal: Path) -> None:
    """Refuse a file that does not know a call which the journal announced, and a journal that cannot tell.

    A shared database gets back what it has lost, see `recovery`; refused is one that a dump was put back into.
    Raises RefusedError, OSError.
    """
    if sqlite_file(url) is None:
        _check_database_identity(url)
        return
    with _connect(url) as connection:
        if not journal.exists() and connection.scalar(select(ATTEMPT.c.id).limit(1)) is not None:
            raise RefusedError("journal_missing", journal=str(journal))
        contents = read_journal(journal, TAIL_BYTES)
        missing = missing_from(connection, contents.records)
    if contents.damaged_lines:
        line = next(iter(read_journal(journal).damaged_lines), 0)
        raise RefusedError("journal_damaged", journal=str(journal), line=str(line))
    if missing:
        raise RefusedError("database_older", missing=str(len(missing)), journal=str(journal))


def _check_database_identity(url: str) -> None:
    with _connect(url) as connection:
        if stored_identity(connection) != current_identity(connection):
            raise RefusedError("database_replaced")


def check_journals_compared(url: str) -> None:
    """Refuse a shared database while a journal may still tell of calls that it does not know. Raises RefusedError."""
    if sqlite_file(url) is not None:
        return
    with _connect(url) as connection:
        if workers := workers_to_compare(connection):
            raise RefusedError("waiting_for_workers", workers=", ".join(workers))


def check_awaited_journal(url: str, worker: WorkerId, journal: Path, now: datetime) -> None:
    """Refuse a worker of a shared database that others wait for, if its journal cannot tell what it has sent.

    It would count as compared. Raises RefusedError, OSError.
    """
    if sqlite_file(url) is not None:
        return
    with _connect(url) as connection:
        if worker in workers_to_compare(connection) or is_comparison_expected(connection, worker, now):
            require_own_journal(connection, worker, journal)


def require_own_journal(connection: Connection, worker: WorkerId, journal: Path) -> None:
    """Refuse a journal that cannot tell what this worker has sent. Raises RefusedError, OSError."""
    if flaw := journal_problem(connection, worker, journal):
        line = next(iter(read_journal(journal).damaged_lines), 0) if flaw == "journal_damaged" else 0
        raise RefusedError(flaw, journal=str(journal), line=str(line))


@dataclass(slots=True)
class ProcessLock:
    """The right to be the only daemon here; the system takes it back when the process dies."""

    file: IO[str]

    def release(self) -> None:
        self.file.close()


def lock_process(url: str, workspace: Path) -> ProcessLock:
    """Take a SQLite file for this daemon alone; of a shared database, this workspace's part in the work.

    Raises RefusedError naming the holder when another daemon has it, and where a SQLite file has a second hard link:
    SQLite would keep a log for each of the names, and damage the file.
    """
    taken = sqlite_file(url) or workspace / "var" / "daemon"
    if taken.is_file() and taken.stat().st_nlink > 1:
        raise RefusedError("database_linked", file=str(taken))
    taken.parent.mkdir(parents=True, exist_ok=True)
    path = taken.with_name(taken.name + ".lock")
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = json.loads(file.read() or "{}")
        file.close()
        facts = {"host": str(holder.get("host", "?")), "pid": str(holder.get("pid", "?"))}
        raise RefusedError("second_daemon", file=str(taken), **facts) from error
    file.truncate(0)
    file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
    file.flush()
    return ProcessLock(file)
