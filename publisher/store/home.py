"""Where a shared database lives: tables that were put back from a dump are known by their new numbers."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, insert, literal_column, select

from publisher.domain.delivery import WorkerId
from publisher.domain.errors import RefusedError
from publisher.store.rows import STAMP, WORKER
from publisher.store.shortening import KEPT_FOR

HOME = "home"
"""The stamp that names the server and the table in which the database was made, or last accepted by a person."""
COMPARED = "timeline:"
"""Begins the stamp that says with which of its servers' lives a worker has compared its journal."""
AWAITED = "awaited:"
"""Begins the stamp of a worker that has not compared its journal since an older dump was accepted."""
ALIVE = timedelta(minutes=1)
"""For so long after its last sign of life a worker is waited for, that it may compare its journal."""
HERE: ColumnElement[str] = literal_column(
    "(SELECT system_identifier FROM pg_control_system()) || '/' || 'stamp'::regclass::oid"
)


def remember_home(connection: Connection) -> None:
    """Write down where the database lives, if that was never done."""
    if connection.scalar(select(STAMP.c.key).where(STAMP.c.key == HOME)) is None:
        connection.execute(insert(STAMP).from_select(["key", "value"], select(literal_column(f"'{HOME}'"), HERE)))


def is_at_home(connection: Connection) -> bool:
    """Whether the tables are those into which everything was written, not what a dump has made of them."""
    return connection.scalar(select(STAMP.c.value == HERE).where(STAMP.c.key == HOME)) is not False


def move_in(connection: Connection, worker: WorkerId, now: datetime, *, waits_for_others: bool) -> None:
    """Accept the database where it is; every worker that may know of calls has to compare its journal again.

    Raises RefusedError while another worker lives: it goes by what was there before.
    """
    others = select(WORKER).where(WORKER.c.id != worker)
    living = others.where(WORKER.c.stopped_at.is_(None), WORKER.c.beat_at > now - ALIVE)
    if names := [row.id for row in connection.execute(living)]:
        raise RefusedError("workers_alive", workers=", ".join(sorted(names)))
    for stamp in (STAMP.c.key == HOME, STAMP.c.key.startswith(COMPARED), STAMP.c.key.startswith(AWAITED)):
        connection.execute(delete(STAMP).where(stamp))
    remember_home(connection)
    if waits_for_others:
        known = others.where(WORKER.c.beat_at > now - KEPT_FOR)  # older calls have left its journal
        rows = [{"key": f"{AWAITED}{row.id}", "value": row.id} for row in connection.execute(known)]
        if rows:
            connection.execute(insert(STAMP), rows)


def awaited(connection: Connection) -> Sequence[str]:
    """Name the workers whose journals have not been compared since an older dump was accepted."""
    return connection.scalars(select(STAMP.c.value).where(STAMP.c.key.startswith(AWAITED)).order_by(STAMP.c.key)).all()


def arrive(connection: Connection, worker: WorkerId) -> None:
    """Wait for this worker no longer."""
    connection.execute(delete(STAMP).where(STAMP.c.key == f"{AWAITED}{worker}"))
