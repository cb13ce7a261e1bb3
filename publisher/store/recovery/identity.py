"""Where a shared database lives: tables that were put back from a dump are known by their new numbers."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, literal, literal_column, select, update

from publisher.domain.delivery import WorkerId
from publisher.domain.errors import RefusedError
from publisher.store.audit.append import clear_alerts, raise_alert
from publisher.store.db.database import Database, Transaction
from publisher.store.db.mappers import DATABASE_INFO, WORKER, WORKER_STATE
from publisher.store.recovery.journal_compaction import JOURNAL_RETENTION

IDENTITY_KEY = "database_identity"
"""The key that names the server, database and table in which all was written, or which a person has accepted last."""
ACCEPTED_KEY = "accepted_until"
"""The key that says up to when a database that was accepted knew what was sent; it stands until a person resumes."""
COMPARE_TIMEOUT = timedelta(minutes=1)
"""For so long after its last sign of life a worker is waited for, that it may compare its journal."""
CURRENT_IDENTITY: ColumnElement[str] = literal_column(
    "(SELECT system_identifier FROM pg_control_system())"
    " || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())"
    " || '/' || 'database_info'::regclass::oid"
)


def store_identity(connection: Connection) -> None:
    """Write down where the database lives, which its migrations do for a new one."""
    connection.execute(
        insert(DATABASE_INFO).from_select(["key", "value"], select(literal(IDENTITY_KEY), CURRENT_IDENTITY))
    )


def stored_identity(connection: Connection) -> str | None:
    """Name where the database says that it lives."""
    return connection.scalar(select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == IDENTITY_KEY))


def current_identity(connection: Connection) -> str:
    """Name the server, the database and the table that this connection sees."""
    found: str = connection.execute(select(CURRENT_IDENTITY)).scalar_one()
    return found


def is_original_database(database: Database, connection: Connection) -> bool:
    """Whether the tables are those into which everything was written, and on which this process was started.

    They are not where a dump was put back, until a person accepts it; never again for a process that has outlived that.
    """
    if not database.is_shared:
        return True
    is_home = DATABASE_INFO.c.value == CURRENT_IDENTITY
    if database.expected_identity is not None:
        is_home = and_(is_home, DATABASE_INFO.c.value == database.expected_identity)
    return connection.scalar(select(is_home).where(DATABASE_INFO.c.key == IDENTITY_KEY)) is True


async def can_plan(database: Database) -> bool:
    """Whether the plan may change: not while a worker may come with calls for what would be ended or filed anew."""

    def query(connection: Connection) -> bool:
        return is_original_database(database, connection) and not workers_to_compare(connection)

    return not database.is_shared or await database.read(query)


def accept_restored(
    transaction: Transaction, worker: WorkerId, now: datetime, known_until: datetime, *, awaits_others: bool
) -> None:
    """Accept the database where it is; every worker that may know of later calls has to compare its journal again.

    Raises RefusedError while another worker lives: it goes by what was there before.
    """
    connection, others = transaction.connection, select(WORKER.c.id).where(WORKER.c.id != worker).order_by(WORKER.c.id)
    living = others.where(WORKER.c.stopped_at.is_(None), WORKER.c.heartbeat_at > now - COMPARE_TIMEOUT)
    if names := connection.scalars(living).all():
        raise RefusedError("workers_running", workers=", ".join(names))
    for name in workers_to_compare(connection):
        clear_alerts(transaction, _worker_subject(name), now)
    connection.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key.in_([IDENTITY_KEY, ACCEPTED_KEY])))
    connection.execute(update(WORKER_STATE).values(compared_timeline=None, is_comparison_pending=False))
    store_identity(connection)
    known = others.where(WORKER.c.heartbeat_at > known_until - JOURNAL_RETENTION)  # older calls have left its journal
    for name in connection.scalars(known).all() if awaits_others else ():
        set_worker_state(connection, WorkerId(name), is_comparison_pending=True)
        raise_alert(transaction, now, "waiting_for_journal", _worker_subject(name), {"worker": name})
    connection.execute(insert(DATABASE_INFO).values(key=ACCEPTED_KEY, value=known_until.isoformat()))


def workers_to_compare(connection: Connection) -> Sequence[str]:
    """Name the workers whose journals have not been compared since an older database was accepted."""
    waited_for = select(WORKER_STATE.c.worker).where(WORKER_STATE.c.is_comparison_pending)
    return connection.scalars(waited_for.order_by(WORKER_STATE.c.worker)).all()


def accepted_until(connection: Connection) -> datetime | None:
    """Give up to when an accepted database knew what was sent; None where a person has resumed since."""
    written = connection.scalar(select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == ACCEPTED_KEY))
    return datetime.fromisoformat(written) if written else None


def mark_compared(transaction: Transaction, worker: WorkerId, now: datetime) -> None:
    """Wait for this worker no longer."""
    set_worker_state(transaction.connection, worker, is_comparison_pending=False)
    clear_alerts(transaction, _worker_subject(worker), now)


def set_worker_state(connection: Connection, worker: WorkerId, **values: object) -> None:
    """Write columns of a worker's state, whether it has any yet or not."""
    written = connection.execute(update(WORKER_STATE).where(WORKER_STATE.c.worker == worker).values(values))
    if not written.rowcount:
        connection.execute(insert(WORKER_STATE).values(worker=worker, **values))


def clear_acceptance(connection: Connection) -> None:
    """Forget that the database was accepted: a person has let it go on."""
    connection.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key == ACCEPTED_KEY))


def _worker_subject(worker: str) -> str:
    return f"worker:{worker}"
