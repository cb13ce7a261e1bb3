"""What keeps a database or a disk from being written, by name."""

import errno
import sqlite3

from sqlalchemy.exc import DBAPIError

DATABASE_BUSY = "database_busy"
DISK_FULL = "disk_full"
JOURNAL_UNWRITABLE = "journal_unwritable"
_CODE_BY_SQLITE_ERROR = {
    sqlite3.SQLITE_BUSY: DATABASE_BUSY,
    sqlite3.SQLITE_LOCKED: DATABASE_BUSY,
    sqlite3.SQLITE_FULL: DISK_FULL,
}
_CODE_BY_SQLSTATE = {"55P03": DATABASE_BUSY, "53100": DISK_FULL}
_CODE_BY_ERRNO = {errno.ENOSPC: DISK_FULL, errno.EDQUOT: DISK_FULL}
_PRIMARY_CODE_MASK = 0xFF
"""SQLite's extended codes carry the plain one in their lowest byte."""


def write_error_code(error: BaseException) -> str | None:
    """Name the trouble behind an error: somebody else holds the database, or there is no room; None for any other."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.Error):
        return _CODE_BY_SQLITE_ERROR.get(getattr(original, "sqlite_errorcode", 0) & _PRIMARY_CODE_MASK)
    if isinstance(original, OSError):
        return _CODE_BY_ERRNO.get(original.errno or 0)
    return _CODE_BY_SQLSTATE.get(getattr(original, "sqlstate", None) or "")
