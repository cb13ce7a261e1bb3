"""A clock that was set ahead: waits that platforms were given, or asked for, are as long as they would have been."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from publisher.store.engine import Unit
from publisher.store.rows import LOGIN, STAMP

JUMP = "jump:"
"""Begins the stamp of a clock set ahead: what it showed then, and by how many seconds it was set."""


def wait_longer(unit: Unit, by: timedelta, at: datetime) -> None:
    """Remember that the clock was set ahead when it showed `at`, and let every login rest for as long as it was to."""
    key = f"{JUMP}{at.isoformat()}"
    if unit.connection.scalar(select(STAMP.c.key).where(STAMP.c.key == key)) is None:
        unit.connection.execute(insert(STAMP).values(key=key, value=str(by.total_seconds())))
    rests = (LOGIN.c.rests_until, LOGIN.c.routine_until, LOGIN.c.floors_until)
    for login in unit.connection.execute(select(LOGIN.c.id, *rests)).mappings().all():
        longer = {rest.name: login[rest.name] + by for rest in rests if login[rest.name] > at}
        if longer:
            unit.connection.execute(update(LOGIN).where(LOGIN.c.id == login["id"]).values(longer))


def jumped_since(connection: Connection, instant: datetime) -> timedelta:
    """Give by how much clocks were set ahead since an instant that they had shown before."""
    jumps = connection.execute(select(STAMP.c.key, STAMP.c.value).where(STAMP.c.key.startswith(JUMP)))
    later = (float(row.value) for row in jumps if datetime.fromisoformat(row.key.removeprefix(JUMP)) >= instant)
    return timedelta(seconds=sum(later))
