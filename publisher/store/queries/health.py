"""The watchdog's reads, without the store: the last daemon write, and unattended deliveries."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import Delivery, DesiredState, State, WorkerId
from publisher.store.db.database import open_read_only_engine
from publisher.store.db.filters import (
    in_open_state,
    is_in_cooldown,
    is_paused,
    is_switched_off,
    original_is_published,
)
from publisher.store.db.tables import ATTEMPT, DELIVERY, LOGIN, WORKER, read_deliveries

SEND_GRACE = timedelta(minutes=2)
"""The time in which a call that nothing keeps waiting has begun, and ended.

It counts from the call's due time, and is ample.
"""
CHECK_GRACE = timedelta(minutes=15)
"""A read of an account may wait for other reads of its login."""
_LAST_WRITE = func.max(
    func.coalesce(WORKER.c.stopped_at, WORKER.c.heartbeat_at),
    type_=WORKER.c.heartbeat_at.type,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReading:
    """The last daemon heartbeat, None if there is none, and the stuck deliveries.

    The stuck deliveries stand still, earliest first.
    """

    heartbeat_at: datetime | None
    stuck: Sequence[Delivery]


def read_health(
    url: str, worker: WorkerId, accounts: Collection[AccountId], now: datetime
) -> HealthReading:
    """Read the database. Changes nothing. Raises DBAPIError where it cannot be read.

    The heartbeat is that of this worker, or, where it has never run, of any. Only deliveries on
    `accounts` count.
    """
    engine = open_read_only_engine(url)
    try:
        with engine.connect() as connection:
            own = connection.scalar(select(_LAST_WRITE).where(WORKER.c.id == worker))
            heartbeat_at = own or connection.scalar(select(_LAST_WRITE))
            stuck = [
                item
                for item in _read_stuck(connection, now)
                if item.account in accounts
            ]
            return HealthReading(heartbeat_at=heartbeat_at, stuck=stuck)
    finally:
        engine.dispose()


def _read_stuck(connection: Connection, now: datetime) -> Sequence[Delivery]:
    """Return the deliveries that a daemon would have continued, and that nothing keeps waiting."""
    should_be_sent, should_be_checked = now - SEND_GRACE, now - CHECK_GRACE
    is_idle = ~exists().where(
        ATTEMPT.c.login == DELIVERY.c.login, ATTEMPT.c.intended_at > should_be_sent
    )
    was_readable = ~exists().where(
        LOGIN.c.id == DELIVERY.c.login, LOGIN.c.reads_cooldown_until > should_be_checked
    )
    is_stuck: ColumnElement[bool] = or_(
        and_(
            in_open_state(DELIVERY, State.PENDING, State.RETRYING),
            DELIVERY.c.next_action_at <= should_be_sent,
        ),
        and_(
            in_open_state(DELIVERY, State.CLAIMED, State.SENDING),
            DELIVERY.c.lease_until <= should_be_sent,
        ),
        and_(
            in_open_state(DELIVERY, State.DUE),
            DELIVERY.c.desired == DesiredState.AS_PLANNED.value,
            DELIVERY.c.due_at <= should_be_sent,
            or_(
                DELIVERY.c.next_action_at.is_(None),
                DELIVERY.c.next_action_at <= should_be_sent,
            ),
            is_idle,
            ~is_in_cooldown(should_be_sent),
            ~is_paused(DELIVERY),
            original_is_published(DELIVERY),
        ),
        and_(
            in_open_state(DELIVERY, State.SUBMITTED, State.UNKNOWN, State.RETRACTING),
            DELIVERY.c.next_action_at <= should_be_checked,
            was_readable,
        ),
    )
    query = select(DELIVERY).where(is_stuck, ~is_switched_off(DELIVERY))
    return read_deliveries(connection, query.order_by(DELIVERY.c.due_at, DELIVERY.c.id))
