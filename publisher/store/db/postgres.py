"""PostgreSQL's connections: how they are opened, when they count as lost, and what became of a commit cut off."""

import errno
import sqlite3
import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from publisher.domain.errors import PublisherError
from publisher.store.db.mappers import AUDIT

CONNECT_ARGS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""A server that is gone without a word is missed after seconds."""
SESSION_OPTIONS = ("synchronous_commit=on", "lock_timeout=10s", "idle_in_transaction_session_timeout=10s")
"""A commit is on disk when it returns, whatever the server's own setting; a wait for others is bounded; and a worker
that freezes inside a transaction loses it, so that others can go on."""
OUTAGE_SECONDS = 20.0
"""Seconds for which what was cut off is tried again before those who ordered it are told."""
RETRY_SECONDS = 0.5
_UNAVAILABLE_SQLSTATES = ("08", "57P", "25P03", "25006", "53300")
"""SQL states of a server that stops, starts, stands by, is full, or has ended our session."""
_CONFLICT_SQLSTATES = frozenset({"40001", "40P01", "23505"})
_UNASSIGNED_ID_SQLSTATE = "22023"
"""The server says so of a transaction that it has never had: another one has taken its place, without our commit."""
_TRANSACTION_STATUS = select(func.pg_xact_status(text("CAST(:mark AS xid8)")))
_TRANSACTION_ID = text("SELECT CAST(pg_current_xact_id_if_assigned() AS text)")
_AUDIT_ENTRY = select(AUDIT.c.id).where(AUDIT.c.id == bindparam("number"), AUDIT.c.hash == bindparam("hash"))

ChainHead = tuple[int, str]
"""The number and the hash of an entry of the audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionId:
    """By what the end of a transaction can be asked for.

    It is the server's own number of one that has written something, and the last entry it wrote into the audit, if any.
    """

    xid: str
    chain_head: ChainHead | None


class CommitUnknownError(PublisherError):
    """The connection broke while a commit was under way, and the database could not be asked what became of it."""


@dataclass(slots=True)
class RetryWindow:
    """One stretch without the database."""

    ends_at: float = field(default_factory=lambda: time.monotonic() + OUTAGE_SECONDS)

    def wait_to_retry(self) -> bool:
        """Wait a little; False when it has lasted too long. Only the writer's thread waits here."""
        if time.monotonic() >= self.ends_at:
            return False
        time.sleep(RETRY_SECONDS)
        return True


def is_connection_lost(error: BaseException) -> bool:
    """Whether the connection broke, or none was to be had: nothing is wrong with what was asked."""
    original = _driver_error(error)
    if original is None:
        return False
    state = getattr(original, "sqlstate", None)
    is_cut = isinstance(error, DBAPIError) and error.connection_invalidated
    return is_cut or (state is None and isinstance(error, OperationalError)) or _is_unavailable(state)


def _is_unavailable(state: str | None) -> bool:
    return state is not None and state.startswith(_UNAVAILABLE_SQLSTATES)


def is_serialization_failure(error: BaseException) -> bool:
    """Whether another worker was faster: the same may be asked again, and sees what the other has done."""
    return getattr(_driver_error(error), "sqlstate", None) in _CONFLICT_SQLSTATES


def _driver_error(error: BaseException) -> Any:  # noqa: ANN401 # the driver's own exception
    original = error.orig if isinstance(error, DBAPIError) else None
    return original if type(original).__module__.startswith("psycopg") else None


def read_transaction_id(connection: Connection, chain_head: ChainHead | None) -> TransactionId | None:
    """Mark the transaction, which has written that head of the audit; None when it has written nothing at all."""
    number = connection.scalar(_TRANSACTION_ID)
    return TransactionId(xid=number, chain_head=chain_head) if number is not None else None


def did_commit(engine: Engine, transaction: TransactionId) -> bool:
    """Read back what became of a commit whose answer was lost.

    Numbers are given anew by a server that takes another one's place, so what was written is looked for as well.
    Raises CommitUnknownError when the database cannot be asked, or is still at it, for too long.
    """
    outage = RetryWindow()
    while True:
        try:
            with engine.connect() as connection:
                fate = connection.scalar(_TRANSACTION_STATUS, {"mark": transaction.xid})
                if fate != "in progress":
                    return fate == "committed" and _has_audit_entry(connection, transaction.chain_head)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _UNASSIGNED_ID_SQLSTATE:
                return False
            if not is_connection_lost(error):
                raise
        if not outage.wait_to_retry():
            raise CommitUnknownError(transaction.xid)


def _has_audit_entry(connection: Connection, chain_head: ChainHead | None) -> bool:
    return (
        chain_head is None
        or connection.scalar(_AUDIT_ENTRY, {"number": chain_head[0], "hash": chain_head[1]}) is not None
    )


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
