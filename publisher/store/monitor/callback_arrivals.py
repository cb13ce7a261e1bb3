"""When each account's platform last sent a callback, and the alert that it sends none."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, exists, func, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.store.base import StorePart
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.filters import in_state
from publisher.store.db.rows import write_row
from publisher.store.db.tables import ATTEMPT, DATABASE_INFO, DELIVERY

CALLBACKS_SILENT = "callbacks_silent"
"""Code of the alert; it is one for each account of a host that receives callbacks."""
OBSERVED_PERIOD = timedelta(hours=24)
"""The period with the posts that should have caused a callback."""
ARRIVAL_TIME = timedelta(minutes=30)
"""The time in which a callback comes: a platform repeats one that failed."""
NOTE_INTERVAL = timedelta(minutes=1)
"""The least time between two records of one account's callbacks."""
KEY_PREFIX = "callback:"
"""Begins the key of the instant of an account's last callback."""
_IS_SENT_BY_API = exists().where(ATTEMPT.c.delivery == DELIVERY.c.id)


class CallbackArrivals(StorePart):
    """Compares the published posts of accounts with the callbacks about them."""

    async def note(self, account: AccountId) -> None:
        """Record that an account's platform has sent an event just now."""
        now = self.runtime.now()
        last_at = await self.database.read(read_last_callback, account)
        if last_at is None or not timedelta() <= now - last_at < NOTE_INTERVAL:
            await self._write(account, now)

    async def update(self, accounts: Collection[AccountId], since: datetime) -> int:
        """Keep an alert for each account with posts, but without a callback. Return the changes.

        Only posts since an instant count, that of this daemon's start: it may have had no
        receiver before. An alert ends with the first callback. Nothing changes while the clock is
        not confirmed.
        """
        if self.runtime.now_if_confirmed() is None:
            return 0
        wanted = await self.database.read(self._find_silent, accounts, since)
        return await self.keep_host_alerts(CALLBACKS_SILENT, wanted)

    def _find_silent(
        self, connection: Connection, accounts: Collection[AccountId], since: datetime
    ) -> Mapping[str, Mapping[str, str]]:
        now = self.runtime.now()
        first = max(since, now - OBSERVED_PERIOD)
        alerted = self._read_alerted(connection)
        wanted: dict[str, Mapping[str, str]] = {}
        for account in accounts:
            begins_at = min(first, alerted.get(account, first))
            last_at = read_last_callback(connection, account)
            if last_at is not None and last_at >= begins_at:
                continue
            posts = self._count_posts(connection, account, first, now - ARRIVAL_TIME)
            if posts or account in alerted:
                wanted[account] = {"account": account, "number": str(posts)}
        return wanted

    def _count_posts(
        self,
        connection: Connection,
        account: AccountId,
        first: datetime,
        last: datetime,
    ) -> int:
        query = select(func.count()).where(
            DELIVERY.c.account == account,
            DELIVERY.c.published_at.between(first, last),
            in_state(DELIVERY, State.PUBLISHED),
            _IS_SENT_BY_API,
        )
        return connection.execute(query).scalar_one()

    def _read_alerted(self, connection: Connection) -> Mapping[str, datetime]:
        """Return the accounts with an open alert of this host, and when each was raised."""
        prefix = f"{CALLBACKS_SILENT}:{self.store.worker}:"
        query = select(ALERT.c.subject, ALERT.c.at).where(
            ALERT.c.code == CALLBACKS_SILENT, ALERT.c.cleared_at.is_(None)
        )
        return {
            row.subject.removeprefix(prefix): row.at
            for row in connection.execute(query)
            if row.subject.startswith(prefix)
        }

    @in_transaction
    def _write(
        self, transaction: Transaction, account: AccountId, at: datetime
    ) -> None:
        key = {"key": KEY_PREFIX + account}
        write_row(transaction.connection, DATABASE_INFO, key, {"value": at.isoformat()})


def read_last_callback(connection: Connection, account: AccountId) -> datetime | None:
    """Return when an account's platform sent its last event; None if it never did."""
    query = select(DATABASE_INFO.c.value).where(
        DATABASE_INFO.c.key == KEY_PREFIX + account
    )
    value = connection.scalar(query)
    return None if value is None else datetime.fromisoformat(value)
