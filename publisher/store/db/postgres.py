"""PostgreSQL connections: their options, their loss, and the outcome of interrupted commits."""

import errno
import sqlite3
import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from publisher.domain.errors import PublisherError
from publisher.store.db.tables import AUDIT

CONNECT_ARGS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""A server that has vanished is noticed within seconds."""
SESSION_OPTIONS = (
    "synchronous_commit=on",
    "lock_timeout=10s",
    "idle_in_transaction_session_timeout=10s",
    "jit=off",
)
"""The options of a session.

A commit is on disk when it returns, regardless of the server's own setting. Waits for locks are
bounded. A worker that freezes inside a transaction loses it, so that others can continue. The
server would compile a claim for seconds each time, while its tables have no statistics yet: all
queries here are short.
"""
OUTAGE_SECONDS = 20.0
"""How long an interrupted write is retried before its caller gets the error."""
RETRY_SECONDS = 0.5
_UNAVAILABLE_SQLSTATES = ("08", "57P", "25P03", "25006", "53300")
"""SQLSTATE prefixes of a server that stops, starts, is a standby, is full, or ended our session."""
_CONFLICT_SQLSTATES = frozenset({"40001", "40P01", "23505"})
_UNASSIGNED_ID_SQLSTATE = "22023"
"""The SQLSTATE of a transaction id that the server never assigned.

Another server took its place, without our commit.
"""
_TRANSACTION_STATUS = select(func.pg_xact_status(text("CAST(:xid AS xid8)")))
_TRANSACTION_ID = text("SELECT CAST(pg_current_xact_id_if_assigned() AS text)")

ChainHead = tuple[int, str]
"""The number and the hash of an audit entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionId:
    """The id of a transaction that has written.

    It consists of the server's own id and the last audit entry that it wrote, if any.
    """

    xid: str
    chain_head: ChainHead | None


class CommitUnknownError(PublisherError):
    """The connection broke during a commit, and its success could not be asked of the database."""


@dataclass(slots=True)
class RetryWindow:
    """One outage of the database with retries of writes."""

    ends_at: float = field(default_factory=lambda: time.monotonic() + OUTAGE_SECONDS)

    def wait_to_retry(self) -> bool:
        """Wait before a retry. Return False after OUTAGE_SECONDS.

        The wait blocks, so only the writer's thread may call it.
        """
        if time.monotonic() >= self.ends_at:
            return False
        time.sleep(RETRY_SECONDS)
        return True


def is_connection_lost(error: BaseException) -> bool:
    """Return True if the connection broke, or none could be opened.

    The statement itself is not at fault.
    """
    original = _driver_error(error)
    if original is None:
        return False
    state = getattr(original, "sqlstate", None)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return (
        isinstance(error, OperationalError)
        if state is None
        else state.startswith(_UNAVAILABLE_SQLSTATES)
    )


def is_serialization_failure(error: BaseException) -> bool:
    """Return True if another worker was faster. A retry sees its writes."""
    return getattr(_driver_error(error), "sqlstate", None) in _CONFLICT_SQLSTATES


def _driver_error(error: BaseException) -> Any:  # noqa: ANN401 # the driver's own exception
    original = error.orig if isinstance(error, DBAPIError) else None
    return original if type(original).__module__.startswith("psycopg") else None


def read_transaction_id(
    connection: Connection, chain_head: ChainHead | None
) -> TransactionId | None:
    """Return the id of the open transaction, or None if it has not written.

    Its newest audit entry is `chain_head`.
    """
    xid = connection.scalar(_TRANSACTION_ID)
    return TransactionId(xid=xid, chain_head=chain_head) if xid is not None else None


def did_commit(engine: Engine, transaction: TransactionId) -> bool:
    """Return True if a commit succeeded after its response was lost.

    A server that takes another one's place assigns the same ids again, so the audit entry is
    checked as well. Raises CommitUnknownError if the database cannot be asked, or the transaction
    is in progress for too long.
    """
    outage = RetryWindow()
    while True:
        try:
            with engine.connect() as connection:
                status = connection.scalar(
                    _TRANSACTION_STATUS, {"xid": transaction.xid}
                )
                if status == "committed" and transaction.chain_head is not None:
                    number, digest = transaction.chain_head
                    entry = select(AUDIT.c.id).where(
                        AUDIT.c.id == number, AUDIT.c.hash == digest
                    )
                    return connection.scalar(entry) is not None
                if status != "in progress":
                    return bool(status == "committed")
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _UNASSIGNED_ID_SQLSTATE:
                return False
            if not is_connection_lost(error):
                raise
        if not outage.wait_to_retry():
            raise CommitUnknownError(transaction.xid)


DATABASE_BUSY = "database_busy"
DISK_FULL = "disk_full"
JOURNAL_UNWRITABLE = "journal_unwritable"
WRITE_ERRORS = (DATABASE_BUSY, DISK_FULL, JOURNAL_UNWRITABLE)
"""The codes of writes that fail although no operation is at fault; they are codes of alerts."""
_CODE_BY_SQLITE_ERROR = {
    sqlite3.SQLITE_BUSY: DATABASE_BUSY,
    sqlite3.SQLITE_LOCKED: DATABASE_BUSY,
    sqlite3.SQLITE_FULL: DISK_FULL,
}
_CODE_BY_SQLSTATE = {"55P03": DATABASE_BUSY, "53100": DISK_FULL}
_CODE_BY_ERRNO = {errno.ENOSPC: DISK_FULL, errno.EDQUOT: DISK_FULL}


def is_unavailable(error: BaseException) -> bool:
    """Return True if the database is away or locked, or did not confirm a commit.

    No operation is at fault then.
    """
    is_busy = write_error_code(error) == DATABASE_BUSY
    return is_busy or is_connection_lost(error) or isinstance(error, CommitUnknownError)


def write_error_code(error: BaseException) -> str | None:
    """Return the code of a write error: database locked, or disk full. None for any other error."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.Error):
        # the lowest byte of SQLite's extended code is the primary one
        return _CODE_BY_SQLITE_ERROR.get(
            getattr(original, "sqlite_errorcode", 0) & 0xFF
        )
    if isinstance(original, OSError):
        return _CODE_BY_ERRNO.get(original.errno or 0)
    return _CODE_BY_SQLSTATE.get(getattr(original, "sqlstate", None) or "")
