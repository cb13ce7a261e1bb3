"""Trouble with the machine itself, told to people once the books can be written: its clock, its disk, its log."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import DateTime, func, select

from publisher.runtime.clock import SERVER_DATE_TOLERANCE
from publisher.runtime.logs import dropped_line_count
from publisher.store.audit.append import clear_alerts, raise_alert
from publisher.store.db.database import Transaction
from publisher.store.db.mappers import ALERT
from publisher.store.jobs import JobRunner
from publisher.store.plan.actions import CLOCK_SUBJECT_PREFIX
from publisher.store.store import Store

CLOCK_ALERT_DELAY = timedelta(seconds=10)
"""How long a clock may be unconfirmed before people are alerted."""
MACHINE_SUBJECT = "machine"
ALERT_REPEAT_INTERVAL = timedelta(hours=1)
"""The same trouble is told again after so long."""


class SystemAlerts:
    """What people must know of the machine. Every method is one transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs = JobRunner(store)
        self.reported_lines = dropped_line_count()
        self._clock_alert: str | None = None
        """What is open about the clock; None when that is not known."""
        self._alerted_skew = timedelta()
        """How far apart the clock is by what is open."""

    @property
    def has_unreported_errors(self) -> bool:
        """Whether some write has failed since people were last told."""
        return bool(self.store.database.unreported_errors)

    async def alert_errors(self) -> None:
        """Tell what kept writes from being done, now that there is room again."""
        seen = set(self.store.database.unreported_errors)

        def operation(transaction: Transaction) -> None:
            now = self.store.runtime.now()
            for code in sorted(seen):
                raise_alert_hourly(transaction, now, code, {})

        await self.store.database.write(operation)
        self.store.database.unreported_errors -= seen

    async def alert_dropped_lines(self) -> None:
        """Tell how many lines of the log could not be written since people were last told, if any."""
        dropped = dropped_line_count()
        if dropped <= self.reported_lines:
            return

        def operation(transaction: Transaction) -> None:
            raise_alert_hourly(
                transaction,
                self.store.runtime.now(),
                "log_lines_dropped",
                {"number": str(dropped - self.reported_lines)},
            )

        await self.store.database.write(operation)
        self.reported_lines = dropped

    async def measure_clock_skew(self) -> timedelta:
        """Give by how much this machine's clock is surely ahead of its database's server, or behind where negative."""
        database, now = self.store.database, self.store.runtime.now
        if not database.is_shared:
            return timedelta()
        query = select(func.clock_timestamp(type_=DateTime(timezone=True)))
        asked_at = now()
        there = await database.read(lambda connection: connection.scalars(query).one())
        return max(asked_at - there, timedelta()) or min(now() - there, timedelta())

    async def alert_clock_skew(self, skew: timedelta) -> Mapping[str, str]:
        """Keep one alert open, at the server's time, while the clock keeps this daemon down. Returns its facts."""
        facts = {"host": self._host, "seconds": f"{skew.total_seconds():+.0f}"}
        subject, now = f"{CLOCK_SUBJECT_PREFIX}{self.store.worker}", self.store.runtime.now() - skew
        standing = select(ALERT.c.code).where(ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None))

        def operation(transaction: Transaction) -> None:
            if transaction.connection.scalars(standing).all() != ["clock_skew"]:
                clear_alerts(transaction, subject, now)
                raise_alert(transaction, now, "clock_skew", subject, facts)

        await self.store.database.write(operation)
        return facts

    async def alert_clock_changes(self) -> None:
        """Write an alert for each time the clock was set, and keep one open as long as it stays unconfirmed."""
        runtime = self.store.runtime
        unconfirmed_for = runtime.unconfirmed_for()
        while runtime.clock_jumps:
            await self._alert_clock_jump(runtime.clock_jumps[0])
            del runtime.clock_jumps[0]
            self._clock_alert = None
        if unconfirmed_for is None:
            await self._set_clock_alert("")
        elif unconfirmed_for >= CLOCK_ALERT_DELAY:
            apart = runtime.server_clock_offset
            if apart is not None:
                await self._set_clock_alert("clock_wrong", apart)
            elif self._clock_alert is None:
                await self._set_clock_alert("clock_unconfirmed")

    async def set_template_alert(self, reason: str) -> None:
        """Let one alert at most stand about the templates that this host has read: this one, or none where it is ''."""
        subject, now = f"templates:{self.store.worker}", self.store.runtime.now()
        standing = select(ALERT.c.facts).where(ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None))

        def operation(transaction: Transaction) -> None:
            clear_alerts(transaction, subject, now)
            if reason:
                raise_alert(transaction, now, "templates_invalid", subject, {"host": self._host, "reason": reason})

        told = await self.store.database.read(lambda connection: connection.scalars(standing).all())
        if [json.loads(facts)["reason"] for facts in told] != ([reason] if reason else []):
            await self.store.database.write(operation)

    @property
    def has_clock_alert(self) -> bool:
        """Whether people have been alerted to a clock that is still not confirmed."""
        return bool(self._clock_alert)

    async def _alert_clock_jump(self, by: timedelta) -> None:
        code = "clock_jumped_back" if by < timedelta(0) else "clock_jumped_ahead"
        facts = {"host": self._host, "seconds": f"{abs(by).total_seconds():.0f}"}
        now = self.store.runtime.now()
        await self.store.database.write(lambda transaction: raise_alert(transaction, now, code, MACHINE_SUBJECT, facts))

    async def _set_clock_alert(self, code: str, skew: timedelta = timedelta()) -> None:
        """Let one alert at most stand about this machine's clock: this one, or none.

        It is written again where the clock is apart by another time; platforms differ by some seconds.
        """
        subject, now = f"{CLOCK_SUBJECT_PREFIX}{self.store.worker}", self.store.runtime.now()
        standing = select(ALERT.c.id).where(ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None))

        def operation(transaction: Transaction) -> None:
            clear_alerts(transaction, subject, now)
            if code:
                seconds = {"seconds": f"{skew.total_seconds():+.0f}"} if skew else {}
                raise_alert(transaction, now, code, subject, {"host": self._host, **seconds})

        if code == self._clock_alert and abs(skew - self._alerted_skew) <= SERVER_DATE_TOLERANCE:
            return
        if code or await self.store.database.read(lambda connection: connection.scalar(standing)) is not None:
            await self.store.database.write(operation)
        self._clock_alert, self._alerted_skew = code, skew

    @property
    def _host(self) -> str:
        return self.store.worker.partition(":")[0]


def raise_alert_hourly(transaction: Transaction, now: datetime, code: str, facts: Mapping[str, str]) -> None:
    """Tell of something that is over, unless it was told a short while ago."""
    lately = (
        ALERT.c.at > now - ALERT_REPEAT_INTERVAL,
        ALERT.c.at <= now,
    )  # a clock that was ahead may have dated one in the future
    known = select(ALERT.c.id).where(ALERT.c.code == code, ALERT.c.subject == MACHINE_SUBJECT, *lately)
    if transaction.connection.execute(known).first() is None:
        raise_alert(transaction, now, code, MACHINE_SUBJECT, facts)
