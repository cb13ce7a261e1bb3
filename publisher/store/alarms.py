"""Trouble with the machine itself, told to people once the books can be written: its clock, its disk, its log."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import DateTime, func, insert, select

from publisher.domain.events import KEEPER
from publisher.store.books import Books
from publisher.store.engine import Unit
from publisher.store.jumps import remember_jump
from publisher.store.ledger import tell, write_audit
from publisher.store.rows import ALERT, PAUSE
from publisher.telemetry import lines_dropped

CLOCK = "clock"
"""The scope of a pause in which nothing is planned."""
MACHINE = "machine"
AGAIN = timedelta(hours=1)
"""The same trouble is told again after so long."""


class Alarms:
    """What people must know of the machine. Every method is one transaction."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.lines = lines_dropped()

    @property
    def is_due(self) -> bool:
        """Whether some write has failed since people were last told."""
        return bool(self.books.database.troubles)

    async def pass_on(self) -> None:
        """Tell what kept writes from being done, now that there is room again."""
        seen = set(self.books.database.troubles)

        def operation(unit: Unit) -> None:
            now = self.books.world.now()
            for trouble in sorted(seen):
                tell_again(unit, now, trouble, {})

        await self.books.database.write(operation)
        self.books.database.troubles -= seen

    async def log_was_dropped(self) -> None:
        """Tell how many lines of the log could not be written since people were last told, if any."""
        dropped = lines_dropped()
        if dropped <= self.lines:
            return

        def operation(unit: Unit) -> None:
            tell_again(unit, self.books.world.now(), "log_dropped", {"number": str(dropped - self.lines)})

        await self.books.database.write(operation)
        self.lines = dropped

    async def clock_apart(self) -> timedelta:
        """Give by how much this machine's clock is surely ahead of its database's server, or behind where negative."""
        database, now = self.books.database, self.books.world.now
        if not database.is_shared:
            return timedelta()
        query = select(func.clock_timestamp(type_=DateTime(timezone=True)))
        asked_at = now()
        there = await database.read(lambda connection: connection.scalars(query).one())
        return max(asked_at - there, timedelta()) or min(now() - there, timedelta())

    async def clock_went_back(self, by: timedelta) -> None:
        """Tell that the clock was set back."""

        def operation(unit: Unit) -> None:
            tell(unit, self.books.world.now(), "clock_back", MACHINE, {"seconds": f"{by.total_seconds():.0f}"})

        await self.books.database.write(operation)

    async def clock_went_ahead(self, by: timedelta, at: datetime, *, is_believed: bool) -> None:
        """Let no settle time seem over by a clock that was set ahead when it showed `at`.

        A clock that is not believed lets nothing be planned until a person has confirmed it.
        """

        def operation(unit: Unit) -> None:
            now = self.books.world.now()
            remember_jump(unit, by, at)
            if is_believed or _is_doubted(unit):
                return
            unit.connection.execute(insert(PAUSE).values(scope=CLOCK, at=now, by=KEEPER.name, reason="clock_ahead"))
            write_audit(unit, now, KEEPER, event="Paused", subject=CLOCK, detail={"reason": "clock_ahead"})
            tell(unit, now, "clock_ahead", CLOCK, {"minutes": f"{by.total_seconds() / 60:.0f}"})

        await self.books.database.write(operation)

    async def is_clock_doubted(self) -> bool:
        """Whether a person has still to confirm the clock."""
        query = select(PAUSE.c.scope).where(PAUSE.c.scope == CLOCK)
        return await self.books.database.read(lambda connection: connection.scalar(query)) is not None


def _is_doubted(unit: Unit) -> bool:
    return unit.connection.scalar(select(PAUSE.c.scope).where(PAUSE.c.scope == CLOCK)) is not None


def tell_again(unit: Unit, now: datetime, code: str, facts: Mapping[str, str]) -> None:
    """Tell of something that is over, unless it was told a short while ago."""
    told = select(ALERT.c.id).where(ALERT.c.code == code, ALERT.c.subject == MACHINE, ALERT.c.at > now - AGAIN)
    if unit.connection.execute(told).first() is None:
        tell(unit, now, code, MACHINE, facts)
