"""The versions of the schedule that have been in force."""

from datetime import datetime
from hashlib import sha256

from sqlalchemy import Connection, func, insert, select, update

from publisher.store.db.tables import SCHEDULE

MAX_HISTORY_CHARACTERS = 2**25
"""The texts of the newest versions are kept within this room: each save adds a whole one."""
NEWEST_VERSION = select(func.coalesce(func.max(SCHEDULE.c.id), 0))


def write_version(connection: Connection, text: str, at: datetime) -> str:
    """Write a version in force from now on, and clear old texts. Return its hash."""
    digest = sha256(text.encode()).hexdigest()
    new = (
        insert(SCHEDULE)
        .values(accepted_at=at, sha256=digest, text=text)
        .returning(SCHEDULE.c.id)
    )
    version = connection.execute(new).scalar_one()
    kept = max(1, MAX_HISTORY_CHARACTERS // max(1, len(text)))
    is_too_old = (SCHEDULE.c.id <= version - kept, SCHEDULE.c.text != "")
    connection.execute(update(SCHEDULE).where(*is_too_old).values(text=""))
    return digest
