"""Clocks that were set ahead: what a platform may still do late has its time in earnest, not by such a clock."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select

from publisher.store.engine import Unit
from publisher.store.rows import STAMP

JUMP = "jump:"
"""Begins the stamp of a clock set ahead: what it showed then, and by how many seconds it was set."""


def remember_jump(unit: Unit, by: timedelta, at: datetime) -> None:
    """Write down that the clock was set ahead when it showed `at`."""
    unit.connection.execute(insert(STAMP).values(key=f"{JUMP}{at.isoformat()}", value=str(by.total_seconds())))


def jumped_since(connection: Connection, instant: datetime) -> timedelta:
    """Give by how much clocks were set ahead since an instant that they had shown before."""
    jumps = connection.execute(select(STAMP.c.key, STAMP.c.value).where(STAMP.c.key.startswith(JUMP)))
    later = (float(row.value) for row in jumps if datetime.fromisoformat(row.key.removeprefix(JUMP)) >= instant)
    return timedelta(seconds=sum(later))
