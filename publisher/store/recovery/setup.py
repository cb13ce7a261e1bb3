"""Set-up of a database: migrated, of the right environment, intact, and not older than the journal.

A database file is swapped for another one by one rename; after a crash the swap is finished at the
next start.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, create_engine, func, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError
from sqlmodel import SQLModel

from publisher.domain.delivery import WorkerId
from publisher.domain.errors import RefusedError
from publisher.runtime.clock import Runtime
from publisher.runtime.files import put_in_place, replace_contents
from publisher.runtime.shared_files import share
from publisher.store.comparison import is_comparison_expected
from publisher.store.database_identity import (
    current_identity,
    stored_identity,
    workers_to_compare,
)
from publisher.store.db.database import MOVED_TO_KEY, is_corrupt, sqlite_file
from publisher.store.db.intent_journal import (
    TAIL_BYTES,
    read_journal,
    write_journal,
)
from publisher.store.db.postgres import CONNECT_ARGS
from publisher.store.db.sqlite_files import require_own_schema, require_safe_companions
from publisher.store.db.tables import ATTEMPT, DATABASE_INFO
from publisher.store.lost_attempts import journal_problem, missing_from
from publisher.store.recovery.folder import (
    CopiedFolder,
    file_lock,
    find_copied_folder,
    require_no_link,
    store_folder,
)

NEWEST_MIGRATION = "0001"
"""The newest migration.

