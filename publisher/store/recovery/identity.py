"""Identity of a shared database: tables restored from a dump are recognized by their new object ids."""

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
"""Key of the server, database and table in which everything was written, or which a person accepted last."""
ACCEPTED_KEY = "accepted_until"
"""Key of the instant up to which an accepted database knows what was sent; kept until a person resumes."""
COMPARE_TIMEOUT = timedelta(minutes=1)
"""How long after its last heartbeat a worker is waited for, so that it can compare its journal."""
CURRENT_IDENTITY: ColumnElement[str] = literal_column(
    "(SELECT system_identifier FROM pg_control_system())"
    " || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())"
    " || '/' || 'database_info'::regclass::oid"
)


def store_identity(connection: Connection) -> None:
    """Store the identity of this database; for a new one the migrations do it."""
    connection.execute(
        insert(DATABASE_INFO).from_select(["key", "value"], select(literal(IDENTITY_KEY), CURRENT_IDENTITY))
    )


def stored_identity(connection: Connection) -> str | None:
    """Return the stored identity of the database."""
    return connection.scalar(select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == IDENTITY_KEY))


def current_identity(connection: Connection) -> str:
    """Return the identity of the server, database and table of this connection."""
    identity: str = connection.execute(select(CURRENT_IDENTITY)).scalar_one()
    return identity


def is_original_database(database: Database, connection: Connection) -> bool:
    """Return True if these are the tables into which everything was written, and on which this process was started.

    After a dump was restored they are not, until a person accepts it; for a process that survives that, never again.
    """
    if not database.is_shared:
        return True
    is_original = DATABASE_INFO.c.value == CURRENT_IDENTITY
    if database.expected_identity is not None:
        is_original = and_(is_original, DATABASE_INFO.c.value == database.expected_identity)
    return connection.scalar(select(is_original).where(DATABASE_INFO.c.key == IDENTITY_KEY)) is True


async def can_plan(database: Database) -> bool:
    """Return True if the plan may change: no worker may still report attempts of what would be cancelled or planned."""

    def is_settled(connection: Connection) -> bool:
        return is_original_database(database, connection) and not workers_to_compare(connection)

    return not database.is_shared or await database.read(is_settled)


def accept_restored(
    transaction: Transaction, worker: WorkerId, now: datetime, known_until: datetime, *, awaits_others: bool
) -> None:
    """Accept a restored database; every worker that may know of later attempts has to compare its journal again.

    Raises RefusedError while another worker is alive: it still acts on the previous contents.
    """
    connection, others = transaction.connection, select(WORKER.c.id).where(WORKER.c.id != worker).order_by(WORKER.c.id)
    alive = others.where(WORKER.c.stopped_at.is_(None), WORKER.c.heartbeat_at > now - COMPARE_TIMEOUT)
    if names := connection.scalars(alive).all():
        raise RefusedError("workers_running", workers=", ".join(names))
    for name in workers_to_compare(connection):
        clear_alerts(transaction, f"worker:{name}", now)
    connection.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key.in_([IDENTITY_KEY, ACCEPTED_KEY])))
    connection.execute(update(WORKER_STATE).values(compared_timeline=None, is_comparison_pending=False))
    store_identity(connection)
    # journals keep no attempts that are older than their retention
    with_journal = others.where(WORKER.c.heartbeat_at > known_until - JOURNAL_RETENTION)
    for name in connection.scalars(with_journal).all() if awaits_others else ():
        set_worker_state(connection, WorkerId(name), is_comparison_pending=True)
        raise_alert(transaction, now, "waiting_for_journal", f"worker:{name}", {"worker": name})
    connection.execute(insert(DATABASE_INFO).values(key=ACCEPTED_KEY, value=known_until.isoformat()))


def workers_to_compare(connection: Connection) -> Sequence[str]:
    """Return the workers whose journals have not been compared since an older database was accepted."""
    pending = select(WORKER_STATE.c.worker).where(WORKER_STATE.c.is_comparison_pending)
    return connection.scalars(pending.order_by(WORKER_STATE.c.worker)).all()


def accepted_until(connection: Connection) -> datetime | None:
    """Return up to when an accepted database knows what was sent; None once a person has resumed."""
    written = connection.scalar(select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == ACCEPTED_KEY))
    return datetime.fromisoformat(written) if written else None


def mark_compared(transaction: Transaction, worker: WorkerId, now: datetime) -> None:
    """Record that this worker has compared its journal."""
    set_worker_state(transaction.connection, worker, is_comparison_pending=False)
    clear_alerts(transaction, f"worker:{worker}", now)


def set_worker_state(connection: Connection, worker: WorkerId, **values: object) -> None:
    """Update columns of a worker's state, or insert them."""
    written = connection.execute(update(WORKER_STATE).where(WORKER_STATE.c.worker == worker).values(values))
    if not written.rowcount:
        connection.execute(insert(WORKER_STATE).values(worker=worker, **values))


def clear_acceptance(connection: Connection) -> None:
    """Forget that the database was accepted, as a person has resumed."""
    connection.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key == ACCEPTED_KEY))
