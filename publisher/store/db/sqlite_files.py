"""What somebody may have put into a SQLite database, or beside it by the names that SQLite looks for."""

import os
import sqlite3
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from publisher.domain.errors import RefusedError
from publisher.runtime.shared_files import is_plain, is_writable_to_others

SUPER_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""Ends a rollback journal that names a super-journal (https://www.sqlite.org/fileformat.html, "The Rollback Journal").

SQLite deletes the file of that name when it opens the database. It writes such a name only for a transaction of several
databases at once, and there is none here.
"""
DEFAULT_TIMEOUT_SECONDS = 5.0
AUDIT_TRIGGERS = (
    """CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END""",
    """CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END""",
    # INSERT OR REPLACE deletes without waking the second one
    """CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END""",
)
"""All code in a database of ours."""
CODE_IN_DATABASE = "SELECT name, sql FROM sqlite_master WHERE type IN ('trigger', 'view') ORDER BY name"


def connect_sqlite(file: Path, mode: str = "rwc", timeout: float = DEFAULT_TIMEOUT_SECONDS) -> sqlite3.Connection:
    """Open a SQLite file, by default one that need not exist. Raises RefusedError as `require_safe_companions` does."""
    require_safe_companions(file)
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True, timeout=timeout)


def require_safe_companions(file: Path) -> None:
    """Refuse a database beside which SQLite would write, or delete, another file than its own.

    Raises RefusedError for a link or no plain file in place of a journal, a write-ahead log or its index, and for a
    journal that names a super-journal; OSError. It must not open log and index: to close them would end the locks that
    this process has on them.
    """
    real = Path(os.path.realpath(file))
    for suffix in ("-journal", "-wal", "-shm"):
        companion = real.with_name(f"{real.name}{suffix}")
        with suppress(FileNotFoundError):
            found = companion.lstat()
            if not stat.S_ISREG(found.st_mode) or (not is_plain(found) and is_writable_to_others(real.parent)):
                raise RefusedError("database_linked", file=str(companion))
    journal = real.with_name(f"{real.name}-journal")
    with suppress(FileNotFoundError):
        if names_super_journal(journal):
            raise RefusedError("database_journal_unsafe", file=str(journal))


def require_own_code(code: Iterable[tuple[str, str]], file: Path) -> None:
    """Refuse a database with triggers or views of others: they could undo a pause, or give approvals.

    `code` are the rows of CODE_IN_DATABASE. Raises RefusedError.
    """
    if foreign := next((name for name, sql in code if sql not in AUDIT_TRIGGERS), None):
        raise RefusedError("database_foreign_code", file=str(file), name=foreign)


def names_super_journal(journal: Path) -> bool:
    """Return True if a rollback journal ends in the name of a super-journal, whether SQLite accepts that name or not.

    Raises OSError, for a link too.
    """
    descriptor = os.open(journal, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        end = os.fstat(descriptor).st_size
        start = max(0, end - len(SUPER_JOURNAL_MAGIC))
        return os.pread(descriptor, len(SUPER_JOURNAL_MAGIC), start) == SUPER_JOURNAL_MAGIC
    finally:
        os.close(descriptor)