A database at it needs no Alembic. Alembic would slow down the start.
"""
MIGRATIONS_FOLDER = Path(__file__).parents[1] / "db" / "migrations"
BACKUP_KEY = "backup"
"""The key of a backup: its time, its source, and the journal position then."""
READY_INFIX = ".restoring-"
"""Marks the file that is to replace the database; the instant of the commit follows."""
KEPT_INFIX = ".kept-"
"""Marks the replaced file, with the same instant."""

POSTGRES_COLUMNS = """SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = current_schema()"""


async def prepare_database(  # noqa: PLR0913 # which database, and what is checked of it
    url: str,
    environment: str,
    journal: Path,
    runtime: Runtime,
    *,
    allows_older: bool = False,
    checks_integrity: bool = False,
) -> None:
    """Create or migrate the database, and reject one that must not be used.

    Raises RefusedError for a corrupt file, a database of another environment, a backup, a database
    of a newer version or of a pre-release, one that was moved, and a server that does not sync its
    commits to disk; unless `allows_older`, also as `require_not_lost`, `check_against_journal` and
    `check_folder` do; with `checks_integrity`, also as `check_integrity` does.
    """
    file = sqlite_file(url)

    def prepare() -> None:
        if file is not None and not allows_older:
            require_not_lost(file, journal)
        migrate(url, environment, journal, runtime, checks_integrity=checks_integrity)

    await asyncio.to_thread(prepare)
    if not allows_older:
        await asyncio.to_thread(check_against_journal, url, journal)
        await asyncio.to_thread(check_folder, url)


def migrate(
    url: str,
    environment: str,
    journal: Path | None,
    runtime: Runtime,
    *,
    checks_integrity: bool = False,
) -> None:
    """Create or migrate the database without comparing it with the journal.

    A staged copy has no journal. Raises RefusedError as `prepare_database` does.
    """
    file = sqlite_file(url)
    if file is not None:
        prepare_file(file, journal, runtime)
    if checks_integrity:
        check_integrity(url)
    with file_lock(file), _connect(url) as connection:
        if file is None:
            # hosts that start together migrate one after the other; the lock ends with the
            # connection
            connection.execute(
                select(func.pg_advisory_lock(func.hashtext("publisher/migration")))
            )
            if connection.exec_driver_sql("SHOW fsync").scalar_one() == "off":
                raise RefusedError("database_unsafe")
        _run_migrations(connection, runtime)
        if file is None:
            shown = make_url(url).render_as_string(hide_password=True)
            _require_columns(connection, shown)
        if not check_marks(connection, environment, is_staged=journal is None):
            connection.execute(
                insert(DATABASE_INFO).values(key="environment", value=environment)
            )
        connection.commit()


def check_marks(connection: Connection, environment: str, *, is_staged: bool) -> bool:
    """Reject a database that was moved, is a backup, or belongs to another environment.

    Return True if it is marked with its environment. A staged copy may be a backup. Raises
    RefusedError.
    """
    keys = ("environment", MOVED_TO_KEY, BACKUP_KEY)
    rows = connection.execute(
        select(DATABASE_INFO).where(DATABASE_INFO.c.key.in_(keys))
    )
    info = {row.key: row.value for row in rows}
    stamped = info.get("environment")
    if MOVED_TO_KEY in info:
        raise RefusedError("database_moved", to=info[MOVED_TO_KEY])
    if stamped not in {None, environment}:
        raise RefusedError("other_environment", stamped=stamped, wanted=environment)
    if BACKUP_KEY in info and not is_staged:
        raise RefusedError(
            "database_is_copy", at=str(json.loads(info[BACKUP_KEY])["at"])
        )
    return stamped is not None


def check_unchanged(url: str, environment: str, journal: Path) -> None:
    """Reject a database as `prepare_database` does, and change nothing of it.

    Its integrity is not checked, and one without tables is accepted: a daemon makes them. Raises
    RefusedError, SQLAlchemyError, OSError.
    """
    with _connect(url) as connection:
        is_server = sqlite_file(url) is None
        version = _read_migration(connection)
        if is_server and version is None:
            return
        _require_known_version(version)
        if is_server and version == NEWEST_MIGRATION:
            _require_columns(connection, make_url(url).render_as_string())
        check_marks(connection, environment, is_staged=False)
    check_against_journal(url, journal)
    check_folder(url)


def require_not_lost(file: Path, journal: Path) -> None:
    """Raise RefusedError if there is no file, nor one on its way, although the journal knows calls.

    An empty database in its place would be another one, into which no backup can be restored.
    """
    if file.exists() or pending_swaps(file):
        return
    if records := read_journal(journal, TAIL_BYTES).records:
        raise RefusedError(
            "database_lost",
            database=str(file),
            known=str(len(records)),
            journal=str(journal),
        )


def require_not_emptied(url: str, journal: Path) -> None:
    """Raise RefusedError if a database knows no call at all, although the journal knows some.

    Users would be added to it, instead of the backup that has them being put back.
    """
    with _connect(url) as connection:
        has_calls = (
            _read_migration(connection) is not None
            and connection.scalar(select(ATTEMPT.c.id).limit(1)) is not None
        )
    if not has_calls and (records := read_journal(journal, TAIL_BYTES).records):
        raise RefusedError(
            "database_empty",
            database=make_url(url).render_as_string(),
            known=str(len(records)),
            journal=str(journal),
        )


def prepare_file(file: Path, journal: Path | None, runtime: Runtime) -> None:
    """Finish the leftovers of a swap, and create the file.

    The files that SQLite makes beside it get its mode and group.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(file):
        if journal is not None:
            finish_swaps(file, journal, runtime)
        require_no_link(file)
        if not file.exists():
            file.touch(mode=0o600)
        share(file)


def migration_of(url: str) -> str | None:
    """Return the migration of a database, or None if there is none yet. Changes nothing."""
    file = sqlite_file(url)
    if file is not None and not file.is_file():
        return None
    with _connect(url) as connection:
        return _read_migration(connection)


@contextmanager
def _connect(url: str, *, may_write: bool = True) -> Iterator[Connection]:
    """Connect with a plain engine that changes no settings of the file: it may not be ours.

    Raises RefusedError if the file is damaged or no database. Raises as `require_safe_companions`
    and `require_own_schema` do.
    """
    file = sqlite_file(url)
    if file is None:
        engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            connect_args=CONNECT_ARGS,
        )
    else:
        require_safe_companions(file)
        engine = create_engine(
            url
            if may_write
            else f"sqlite:///{file.absolute().as_uri()}?mode=ro&uri=true"
        )
    try:
        with engine.connect() as connection:
            if file is not None:
                require_own_schema(
                    lambda sql: [tuple(row) for row in connection.exec_driver_sql(sql)],
                    file,
                )
            yield connection
    except DatabaseError as error:
        if is_corrupt(error):
            raise RefusedError("database_corrupt", file=str(file)) from error
        raise
    finally:
        engine.dispose()


