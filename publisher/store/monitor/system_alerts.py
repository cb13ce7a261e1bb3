"""Alerts about the machine itself, raised once the database can be written: its clock, disk, log and templates."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Select, func, select

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
"""How long after an alert of the same code another one is raised."""


class SystemAlerts:
    """The alerts of one host. Every method is one transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs = JobRunner(store)
        self.reported_lines = dropped_line_count()
        self._host = store.worker.partition(":")[0]
        self._clock_alert: str | None = None
        """The code of the open clock alert, "" for none; None when that is not known."""
        self._alerted_skew = timedelta()
        """The clock skew that the open alert reports."""

    @property
    def has_unreported_errors(self) -> bool:
        """True if some write has failed since the last alert about it."""
        return bool(self.store.database.unreported_errors)

    async def alert_errors(self) -> None:
        """Raise an alert for each cause of failed writes, now that the database can be written again."""
        codes = set(self.store.database.unreported_errors)

        def raise_alerts(transaction: Transaction) -> None:
            now = self.store.runtime.now()
            for code in sorted(codes):
                raise_alert_hourly(transaction, now, code, {})

        await self.store.database.write(raise_alerts)
        self.store.database.unreported_errors -= codes

    async def alert_dropped_lines(self) -> None:
        """Raise an alert with the number of log lines that were dropped since the last one, if any."""
        dropped = dropped_line_count()
        if dropped <= self.reported_lines:
            return
        facts = {"number": str(dropped - self.reported_lines)}
        await self.store.database.write(
            lambda transaction: raise_alert_hourly(transaction, self.store.runtime.now(), "log_lines_dropped", facts)
        )
        self.reported_lines = dropped

    async def measure_clock_skew(self) -> timedelta:
        """Return by how much this machine's clock is certainly ahead of the database server's; negative if behind."""
        database, now = self.store.database, self.store.runtime.now
        if not database.is_shared:
            return timedelta()
        query = select(func.clock_timestamp(type_=DateTime(timezone=True)))
        asked_at = now()
        server_time = await database.read(lambda connection: connection.scalars(query).one())
        return max(asked_at - server_time, timedelta()) or min(now() - server_time, timedelta())

    async def alert_clock_skew(self, skew: timedelta) -> Mapping[str, str]:
        """Keep one alert open, at the server's time, while clock skew keeps this daemon from starting."""
        facts = {"host": self._host, "seconds": f"{skew.total_seconds():+.0f}"}
        subject, now = f"{CLOCK_SUBJECT_PREFIX}{self.store.worker}", self.store.runtime.now() - skew

        def ensure_alert(transaction: Transaction) -> None:
            open_codes = transaction.connection.scalars(_select_open(ALERT.c.code, subject)).all()
            if open_codes != ["clock_skew"]:
                clear_alerts(transaction, subject, now)
                raise_alert(transaction, now, "clock_skew", subject, facts)

        await self.store.database.write(ensure_alert)
        return facts

    async def alert_clock_changes(self) -> None:
        """Raise an alert for each jump of the clock, and keep one open as long as the clock is unconfirmed."""
        runtime = self.store.runtime
        unconfirmed_for = runtime.unconfirmed_for()
        while runtime.clock_jumps:
            jump = runtime.clock_jumps[0]
            code = "clock_jumped_back" if jump < timedelta(0) else "clock_jumped_ahead"
            facts = {"host": self._host, "seconds": f"{abs(jump).total_seconds():.0f}"}
            await self.store.database.write(
                partial(raise_alert, at=runtime.now(), code=code, subject=MACHINE_SUBJECT, facts=facts)
            )
            del runtime.clock_jumps[0]
            self._clock_alert = None
        if unconfirmed_for is None:
            await self._set_clock_alert("")
        elif unconfirmed_for >= CLOCK_ALERT_DELAY:
            offset = runtime.server_clock_offset
            if offset is not None:
                await self._set_clock_alert("clock_wrong", offset)
            elif self._clock_alert is None:
                await self._set_clock_alert("clock_unconfirmed")

    async def set_template_alert(self, reason: str) -> None:
        """Keep at most one alert about the templates that this host has read: with this reason, or none for ""."""
        subject, now = f"templates:{self.store.worker}", self.store.runtime.now()

        def replace_alert(transaction: Transaction) -> None:
            clear_alerts(transaction, subject, now)
            if reason:
                raise_alert(transaction, now, "templates_invalid", subject, {"host": self._host, "reason": reason})

        query = _select_open(ALERT.c.facts, subject)
        alerts = await self.store.database.read(lambda connection: connection.scalars(query).all())
        if [json.loads(facts)["reason"] for facts in alerts] != ([reason] if reason else []):
            await self.store.database.write(replace_alert)

    @property
    def has_clock_alert(self) -> bool:
        """True if an alert about an unconfirmed clock is open."""
        return bool(self._clock_alert)

    async def _set_clock_alert(self, code: str, skew: timedelta = timedelta()) -> None:
        """Keep at most one alert about this machine's clock: with this code, or none for "".

        It is raised again when the skew changes by more than the tolerance; platforms differ by some seconds.
        """
        if code == self._clock_alert and abs(skew - self._alerted_skew) <= SERVER_DATE_TOLERANCE:
            return
        subject, now = f"{CLOCK_SUBJECT_PREFIX}{self.store.worker}", self.store.runtime.now()

        def replace_alert(transaction: Transaction) -> None:
            clear_alerts(transaction, subject, now)
            if code:
                seconds = {"seconds": f"{skew.total_seconds():+.0f}"} if skew else {}
                raise_alert(transaction, now, code, subject, {"host": self._host, **seconds})

        query = _select_open(ALERT.c.id, subject)
        if code or await self.store.database.read(lambda connection: connection.scalar(query)) is not None:
            await self.store.database.write(replace_alert)
        self._clock_alert, self._alerted_skew = code, skew


def _select_open(column: ColumnElement[Any], subject: str) -> Select[Any]:
    return select(column).where(ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None))


def raise_alert_hourly(transaction: Transaction, now: datetime, code: str, facts: Mapping[str, str]) -> None:
    """Raise an alert about an event that is over, unless the same one was raised within the repeat interval."""
    recent = select(ALERT.c.id).where(
        ALERT.c.code == code,
        ALERT.c.subject == MACHINE_SUBJECT,
        ALERT.c.at > now - ALERT_REPEAT_INTERVAL,
        ALERT.c.at <= now,  # a clock that was ahead may have dated one in the future
    )
    if transaction.connection.execute(recent).first() is None:
        raise_alert(transaction, now, code, MACHINE_SUBJECT, facts)
