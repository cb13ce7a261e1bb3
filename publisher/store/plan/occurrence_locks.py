"""Locks of occurrences: a call of another host has begun before them, or waits for their end."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, or_, select

from publisher.domain.errors import RefusedError
from publisher.domain.post import OccurrenceKey
from publisher.domain.results import RESULT_CODES, NotSent
from publisher.store.db.database import Transaction
from publisher.store.db.rows import clear_alerts
from publisher.store.db.tables import ATTEMPT, DELIVERY
from publisher.store.plan.batches import RenderedOccurrence
from publisher.store.system_alerts import OUTDATED_PREFIX

STARTED_ATTEMPTS = (
    select(ATTEMPT.c.id)
    .join(DELIVERY, DELIVERY.c.id == ATTEMPT.c.delivery)
    .where(or_(ATTEMPT.c.outcome.is_(None), ATTEMPT.c.outcome != RESULT_CODES[NotSent]))
    .limit(1)
)
"""Attempts with a creating call that has begun, or may have."""


def lock_occurrence(
    connection: Connection, key: OccurrenceKey
) -> tuple[Mapping[str, RowMapping], bool]:
    """Lock an occurrence. Return its rows by account, and True if a creating call has begun.

    It is also True if such a call may have begun.
    """
    matches_key = (DELIVERY.c.post == key.post, DELIVERY.c.occurrence == key.occurrence)
    locked = (
        select(DELIVERY).where(*matches_key).order_by(DELIVERY.c.id).with_for_update()
    )
    rows = {row["account"]: row for row in connection.execute(locked).mappings()}
    return rows, connection.execute(
        STARTED_ATTEMPTS.where(*matches_key)
    ).first() is not None


def require_unstarted(
    transaction: Transaction, rendered: Sequence[RenderedOccurrence], now: datetime
) -> None:
    """Lock the deliveries of these occurrences.

    Raises RefusedError if a call has begun, or may have. The alerts about their outdated texts end.
    """
    for item in rendered:
        key = item.planned.occurrence.key
        is_of_key = (
            DELIVERY.c.post == key.post,
            DELIVERY.c.occurrence == key.occurrence,
        )
        locked = (
            select(DELIVERY.c.id)
            .where(*is_of_key)
            .order_by(DELIVERY.c.id)
            .with_for_update()
        )
        transaction.connection.execute(locked).all()
        if (
            transaction.connection.execute(STARTED_ATTEMPTS.where(*is_of_key)).first()
            is not None
        ):
            raise RefusedError("refresh_after_call", post=key.post)
        clear_alerts(transaction, f"{OUTDATED_PREFIX}{key.post}", now)
