"""Where a shared database lives: tables that were put back from a dump are known by their new numbers."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, insert, literal, literal_column, select

from publisher.domain.delivery import WorkerId
from publisher.domain.errors import RefusedError
from publisher.store.engine import Unit
from publisher.store.ledger import clear_alerts, tell
from publisher.store.rows import STAMP, WORKER
from publisher.store.shortening import KEPT_FOR

HOME = "home"
"""The stamp that names the server, database and table in which all was written, or which a person has accepted last."""
COMPARED = "timeline:"
"""Begins the stamp that says with which of its servers' lives a worker has compared its journal."""
AWAITED = "awaited:"
"""Begins the stamp of a worker that has not compared its journal since an older database was accepted."""
ACCEPTED = "accepted"
"""The stamp that says up to when the accepted database knew what was sent, while workers are awaited."""
ALIVE = timedelta(minutes=1)
"""For so long after its last sign of life a worker is waited for, that it may compare its journal."""
HERE: ColumnElement[str] = literal_column(
    "(SELECT system_identifier FROM pg_control_system())"
    " || '/' || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || 'stamp'::regclass::oid"
)


def remember_home(connection: Connection) -> None:
    """Write down where the database lives, which its migrations do for a new one."""
    connection.execute(insert(STAMP).from_select(["key", "value"], select(literal(HOME), HERE)))


def is_at_home(connection: Connection) -> bool:
    """Whether the tables are those into which everything was written, not what a dump has made of them."""
    return connection.scalar(select(STAMP.c.value == HERE).where(STAMP.c.key == HOME)) is True


def move_in(unit: Unit, worker: WorkerId, now: datetime, begins_at: datetime, *, waits_for_others: bool) -> None:
    """Accept the database where it is; every worker that may know of later calls has to compare its journal again.

    Raises RefusedError while another worker lives: it goes by what was there before.
    """
    connection, others = unit.connection, select(WORKER.c.id).where(WORKER.c.id != worker).order_by(WORKER.c.id)
    living = others.where(WORKER.c.stopped_at.is_(None), WORKER.c.beat_at > now - ALIVE)
    if names := connection.scalars(living).all():
        raise RefusedError("workers_alive", workers=", ".join(names))
    for name in awaited(connection):
        clear_alerts(unit, _subject(name), now)
    outdated = STAMP.c.key.in_([HOME, ACCEPTED]) | STAMP.c.key.startswith(COMPARED) | STAMP.c.key.startswith(AWAITED)
    connection.execute(delete(STAMP).where(outdated))
    remember_home(connection)
    known = others.where(WORKER.c.beat_at > begins_at - KEPT_FOR)  # older calls have left its journal
    for name in connection.scalars(known).all() if waits_for_others else ():
        connection.execute(insert(STAMP).values(key=f"{AWAITED}{name}", value=name))
        tell(unit, now, "journal_awaited", _subject(name), {"worker": name})
    if awaited(connection):
        connection.execute(insert(STAMP).values(key=ACCEPTED, value=begins_at.isoformat()))


def awaited(connection: Connection) -> Sequence[str]:
    """Name the workers whose journals have not been compared since an older database was accepted."""
    return connection.scalars(select(STAMP.c.value).where(STAMP.c.key.startswith(AWAITED)).order_by(STAMP.c.key)).all()


def accepted_until(connection: Connection) -> datetime | None:
    """Give up to when the accepted database knew what was sent; None where no worker is awaited any more."""
    written = connection.scalar(select(STAMP.c.value).where(STAMP.c.key == ACCEPTED))
    return datetime.fromisoformat(written) if written else None


def arrive(unit: Unit, worker: WorkerId, now: datetime) -> None:
    """Wait for this worker no longer."""
    unit.connection.execute(delete(STAMP).where(STAMP.c.key == f"{AWAITED}{worker}"))
    clear_alerts(unit, _subject(worker), now)
    if not awaited(unit.connection):
        unit.connection.execute(delete(STAMP).where(STAMP.c.key == ACCEPTED))


def _subject(worker: str) -> str:
    return f"worker:{worker}"
