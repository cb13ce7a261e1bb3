"""What keeps a database or a disk from being written, by name."""

import errno
import sqlite3

from sqlalchemy.exc import DBAPIError

BUSY = "database_busy"
FULL = "disk_full"
JOURNAL_REFUSES = "journal_refuses"
_SQLITE = {sqlite3.SQLITE_BUSY: BUSY, sqlite3.SQLITE_LOCKED: BUSY, sqlite3.SQLITE_FULL: FULL}
_POSTGRES = {"55P03": BUSY, "53100": FULL}
_SYSTEM = {errno.ENOSPC: FULL, errno.EDQUOT: FULL}
_PRIMARY = 0xFF
"""SQLite's extended codes carry the plain one in their lowest byte."""


def trouble_of(error: BaseException) -> str | None:
    """Name the trouble behind an error: somebody else holds the database, or there is no room; None for any other."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.Error):
        return _SQLITE.get(getattr(original, "sqlite_errorcode", 0) & _PRIMARY)
    if isinstance(original, OSError):
        return _SYSTEM.get(original.errno or 0)
    return _POSTGRES.get(getattr(original, "sqlstate", None) or "")
