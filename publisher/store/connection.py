"""PostgreSQL's connections: how they are opened, when they count as lost, and what became of a commit cut off."""

import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from publisher.domain.errors import PublisherError
from publisher.store.rows import AUDIT

LINK = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""A server that is gone without a word is missed after seconds."""
SESSION = ("synchronous_commit=on", "lock_timeout=10s", "idle_in_transaction_session_timeout=10s")
"""A commit is on disk when it returns, whatever the server's own setting; a wait for others is bounded; and a worker
that freezes inside a transaction loses it, so that others can go on."""
OUTAGE = 20.0
"""Seconds for which what was cut off is tried again before those who ordered it are told."""
PAUSE = 0.5
_AWAY = ("08", "57P", "25P03", "25006", "53300")
"""SQL states of a server that stops, starts, stands by, is full, or has ended our session."""
_CLASHES = frozenset({"40001", "40P01", "23505"})
_FUTURE = "22023"
"""The server says so of a transaction that it has never had: another one has taken its place, without our commit."""
_FATE = select(func.pg_xact_status(text("CAST(:mark AS xid8)")))
_MARK = text("SELECT CAST(pg_current_xact_id_if_assigned() AS text)")
_THERE = select(AUDIT.c.id).where(AUDIT.c.id == bindparam("number"), AUDIT.c.hash == bindparam("hash"))

Head = tuple[int, str]
"""The number and the hash of an entry of the audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """By what the end of a transaction can be asked for.

    It is the server's own number of one that has written something, and the last entry it wrote into the audit, if any.
    """

    number: str
    head: Head | None


class CommitUnknownError(PublisherError):
    """The connection broke while a commit was under way, and the database could not be asked what became of it."""


@dataclass(slots=True)
class Outage:
    """One stretch without the database."""

    ends_at: float = field(default_factory=lambda: time.monotonic() + OUTAGE)

    def waits(self) -> bool:
        """Wait a little; False when it has lasted too long. Only the writer's thread waits here."""
        if time.monotonic() >= self.ends_at:
            return False
        time.sleep(PAUSE)
        return True


def is_lost(error: BaseException) -> bool:
    """Whether the connection broke, or none was to be had: nothing is wrong with what was asked."""
    original = _original(error)
    if original is None:
        return False
    state = getattr(original, "sqlstate", None)
    is_cut = isinstance(error, DBAPIError) and error.connection_invalidated
    return is_cut or (state is None and isinstance(error, OperationalError)) or _is_away(state)


def _is_away(state: str | None) -> bool:
    return state is not None and state.startswith(_AWAY)


def is_clash(error: BaseException) -> bool:
    """Whether another worker was faster: the same may be asked again, and sees what the other has done."""
    return getattr(_original(error), "sqlstate", None) in _CLASHES


def _original(error: BaseException) -> Any:  # noqa: ANN401 # the driver's own exception
    original = error.orig if isinstance(error, DBAPIError) else None
    return original if type(original).__module__.startswith("psycopg") else None


def mark_of(connection: Connection, head: Head | None) -> Mark | None:
    """Mark the transaction, which has written that head of the audit; None when it has written nothing at all."""
    number = connection.scalar(_MARK)
    return Mark(number=number, head=head) if number is not None else None


def was_committed(engine: Engine, mark: Mark) -> bool:
    """Read back what became of a commit whose answer was lost.

    Numbers are given anew by a server that takes another one's place, so what was written is looked for as well.
    Raises CommitUnknownError when the database cannot be asked, or is still at it, for too long.
    """
    outage = Outage()
    while True:
        try:
            with engine.connect() as connection:
                fate = connection.scalar(_FATE, {"mark": mark.number})
                if fate != "in progress":
                    return fate == "committed" and _is_there(connection, mark.head)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _FUTURE:
                return False
            if not is_lost(error):
                raise
        if not outage.waits():
            raise CommitUnknownError(mark.number)


def _is_there(connection: Connection, head: Head | None) -> bool:
    return head is None or connection.scalar(_THERE, {"number": head[0], "hash": head[1]}) is not None
