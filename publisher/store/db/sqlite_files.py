"""Foreign contents in a SQLite database, or in files beside it with names that SQLite looks for."""

import hashlib
import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from publisher.domain.errors import RefusedError
from publisher.runtime.shared_files import is_plain, is_writable_to_others

SUPER_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""The end of a rollback journal that names a super-journal.

See https://www.sqlite.org/fileformat.html, "The Rollback Journal". SQLite deletes the file of that
name when it opens the database. It writes such a name only for a transaction of several databases
at once, and there is none here.
"""
DEFAULT_TIMEOUT_SECONDS = 5.0
AUDIT_TRIGGERS = (
    """CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END""",
    """CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END""",
    # INSERT OR REPLACE deletes without waking the second one
    (
        "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit"
        " WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)\n"
        "    BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END"
    ),
)
"""All code in a database of ours."""
SCHEMA_HASHES: Mapping[str, str] = {
    "0001": "06ad0db0060865e873fb35331be2e515b0659ff39aeae62bc831f706fe8929bf"
}
"""The result of each migration, by its number.

It is the hash of all tables and indexes, as `hash_schema` returns it.
"""
SCHEMA = """SELECT type, name, COALESCE(sql, '') FROM sqlite_master
    WHERE NOT (type = 'table' AND name IN ('sqlite_stat1', 'sqlite_stat4')) ORDER BY type, name"""
"""All but the statistics that SQLite keeps by itself."""
CODE = frozenset({"trigger", "view"})
"""Types of rows of SCHEMA.

A trigger of ours that is missing is for the audit's checkpoints to find.
"""
MIGRATION = "SELECT version_num FROM alembic_version"
NO_LAYOUT = str.maketrans("", "", ' \t\r\n"')
"""The characters that may differ between versions of the library that writes an SQL statement.

They are removed from the statement.
"""


def connect_sqlite(
    file: Path, mode: str = "rwc", timeout: float = DEFAULT_TIMEOUT_SECONDS
) -> sqlite3.Connection:
    """Open a SQLite file, by default one that need not exist.

    Raises RefusedError as `require_safe_companions` does.
    """
    require_safe_companions(file)
    return sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}", uri=True, timeout=timeout
    )


def require_safe_companions(file: Path) -> None:
    """Refuse a database beside which SQLite would write, or delete, another file than its own.

    Raises RefusedError for a link or no plain file in place of a journal, a write-ahead log or its
    index. Raises RefusedError for a journal that names a super-journal. Raises OSError. It must not
    open the log and the index. To close them would end the locks that this process has on them.
    """
    real = Path(os.path.realpath(file))
    for suffix in ("-journal", "-wal", "-shm"):
        companion = real.with_name(f"{real.name}{suffix}")
        with suppress(FileNotFoundError):
            found = companion.lstat()
            if not stat.S_ISREG(found.st_mode) or (
                not is_plain(found) and is_writable_to_others(real.parent)
            ):
                raise RefusedError("database_linked", file=str(companion))
    journal = real.with_name(f"{real.name}-journal")
    with suppress(FileNotFoundError):
        if names_super_journal(journal):
            raise RefusedError("database_journal_unsafe", file=str(journal))


def require_own_schema(
    query: Callable[[str], Iterable[Sequence[str]]], file: Path
) -> None:
    """Refuse a database with another schema than its migration has made, by the rows of a query.

    A trigger, a view, or a column that drops a write could undo a pause, or give approvals. For an
    unknown migration, only triggers and views are compared. Raises RefusedError.
    """
    items = [(kind, name, sql) for kind, name, sql in query(SCHEMA)]
    for kind, name, sql in items:
        if kind in CODE and sql not in AUDIT_TRIGGERS:
            raise RefusedError("database_foreign_code", file=str(file), name=name)
    if not any(name == "alembic_version" for _kind, name, _sql in items):
        return
    for (version,) in query(MIGRATION):
        if version in SCHEMA_HASHES and hash_schema(items) != SCHEMA_HASHES[version]:
            raise RefusedError("database_schema_differs", file=str(file))


def hash_schema(items: Iterable[tuple[str, str, str]]) -> str:
    """Return the hash of the rows of SCHEMA, without triggers.

    It does not depend on the layout of the statements.
    """
    plain = [
        (kind, name, sql.translate(NO_LAYOUT))
        for kind, name, sql in items
        if kind not in CODE
    ]
    return hashlib.sha256(repr(plain).encode()).hexdigest()


def names_super_journal(journal: Path) -> bool:
    """Return True if a rollback journal ends in a super-journal name, accepted by SQLite or not.

    Raises OSError, for a link too.
    """
    descriptor = os.open(journal, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        end = os.fstat(descriptor).st_size
        start = max(0, end - len(SUPER_JOURNAL_MAGIC))
        return (
            os.pread(descriptor, len(SUPER_JOURNAL_MAGIC), start) == SUPER_JOURNAL_MAGIC
        )
    finally:
        os.close(descriptor)
