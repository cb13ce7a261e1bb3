"""Trouble with the machine itself, told to people once the books can be written: its clock, its disk, its log."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import DateTime, func, select

from publisher.store.books import Books
from publisher.store.engine import Unit
from publisher.store.jobs import Jobs
from publisher.store.ledger import clear_alerts, tell
from publisher.store.orders import CLOCK
from publisher.store.rows import ALERT
from publisher.telemetry import lines_dropped
from publisher.world import CLOCK_TOLERANCE

ALERT_AFTER = timedelta(seconds=10)
"""How long a clock may be unconfirmed before people are alerted."""
MACHINE = "machine"
AGAIN = timedelta(hours=1)
"""The same trouble is told again after so long."""


class Alarms:
    """What people must know of the machine. Every method is one transaction."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.jobs = Jobs(books)
        self.lines = lines_dropped()
        self._clock_alert: str | None = None
        """What is open about the clock; None when that is not known."""
        self._apart = timedelta()
        """How far apart the clock is by what is open."""

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

    async def tell_clock_apart(self, apart: timedelta) -> Mapping[str, str]:
        """Keep one alert open, at the server's time, while the clock keeps this daemon down. Returns its facts."""
        facts = {"host": self._host, "seconds": f"{apart.total_seconds():+.0f}"}
        subject, now = f"{CLOCK}{self.books.worker}", self.books.world.now() - apart
        standing = select(ALERT.c.code).where(ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None))

        def operation(unit: Unit) -> None:
            if unit.connection.scalars(standing).all() != ["clock_apart"]:
                clear_alerts(unit, subject, now)
                tell(unit, now, "clock_apart", subject, facts)

        await self.books.database.write(operation)
        return facts

    async def follow_clock(self) -> None:
        """Write an alert for each time the clock was set, and keep one open as long as it stays unconfirmed."""
        world = self.books.world
        doubted_for = world.doubted_for()
        while world.jumps:
            await self._clock_was_set(world.jumps[0])
            del world.jumps[0]
            self._clock_alert = None
        if doubted_for is None:
            await self._show_clock("")
        elif doubted_for >= ALERT_AFTER:
            apart = world.apart
            if apart is not None:
                await self._show_clock("clock_wrong", apart)
            elif self._clock_alert is None:
                await self._show_clock("clock_unconfirmed")

    async def show_templates(self, reason: str) -> None:
        """Let one alert at most stand about the templates that this host has read: this one, or none where it is ''."""
        subject, now = f"templates:{self.books.worker}", self.books.world.now()
        standing = select(ALERT.c.facts).where(ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None))

        def operation(unit: Unit) -> None:
            clear_alerts(unit, subject, now)
            if reason:
                tell(unit, now, "templates_faulty", subject, {"host": self._host, "reason": reason})

        told = await self.books.database.read(lambda connection: connection.scalars(standing).all())
        if [json.loads(facts)["reason"] for facts in told] != ([reason] if reason else []):
            await self.books.database.write(operation)

    @property
    def has_clock_alert(self) -> bool:
        """Whether people have been alerted to a clock that is still not confirmed."""
        return bool(self._clock_alert)

    async def _clock_was_set(self, by: timedelta) -> None:
        code = "clock_back" if by < timedelta(0) else "clock_ahead"
        facts = {"host": self._host, "seconds": f"{abs(by).total_seconds():.0f}"}
        now = self.books.world.now()
        await self.books.database.write(lambda unit: tell(unit, now, code, MACHINE, facts))

    async def _show_clock(self, code: str, apart: timedelta = timedelta()) -> None:
        """Let one alert at most stand about this machine's clock: this one, or none.

        It is written again where the clock is apart by another time; platforms differ by some seconds.
        """
        subject, now = f"{CLOCK}{self.books.worker}", self.books.world.now()
        standing = select(ALERT.c.id).where(ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None))

        def operation(unit: Unit) -> None:
            clear_alerts(unit, subject, now)
            if code:
                seconds = {"seconds": f"{apart.total_seconds():+.0f}"} if apart else {}
                tell(unit, now, code, subject, {"host": self._host, **seconds})

        if code == self._clock_alert and abs(apart - self._apart) <= CLOCK_TOLERANCE:
            return
        if code or await self.books.database.read(lambda connection: connection.scalar(standing)) is not None:
            await self.books.database.write(operation)
        self._clock_alert, self._apart = code, apart

    @property
    def _host(self) -> str:
        return self.books.worker.partition(":")[0]


def tell_again(unit: Unit, now: datetime, code: str, facts: Mapping[str, str]) -> None:
    """Tell of something that is over, unless it was told a short while ago."""
    lately = (ALERT.c.at > now - AGAIN, ALERT.c.at <= now)  # a clock that was ahead may have dated one in the future
    known = select(ALERT.c.id).where(ALERT.c.code == code, ALERT.c.subject == MACHINE, *lately)
    if unit.connection.execute(known).first() is None:
        tell(unit, now, code, MACHINE, facts)
