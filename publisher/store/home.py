"""Where a shared database lives: tables that were put back from a dump are known by their new numbers."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, literal, literal_column, select, update

from publisher.domain.delivery import WorkerId
from publisher.domain.errors import RefusedError
from publisher.store.engine import Database, Unit
from publisher.store.ledger import clear_alerts, tell
from publisher.store.rows import DATABASE_INFO, WORKER, WORKER_STATE
from publisher.store.shortening import KEPT_FOR

HOME = "home"
"""The key that names the server, database and table in which all was written, or which a person has accepted last."""
ACCEPTED = "accepted"
"""The key that says up to when a database that was accepted knew what was sent; it stands until a person resumes."""
AWAITED_FOR = timedelta(minutes=1)
"""For so long after its last sign of life a worker is waited for, that it may compare its journal."""
HERE: ColumnElement[str] = literal_column(
    "(SELECT system_identifier FROM pg_control_system())"
    " || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())"
    " || '/' || 'database_info'::regclass::oid"
)


def remember_home(connection: Connection) -> None:
    """Write down where the database lives, which its migrations do for a new one."""
    connection.execute(insert(DATABASE_INFO).from_select(["key", "value"], select(literal(HOME), HERE)))


def home_of(connection: Connection) -> str | None:
    """Name where the database says that it lives."""
    return connection.scalar(select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == HOME))


def here(connection: Connection) -> str:
    """Name the server, the database and the table that this connection sees."""
    found: str = connection.execute(select(HERE)).scalar_one()
    return found


def is_at_home(database: Database, connection: Connection) -> bool:
    """Whether the tables are those into which everything was written, and on which this process was started.

    They are not where a dump was put back, until a person accepts it; never again for a process that has outlived that.
    """
    if not database.is_shared:
        return True
    is_home = DATABASE_INFO.c.value == HERE
    if database.home is not None:
        is_home = and_(is_home, DATABASE_INFO.c.value == database.home)
    return connection.scalar(select(is_home).where(DATABASE_INFO.c.key == HOME)) is True


async def may_plan(database: Database) -> bool:
    """Whether the plan may change: not while a worker may come with calls for what would be ended or filed anew."""

    def query(connection: Connection) -> bool:
        return is_at_home(database, connection) and not awaited(connection)

    return not database.is_shared or await database.read(query)


def move_in(unit: Unit, worker: WorkerId, now: datetime, begins_at: datetime, *, waits_for_others: bool) -> None:
    """Accept the database where it is; every worker that may know of later calls has to compare its journal again.

    Raises RefusedError while another worker lives: it goes by what was there before.
    """
    connection, others = unit.connection, select(WORKER.c.id).where(WORKER.c.id != worker).order_by(WORKER.c.id)
    living = others.where(WORKER.c.stopped_at.is_(None), WORKER.c.beat_at > now - AWAITED_FOR)
    if names := connection.scalars(living).all():
        raise RefusedError("workers_alive", workers=", ".join(names))
    for name in awaited(connection):
        clear_alerts(unit, _subject(name), now)
    connection.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key.in_([HOME, ACCEPTED])))
    connection.execute(update(WORKER_STATE).values(compared_timeline=None, is_awaited=False))
    remember_home(connection)
    known = others.where(WORKER.c.beat_at > begins_at - KEPT_FOR)  # older calls have left its journal
    for name in connection.scalars(known).all() if waits_for_others else ():
        set_worker_state(connection, WorkerId(name), is_awaited=True)
        tell(unit, now, "journal_awaited", _subject(name), {"worker": name})
    connection.execute(insert(DATABASE_INFO).values(key=ACCEPTED, value=begins_at.isoformat()))


def awaited(connection: Connection) -> Sequence[str]:
    """Name the workers whose journals have not been compared since an older database was accepted."""
    waited_for = select(WORKER_STATE.c.worker).where(WORKER_STATE.c.is_awaited)
    return connection.scalars(waited_for.order_by(WORKER_STATE.c.worker)).all()


def accepted_until(connection: Connection) -> datetime | None:
    """Give up to when an accepted database knew what was sent; None where a person has resumed since."""
    written = connection.scalar(select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == ACCEPTED))
    return datetime.fromisoformat(written) if written else None


def arrive(unit: Unit, worker: WorkerId, now: datetime) -> None:
    """Wait for this worker no longer."""
    set_worker_state(unit.connection, worker, is_awaited=False)
    clear_alerts(unit, _subject(worker), now)


def set_worker_state(connection: Connection, worker: WorkerId, **values: object) -> None:
    """Write columns of a worker's state, whether it has any yet or not."""
    written = connection.execute(update(WORKER_STATE).where(WORKER_STATE.c.worker == worker).values(values))
    if not written.rowcount:
        connection.execute(insert(WORKER_STATE).values(worker=worker, **values))


def go_on(connection: Connection) -> None:
    """Forget that the database was accepted: a person has let it go on."""
    connection.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key == ACCEPTED))


def _subject(worker: str) -> str:
    return f"worker:{worker}"
