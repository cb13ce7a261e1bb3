"""The record of the last good backup of the database."""

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from publisher.store.db.tables import DATABASE_INFO

LAST_BACKUP_KEY = "last_backup"
_RECORD = select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == LAST_BACKUP_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRecord:
    """When a good backup was made, and its file with the host in front."""

    at: datetime
    place: str


def read_last_backup(connection: Connection) -> BackupRecord | None:
    """Return the record of the last good backup; None if none was ever made."""
    value = connection.scalar(_RECORD)
    if value is None:
        return None
    stored = json.loads(value)
    return BackupRecord(
        at=datetime.fromisoformat(stored["at"]), place=str(stored["place"])
    )
