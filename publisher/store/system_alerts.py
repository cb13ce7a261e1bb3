"""Alerts about the system: clock, disk, log, templates, and periodic jobs that keep failing.

The clock, disk, log and templates are this machine's. The alerts are raised once the database can
be written, and cleared when the problem is over.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, DateTime, func, select

from publisher.domain.account import AccountId
from publisher.domain.errors import Problem, RefusedError
from publisher.domain.post import PostId
from publisher.runtime.clock import SERVER_DATE_TOLERANCE
from publisher.runtime.logs import dropped_line_count, log
from publisher.store.base import BaseStore, StorePart
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import Transaction
from publisher.store.db.postgres import (
    JOURNAL_UNWRITABLE,
    WRITE_ERRORS,
    is_unavailable,
    write_error_code,
)
from publisher.store.db.rows import (
    AlertContent,
    clear_alerts,
    find_alert_changes,
    keep_alert,
    open_alerts,
    raise_alert,
    replace_alerts,
)

CLOCK_ALERT_DELAY = timedelta(seconds=10)
"""How long a clock may be unconfirmed before people are alerted."""
MAX_CLOCK_SKEW = timedelta(seconds=10)
"""The maximum clock difference of hosts that work together.

With more, each would expire the other's leases, and checks, too soon.
"""
MACHINE_SUBJECT = "machine"
CLOCK_SUBJECT_PREFIX = "clock:"
"""Prefix of the subject of alerts and audit entries about a worker's clock."""
CLOCK_WRONG = "clock_wrong"
"""The alert that a platform contradicts a worker's clock."""
TEXT_OUTDATED = "text_outdated"
"""The alert that a filed text differs from the present templates and settings.

The filed text will be sent.
"""
OUTDATED_PREFIX = "texts:"
"""Prefix of the subject of that alert, before the post."""
CLOCK_SKEW = "clock_skew"
"""The alert that a daemon does not start, because its clock differs from the server's."""
OUTDATED_LOCK = "outdated_texts"
RIGHTS_MISSING = "rights_missing"
"""The alert that a dashboard lacks rights on files of its machine."""
ALERT_REPEAT_INTERVAL = timedelta(hours=1)
"""How long after an alert of the same code another one is raised."""
WRITE_ERROR_PERIOD = timedelta(minutes=5)
"""How long no write may fail until the alert about it is over.

It is raised when writes succeed again, so people would not see a shorter one.
"""
WRITES = "writes"
"""The matter of the alerts about failed writes."""
FAILURES_BEFORE_ALERT = 3
"""How many failures in a row raise an alert."""
FAILING_TIME_BEFORE_ALERT = timedelta(hours=1)
"""For a rare job, two failures or more over this time are enough."""
ACCOUNT_JOBS = ("monitor_account", "check_login")
"""Jobs that run once for each account."""
HOST_SUBJECTS = frozenset(
    {"callbacks", "clock", "dashboard", "files", "log", "rights", "templates"}
)
"""The subjects of alerts about one host begin so; the worker follows."""
ALERT_REFRESH_SECONDS = 600.0
"""The interval between reads of the open alerts.

Another host, or an earlier process, may have raised one.
"""
_OPEN_ALERTS = select(ALERT.c.subject).where(
    ALERT.c.code == "job_failing", ALERT.c.cleared_at.is_(None)
)


