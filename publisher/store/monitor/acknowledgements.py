"""Acknowledgements that expire, so that an alert whose cause lasts is not forgotten."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select, update

from publisher.domain.alert_classes import classify
from publisher.store.base import StorePart
from publisher.store.db.alert_tables import ALERT, IS_ACKNOWLEDGED
from publisher.store.db.database import Transaction

_ACKNOWLEDGED = select(ALERT.c.id, ALERT.c.code, ALERT.c.dismissed_at).where(
    ALERT.c.cleared_at.is_(None), IS_ACKNOWLEDGED
)


class Acknowledgements(StorePart):
    """The acknowledgements of the open alerts, by the command and by the dashboard."""

    async def expire(self) -> int:
        """Show the alerts again that outlast their acknowledgement. Return the number.

        People are notified of them again. Nothing changes while the clock is not confirmed.
        """
        now = self.runtime.now_if_confirmed()
        if now is None or not await self.database.read(find_expired, now):
            return 0
        return await self.database.write(return_expired, now)


def find_expired(connection: Connection, now: datetime) -> Collection[int]:
    """Return the open alerts with an acknowledgement that has lasted for its period."""
    found = []
    for row in connection.execute(_ACKNOWLEDGED):
        period = classify(row.code).acknowledgement_period
        if period is not None and row.dismissed_at + period <= now:
            found.append(row.id)
    return found


def return_expired(transaction: Transaction, now: datetime) -> int:
    expired = find_expired(transaction.connection, now)
    values = {"returned_at": now, "noticed_at": None}
    returned = (
        update(ALERT).where(ALERT.c.id.in_(expired), IS_ACKNOWLEDGED).values(values)
    )
    return transaction.connection.execute(returned).rowcount
