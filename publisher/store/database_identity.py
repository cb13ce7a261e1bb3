"""The identity of the database, and the workers that must still compare their journals with it.

Tables restored from a dump are recognized by their identity. It is made of their object ids.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    insert,
    literal,
    literal_column,
    select,
)

from publisher.domain.delivery import (
    WorkerId,
)
from publisher.store.db.database import Database, Transaction
from publisher.store.db.rows import (
    write_row,
)
from publisher.store.db.tables import (
    DATABASE_INFO,
    WORKER_STATE,
)

IDENTITY_KEY = "database_identity"
"""The key of the server, database and table that hold everything, or were accepted last.

A person accepts them.
"""


ACCEPTED_KEY = "accepted_until"
"""The key of the instant up to which an accepted database knows the sent posts.

It is kept until a person resumes.
"""


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
        insert(DATABASE_INFO).from_select(
            ["key", "value"], select(literal(IDENTITY_KEY), CURRENT_IDENTITY)
        )
    )


def stored_identity(connection: Connection) -> str | None:
    """Return the stored identity of the database."""
    return connection.scalar(
        select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == IDENTITY_KEY)
    )


def current_identity(connection: Connection) -> str:
    """Return the identity of the server, database and table of this connection."""
    identity: str = connection.execute(select(CURRENT_IDENTITY)).scalar_one()
    return identity


def is_original_database(database: Database, connection: Connection) -> bool:
    """Return True if these are the original tables, and this process was started on them.

    Everything was written into the original tables. After a dump was restored they are not
    original, until a person accepts it. For a process that survives that, they never are again.
    """
    if not database.is_shared:
        return True
    is_original = DATABASE_INFO.c.value == CURRENT_IDENTITY
    if database.expected_identity is not None:
        is_original = and_(
            is_original, DATABASE_INFO.c.value == database.expected_identity
        )
    return (
        connection.scalar(
            select(is_original).where(DATABASE_INFO.c.key == IDENTITY_KEY)
        )
        is True
    )


async def can_plan(database: Database) -> bool:
    """Return True if the plan may change.

    No worker may still report attempts of deliveries that would be cancelled or planned.
    """

    def is_settled(connection: Connection) -> bool:
        return is_original_database(database, connection) and not workers_to_compare(
            connection
        )

    return not database.is_shared or await database.read(is_settled)


def workers_to_compare(connection: Connection) -> Sequence[str]:
    """Return the workers with uncompared journals since an older database was accepted."""
    pending = select(WORKER_STATE.c.worker).where(WORKER_STATE.c.is_comparison_pending)
    return connection.scalars(pending.order_by(WORKER_STATE.c.worker)).all()


def accepted_until(connection: Connection) -> datetime | None:
    """Return the instant up to which an accepted database knows the sent posts.

    Return None once a person has resumed.
    """
    written = connection.scalar(
        select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == ACCEPTED_KEY)
    )
    return datetime.fromisoformat(written) if written else None


def set_worker_state(
    transaction: Transaction, /, worker: WorkerId, **values: object
) -> None:
    """Update columns of a worker's state, or insert them."""
    write_row(transaction.connection, WORKER_STATE, {"worker": worker}, values)


def clear_acceptance(connection: Connection) -> None:
    """Forget that the database was accepted, as a person has resumed."""
    connection.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key == ACCEPTED_KEY))