class SystemAlerts(StorePart):
    """The alerts of one host: about its clock, its files, its log and its jobs."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self.jobs = JobRunner(store)
        self.reported_lines = dropped_line_count()
        self._host = store.worker.partition(":")[0]
        self._clock_alert: str | None = None
        """The code of the open clock alert, "" for none; None when that is not known."""
        self._alerted_skew = timedelta()
        """The clock skew that the open alert reports."""
        self._alerted_errors: set[str] | None = None
        """The write errors of this host with an open alert; None when that is not known."""

    async def update(self) -> None:
        """Alert people to clock jumps, an unconfirmed clock, failed writes and lost log lines.

        The log lines were dropped.
        """
        await self.alert_clock_changes()
        await self.alert_write_errors()
        await self.alert_dropped_lines()

    async def alert_write_errors(self) -> None:
        """Keep an alert for each cause of failed writes, until none has failed for a while.

        It is raised once the database can be written again.
        """
        if self._alerted_errors is None:
            self._alerted_errors = await self._read_alerted_errors()
        errors = await self._find_write_errors()
        if errors == self._alerted_errors:
            return
        for code in sorted(errors ^ self._alerted_errors):
            wanted: dict[str, Mapping[str, str]] = (
                {WRITES: {}} if code in errors else {}
            )
            await self.keep_host_alerts(code, wanted)
        self._alerted_errors = errors

    async def _read_alerted_errors(self) -> set[str]:
        """Return the write errors with an open alert of an earlier process of this host.

        They last for as long as ones of now. Alerts that name no host, of an earlier version, end.
        """
        is_open = (ALERT.c.code.in_(WRITE_ERRORS), ALERT.c.cleared_at.is_(None))
        rows = await self.database.read_rows(
            select(ALERT.c.code, ALERT.c.subject).where(*is_open)
        )
        found = set()
        for code, subject in rows:
            if subject == f"{code}:{self.store.worker}:{WRITES}":
                found.add(code)
                self.database.write_errors.setdefault(code, self.runtime.monotonic())
            elif subject == MACHINE_SUBJECT:
                now = self.runtime.now()
                await self.database.write(clear_alerts, subject, now, code)
        return found

    async def _find_write_errors(self) -> set[str]:
        """Return the write errors of WRITE_ERROR_PERIOD, and a journal that still takes no line."""
        errors, journal = self.database.write_errors, self.database.journal
        over_since = self.runtime.monotonic() - WRITE_ERROR_PERIOD.total_seconds()
        for code in [code for code, last in errors.items() if last <= over_since]:
            if (
                code == JOURNAL_UNWRITABLE
                and journal is not None
                and not await asyncio.to_thread(journal.can_append)
            ):
                self.database.record_write_error(code)
            else:
                del errors[code]
        return set(errors)

    async def alert_dropped_lines(self) -> None:
        """Raise an alert with the number of log lines dropped since the last one, if any."""
        dropped = dropped_line_count()
        if dropped <= self.reported_lines:
            return
        facts = {"host": self._host, "number": str(dropped - self.reported_lines)}
        subject = f"log:{self.store.worker}"
        await self.database.write(
            raise_alert_hourly, self.runtime.now(), "log_lines_dropped", subject, facts
        )
        self.reported_lines = dropped

    async def check_clock_skew(self) -> None:
        """Raise RefusedError, with an alert, if this clock and the server's differ too much.

        The server is the database server.
        """
        skew = await self.measure_clock_skew()
        if abs(skew) > MAX_CLOCK_SKEW:
            raise RefusedError("clock_skew", **await self.alert_clock_skew(skew))

    async def measure_clock_skew(self) -> timedelta:
        """Return this clock's certain lead over the database server's; negative if behind."""
        database, now = self.database, self.runtime.now
        if not database.is_shared:
            return timedelta()
        query = select(func.clock_timestamp(type_=DateTime(timezone=True)))
        asked_at = now()
        server_time = await database.read(
            lambda connection: connection.scalars(query).one()
        )
        return max(asked_at - server_time, timedelta()) or min(
            now() - server_time, timedelta()
        )

    async def alert_clock_skew(self, skew: timedelta) -> Mapping[str, str]:
        """Keep one alert open, at the server's time, while clock skew blocks a daemon's start.

        The daemon is this one.
        """
        facts = {"host": self._host, "seconds": f"{skew.total_seconds():+.0f}"}
        server_time = self.runtime.now() - skew
        subject = f"{CLOCK_SUBJECT_PREFIX}{self.store.worker}"
        alerts = await self.database.read(open_alerts, subject)
        if [code for code, _facts in alerts] != [CLOCK_SKEW]:
            await self.database.write(
                replace_alerts, server_time, CLOCK_SKEW, subject, facts
            )
        return facts

    async def alert_clock_changes(self) -> None:
        """Raise an alert for each clock jump, and keep one open while the clock is unconfirmed."""
        runtime = self.runtime
        unconfirmed_for = runtime.unconfirmed_for()
        while runtime.clock_jumps:
            jump = runtime.clock_jumps[0]
            code = "clock_jumped_back" if jump < timedelta(0) else "clock_jumped_ahead"
            facts = {"host": self._host, "seconds": f"{abs(jump).total_seconds():.0f}"}
            await self.database.write(
                raise_alert, runtime.now(), code, MACHINE_SUBJECT, facts
            )
            del runtime.clock_jumps[0]
            self._clock_alert = None
        if unconfirmed_for is None:
            await self._set_clock_alert("")
        elif unconfirmed_for >= CLOCK_ALERT_DELAY:
            offset = runtime.server_clock_offset
            if offset is not None:
                await self._set_clock_alert(CLOCK_WRONG, offset)
            elif self._clock_alert is None:
                await self._set_clock_alert("clock_unconfirmed")

    async def set_template_alert(self, reason: str) -> None:
        """Keep at most one alert about this host's templates: with this reason, or none for "".

        The templates are the ones that the host has read.
        """
        await self._set_alert(
            "templates_invalid", f"templates:{self.store.worker}", reason
        )

    async def keep_outdated_texts(
        self, outdated: Mapping[PostId, AccountId], unknown: Collection[PostId]
    ) -> None:
        """Keep one alert for each post with a filed text that would be another now.

        Posts in `unknown` keep their existing alerts. `outdated` names the first account of each.
        """
        wanted: dict[str, AlertContent] = {
            f"{OUTDATED_PREFIX}{post}": (
                TEXT_OUTDATED,
                {"post": post, "account": account},
            )
            for post, account in outdated.items()
        }
        kept = {f"{OUTDATED_PREFIX}{post}" for post in unknown} - wanted.keys()

        def find_changes(connection: Connection) -> Mapping[str, AlertContent | None]:
            changes = find_alert_changes(connection, [TEXT_OUTDATED], wanted)
            return {
                subject: content
                for subject, content in changes.items()
                if subject not in kept
            }

        await self.update_alerts(find_changes, OUTDATED_LOCK)

    async def set_files_alert(self, reason: str) -> None:
        """Keep at most one alert about files changed since this host's daemon read them.

        The alert names the files. There is none without them.
        """
        await self._set_alert("settings_outdated", f"files:{self.store.worker}", reason)

    async def set_dashboard_alert(self, reason: str) -> None:
        """Keep at most one alert that this host's dashboard does not run.

        It has the dashboard's exit code. There is none for "".
        """
        await self._set_alert(
            "dashboard_failing", f"dashboard:{self.store.worker}", reason
        )

    async def set_callbacks_alert(self, reason: str) -> None:
        """Keep at most one alert that this host does not listen for callbacks; none for ""."""
        await self._set_alert("callbacks_off", f"callbacks:{self.store.worker}", reason)

    async def set_rights_alert(self, problems: Sequence[Problem]) -> None:
        """Keep at most one alert that this host's dashboard lacks rights on files, or none.

        It names the actions that the dashboard cannot do.
        """
        stored = (
            json.dumps(
                [{"code": problem.code, **problem.facts} for problem in problems]
            )
            if problems
            else ""
        )
        await self._set_alert(
            RIGHTS_MISSING, f"rights:{self.store.worker}", stored, fact="problems"
        )

    async def _set_alert(
        self, code: str, subject: str, text: str, fact: str = "reason"
    ) -> None:
        """Keep at most one alert about a subject: with this text as a fact, or none for ""."""
        now = self.runtime.now()
        alerts = await self.database.read(open_alerts, subject)
        if [facts[fact] for _code, facts in alerts] != ([text] if text else []):
            wanted, facts = code if text else None, {"host": self._host, fact: text}
            await self.database.write(replace_alerts, now, wanted, subject, facts)

    @property
    def has_clock_alert(self) -> bool:
        """True if an alert about an unconfirmed clock is open."""
        return bool(self._clock_alert)

    async def _set_clock_alert(self, code: str, skew: timedelta = timedelta()) -> None:
        """Keep at most one alert about this machine's clock: with this code, or none for "".

        It is raised again when the skew changes by more than the tolerance; platforms differ by
        some seconds.
        """
        if (
            code == self._clock_alert
            and abs(skew - self._alerted_skew) <= SERVER_DATE_TOLERANCE
        ):
            return
        subject, now = f"{CLOCK_SUBJECT_PREFIX}{self.store.worker}", self.runtime.now()
        facts = {
            "host": self._host,
            **({"seconds": f"{skew.total_seconds():+.0f}"} if skew else {}),
        }
        opened = await self.database.read(open_alerts, subject)
        if code or opened:
            await self.database.write(replace_alerts, now, code, subject, facts)
        self._clock_alert, self._alerted_skew = code, skew


def raise_alert_hourly(
    transaction: Transaction,
    now: datetime,
    code: str,
    subject: str,
    facts: Mapping[str, str],
) -> None:
    """Raise an alert about an event that is over.

    It is skipped if the same one was raised within the repeat interval.
    """
    recent = select(ALERT.c.id).where(
        ALERT.c.code == code,
        ALERT.c.subject == subject,
        ALERT.c.at > now - ALERT_REPEAT_INTERVAL,
        ALERT.c.at <= now,  # a clock that was ahead may have dated one in the future
    )
    if transaction.connection.execute(recent).first() is None:
        raise_alert(transaction, now, code, subject, facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureStreak:
    """A job's failures in a row, and the instants of the first and the last one."""

    failures: int
    since: datetime
    last: datetime


