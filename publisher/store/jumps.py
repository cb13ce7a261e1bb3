"""Clocks that were set: waits have their time in earnest, neither less nor more of it by such a clock."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, case, insert, literal, select, update

from publisher.domain.delivery import State
from publisher.store.conditions import stands
from publisher.store.engine import Unit
from publisher.store.rows import DELIVERY, LOGIN, STAMP
from publisher.store.tables import Duration

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


def shorten_waits(unit: Unit, by: timedelta, now: datetime) -> None:
    """Let what waits for an instant of a clock that was set back wait as long as was meant, and no longer."""
    sooner = literal(by, Duration())
    rests = (LOGIN.c.rests_until, LOGIN.c.routine_until, LOGIN.c.floors_until)
    unit.connection.execute(
        update(LOGIN).values({rest: case((rest > now, rest - sooner), else_=rest) for rest in rests})
    )
    waits = stands(DELIVERY, State.DUE, State.RETRY_WAIT, State.UNKNOWN, State.SUBMITTED, State.RETRACTING)
    late = update(DELIVERY).where(waits, DELIVERY.c.next_at > now)
    unit.connection.execute(late.values(next_at=DELIVERY.c.next_at - sooner))