def check_integrity(url: str) -> None:
    """Read a whole SQLite file, and reject a damaged one. Raises RefusedError.

    It is opened read-only and stays as a crash left it: a write would merge its write-ahead log
    into the damage. Only an unfinished migration must be rolled back first.
    """
    file = sqlite_file(url)
    if file is None or not file.is_file():
        return
    with _connect(
        url, may_write=file.with_name(f"{file.name}-journal").exists()
    ) as connection:
        _require_integrity(connection, file)


def _require_integrity(connection: Connection, file: Path) -> None:
    if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one() != "ok":
        raise RefusedError("database_corrupt", file=str(file))


def _run_migrations(connection: Connection, runtime: Runtime) -> None:
    version = _read_migration(connection)
    if version == NEWEST_MIGRATION:
        return
    _require_known_version(version)
    if version is not None and connection.dialect.name == "sqlite":
        _require_integrity(connection, Path(str(connection.engine.url.database)))
    from alembic import command  # noqa: PLC0415 # needed only when there is something to migrate
    from alembic.config import Config  # noqa: PLC0415 # same

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_FOLDER))
    config.attributes["connection"] = connection
    config.attributes["after_step"] = lambda **_step: runtime.hit_failpoint_now(
        "migrate.mid"
    )
    driver = connection.connection.driver_connection
    if connection.dialect.name == "sqlite" and driver is not None:
        # all steps are one transaction here too; by itself the driver begins none before a change
        # of tables
        driver.isolation_level = None
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    command.upgrade(config, "head")
    connection.commit()


def _require_known_version(version: str | None) -> None:
    """Raise RefusedError for a version of the tables that this release does not know."""
    if version is not None and not list(
        MIGRATIONS_FOLDER.glob(f"versions/{version}_*.py")
    ):
        raise RefusedError("database_newer", version=version)


def _require_columns(connection: Connection, database: str) -> None:
    """Raise RefusedError unless the tables of a server have this release's columns and no other.

    A pre-release may have made them, with the number of the same migration. A file's whole schema
    is compared, see `require_own_schema`.
    """
    stored: dict[str, set[str]] = defaultdict(set)
    for table, column in connection.exec_driver_sql(POSTGRES_COLUMNS):
        stored[table].add(column)
    if any(
        stored[table.name] != set(table.columns.keys())
        for table in SQLModel.metadata.sorted_tables
    ):
        raise RefusedError("database_schema_differs", file=database)