class JobRunner(StorePart):
    """Runs the jobs of one process.

    A database that is away, busy or full is not a failure of the job.
    """

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self._streaks: dict[str, FailureStreak] = {}
        self._jobs_in_outage: set[str] = set()
        """The subjects of jobs that failed since the database went away.

        It is empty while the database is there.
        """
        self._open_alerts: set[str] = set()
        self._refresh_at = float("-inf")

    async def run(
        self,
        job: str,
        work: Callable[[], Awaitable[int | None]],
        *,
        event: str,
        account: AccountId | None = None,
    ) -> None:
        """Run a job once. Never raises: an error is logged as `event`, and alerts if it goes on.

        Any host may run the job of an account. Any other job is this host's own. Work that returns
        0 found nothing to do. That proves only FAILING_TIME_BEFORE_ALERT after the last failure
        that the job works again.
        """
        fields = {"job": job, **({"account": account} if account else {})}
        subject = subject_of_job(job, account or self.store.worker)
        try:
            done = await work()
        except Exception as error:  # noqa: BLE001 # a failed job must not end the daemon; it comes again
            if is_outage(error):
                self._record_outage(subject, fields, find_write_error(error))
                return
            log.exception(event, **fields, error=type(error).__name__)
            record = self._record_failure(subject, {**fields, "event": event})
        else:
            if subject in self._jobs_in_outage:
                self._jobs_in_outage.clear()
                log.info("database_available", **fields)
            record = self._record_success(subject, is_idle=done == 0)
        try:
            await record
        except Exception as error:  # noqa: BLE001 # the alert is tried again when the job comes again
            log.warning("alert_not_written", **fields, error=type(error).__name__)

    def _record_outage(
        self, subject: str, fields: Mapping[str, str], reason: str | None
    ) -> None:
        """Log the first failure of an outage only: many jobs fail in it every second."""
        if not self._jobs_in_outage:
            reasons = {} if reason is None else {"reason": reason}
            log.warning("database_unavailable", **fields, **reasons)
        self._jobs_in_outage.add(subject)

    async def _record_failure(self, subject: str, facts: dict[str, str]) -> None:
        now = self.runtime.now()
        before = self._streaks.get(
            subject, FailureStreak(failures=0, since=now, last=now)
        )
        streak = self._streaks[subject] = FailureStreak(
            failures=before.failures + 1, since=before.since, last=now
        )
        is_lasting = (
            streak.failures > 1 and now - streak.since >= FAILING_TIME_BEFORE_ALERT
        )
        if (
            streak.failures < FAILURES_BEFORE_ALERT and not is_lasting
        ) or subject in await self._read_open_alerts():
            return
        host = self.store.worker.partition(":")[0]
        facts = {
            **facts,
            "host": host,
            "number": str(streak.failures),
            "since": streak.since.isoformat(),
        }
        await self.database.write(keep_alert, now, "job_failing", subject, facts)
        self._open_alerts.add(subject)

    async def _record_success(self, subject: str, *, is_idle: bool) -> None:
        now, streak = self.runtime.now(), self._streaks.get(subject)
        if (
            is_idle
            and streak is not None
            and now - streak.last < FAILING_TIME_BEFORE_ALERT
        ):
            return
        self._streaks.pop(subject, None)
        if subject in await self._read_open_alerts():
            await self.database.write(clear_alerts, subject, now)
            self._open_alerts.discard(subject)

    def clear_other_alerts(
        self, transaction: Transaction, job: str, accounts: Collection[AccountId]
    ) -> None:
        """Clear a job's alerts for all accounts but these.

        The job does not run for the others any more.
        """
        kept = {subject_of_job(job, account) for account in accounts}
        for subject in transaction.connection.scalars(_OPEN_ALERTS).all():
            if subject.startswith(subject_of_job(job, "")) and subject not in kept:
                clear_alerts(transaction, subject, self.runtime.now())
                self._streaks.pop(subject, None)
                self._open_alerts.discard(subject)

    async def _read_open_alerts(self) -> set[str]:
        now = self.runtime.monotonic()
        if now >= self._refresh_at:
            subjects = await self.database.read_scalars(_OPEN_ALERTS)
            self._open_alerts = set(subjects)
            self._refresh_at = now + ALERT_REFRESH_SECONDS
        return self._open_alerts


