"""The last good backup of the database, and the alert that it is too old."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, select

from publisher.store.backup_record import (
    LAST_BACKUP_KEY,
    BackupRecord,
    read_last_backup,
)
from publisher.store.base import StorePart
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.monitor_tables import KNOWN_ACCOUNT
from publisher.store.db.rows import AlertContent, find_alert_changes, write_row
from publisher.store.db.tables import AUDIT, DATABASE_INFO

BACKUP_OVERDUE = "backup_overdue"
"""Code and subject of the alert."""
BACKUP_LOCK = "last_backup"
NEVER_MADE = "—"
"""The place of a backup if none was ever made."""
_BEGINNINGS = (
    select(AUDIT.c.at).order_by(AUDIT.c.id).limit(1),
    select(KNOWN_ACCOUNT.c.since).order_by(KNOWN_ACCOUNT.c.since).limit(1),
)
"""The first audit entry, and the first account that a daemon has noted."""


class LastBackup(StorePart):
    """Keeps the record of the last good backup, and one alert while it is too old."""

    @in_transaction
    def record(self, transaction: Transaction, made: BackupRecord) -> BackupRecord:
        """Keep the newer one of a backup and the recorded one. Return it."""
        known = read_last_backup(transaction.connection)
        if known is not None and made.at <= known.at <= self.runtime.now():
            return known
        value = json.dumps(
            {"at": made.at.isoformat(), "place": made.place}, ensure_ascii=False
        )
        key = {"key": LAST_BACKUP_KEY}
        write_row(transaction.connection, DATABASE_INFO, key, {"value": value})
        return made

    async def read(self) -> BackupRecord | None:
        """Return the record; None if no backup was ever made."""
        return await self.database.read(read_last_backup)

    async def update(self, max_age: timedelta) -> int:
        """Raise and clear the alert. Return the number changed.

        Nothing changes while the clock is not confirmed.
        """
        if self.runtime.now_if_confirmed() is None:
            return 0
        find_changes = partial(self._find_changes, max_age=max_age)
        return await self.update_alerts(find_changes, BACKUP_LOCK)

    def _find_changes(
        self, connection: Connection, max_age: timedelta
    ) -> Mapping[str, AlertContent | None]:
        made = read_last_backup(connection)
        since = find_beginning(connection) if made is None else made.at
        wanted: dict[str, AlertContent] = {}
        if since is not None and self.runtime.now() - since > max_age:
            place = NEVER_MADE if made is None else made.place
            facts = {"since": since.isoformat(), "place": place}
            wanted[BACKUP_OVERDUE] = BACKUP_OVERDUE, facts
        return find_alert_changes(connection, [BACKUP_OVERDUE], wanted)


def find_beginning(connection: Connection) -> datetime | None:
    """Return when the database began; None if nothing has happened in it yet."""
    found = [connection.scalar(query) for query in _BEGINNINGS]
    return min((at for at in found if at is not None), default=None)