def _read_migration(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.exec_driver_sql(
        "SELECT version_num FROM alembic_version"
    ).scalar_one_or_none()
    return version


def check_against_journal(url: str, journal: Path) -> None:
    """Reject a file that lacks an attempt of the journal, and a missing or damaged journal.

    A shared database recovers its losses, see `recover`. It is rejected only if a dump was restored
    into it. Raises RefusedError, OSError.
    """
    with _connect(url) as connection:
        if sqlite_file(url) is None:
            if stored_identity(connection) != current_identity(connection):
                raise RefusedError("database_replaced")
            return
        if (
            not journal.exists()
            and connection.scalar(select(ATTEMPT.c.id).limit(1)) is not None
        ):
            raise RefusedError("journal_missing", journal=str(journal))
        contents = read_journal(journal, TAIL_BYTES)
        missing = missing_from(connection, contents.records)
    if contents.damaged_lines:
        line = next(iter(read_journal(journal).damaged_lines), 0)
        raise RefusedError("journal_damaged", journal=str(journal), line=str(line))
    if missing:
        raise RefusedError(
            "database_older", missing=str(len(missing)), journal=str(journal)
        )


def check_folder(url: str) -> None:
    """Reject a copy of a SQLite database.

    The daemon of the original may still send the posts that the copy would send. Raises
    RefusedError, OSError.
    """
    if (copied := read_copied_folder(url)) is not None:
        raise RefusedError("workspace_copied", **copied.facts())


def read_copied_folder(url: str) -> CopiedFolder | None:
    """Return the origin of a copied SQLite database, or None.

    Return None if it was not copied, or for a shared database. Raises OSError.
    """
    file = sqlite_file(url)
    if file is None:
        return None
    with _connect(url) as connection:
        return find_copied_folder(connection, file.parent)


def claim_folder(url: str) -> None:
    """Record that a SQLite database is used in its present folder.

    It is recorded at the start of a daemon or by a person's order. Raises OSError.
    """
    if (file := sqlite_file(url)) is not None:
        with _connect(url) as connection:
            store_folder(connection, file.parent)
            connection.commit()


def check_journals_compared(url: str) -> None:
    """Reject a shared database while a journal may hold attempts that it lacks.

    Raises RefusedError.
    """
    if sqlite_file(url) is not None:
        return
    with _connect(url) as connection:
        if workers := workers_to_compare(connection):
            raise RefusedError("waiting_for_workers", workers=", ".join(workers))


def check_awaited_journal(
    url: str, worker: WorkerId, journal: Path, now: datetime
) -> None:
    """Reject an awaited worker if its journal cannot prove its sends.

    Others of a shared database wait for it. Otherwise it would count as compared. Raises
    RefusedError, OSError.
    """
    if sqlite_file(url) is not None:
        return
    with _connect(url) as connection:
        if worker in workers_to_compare(connection) or is_comparison_expected(
            connection, worker, now
        ):
            require_own_journal(connection, worker, journal)


def require_own_journal(
    connection: Connection, worker: WorkerId, journal: Path
) -> None:
    """Reject a journal that cannot prove this worker's sends. Raises RefusedError, OSError."""
    if problem := journal_problem(connection, worker, journal):
        line = (
            next(iter(read_journal(journal).damaged_lines), 0)
            if problem == "journal_damaged"
            else 0
        )
        raise RefusedError(problem, journal=str(journal), line=str(line))


def commit_swap(incoming: Path, file: Path, at: datetime) -> Path:
    """Commit to a swap. It is finished even after a crash.

    Return the place where the present file will be kept.
    """
    instant = f"{at:%Y%m%dT%H%M%S%f}"
    put_in_place(incoming, file.with_name(f"{file.name}{READY_INFIX}{instant}"))
    return file.with_name(f"{file.name}{KEPT_INFIX}{instant}")


def pending_swaps(file: Path) -> list[Path]:
    """Return the files that are to replace a database, the earliest commit first."""
    ready = file.parent.glob(f"*{READY_INFIX}*")
    return sorted(
        one for one in ready if one.name.rpartition(READY_INFIX)[0] == file.name
    )


def finish_swaps(file: Path, journal: Path, runtime: Runtime) -> None:
    """Finish the committed swaps, if any. The old file keeps its write-ahead log beside it.

    The journal is repaired in between. Before the commit, a crash would leave the old file with a
    journal that looks complete; after the last rename, the next start would refuse the swap.
    """
    for ready in pending_swaps(file):
        instant = ready.name.rpartition(READY_INFIX)[2]
        for suffix in ("-wal", ""):
            part = file.with_name(file.name + suffix)
            if part.exists():
                part.rename(file.with_name(f"{file.name}{KEPT_INFIX}{instant}{suffix}"))
        file.with_name(file.name + "-shm").unlink(missing_ok=True)
        runtime.hit_failpoint_now("restore.mid")
        repair_journal(journal, instant)
        put_in_place(ready, file)


def repair_journal(journal: Path, instant: str) -> None:
    """Leave a journal that can be appended to.

    Create a missing one, and keep a copy of a damaged one.
    """
    contents = read_journal(journal)
    if journal.exists() and not contents.damaged_lines:
        return
    journal.parent.mkdir(parents=True, exist_ok=True)
    if journal.exists():
        kept = journal.with_name(f"{journal.name}{KEPT_INFIX}{instant}")
        replace_contents(kept, journal.read_bytes())
    write_journal(journal, contents.records, contents.complete_since)