def subject_of_job(job: str, owner: str) -> str:
    """Return the alert subject of a job that belongs to an account or a worker."""
    return f"job:{job}:{owner}"


def find_alerted_worker(
    code: str, subject: str, workers: Collection[str]
) -> str | None:
    """Return the worker with a host that an alert is about; None if it is about no host."""
    head, _, rest = subject.partition(":")
    if head == "job":
        job, _, rest = rest.partition(":")
        is_possible = job not in ACCOUNT_JOBS
    else:
        is_possible = head in HOST_SUBJECTS
    is_matter = head == code  # `keep_host_alerts` names the matter after the worker
    named = (
        worker
        for worker in workers
        if (is_possible and rest == worker)
        or (is_matter and rest.startswith(f"{worker}:"))
    )
    return max(named, key=len, default=None)


def is_outage(error: BaseException) -> bool:
    """Return True if the database was not reached or written.

    Another part raises the alert for that.
    """
    if isinstance(error, ExceptionGroup):
        return all(map(is_outage, error.exceptions))
    return is_unavailable(error) or write_error_code(error) is not None


def find_write_error(error: BaseException) -> str | None:
    """Return the code of a failed write, the first one of a group; None if it is another error."""
    if isinstance(error, ExceptionGroup):
        codes = map(find_write_error, error.exceptions)
        return next(filter(None, codes), None)
    return write_error_code(error)
