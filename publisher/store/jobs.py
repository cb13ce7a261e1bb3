"""Jobs that are repeated for ever: where one keeps failing, people are alerted, until it works again."""

from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from publisher.domain.account import AccountId
from publisher.runtime.logs import log
from publisher.store.audit.append import clear_alerts, raise_alert
from publisher.store.db.database import Transaction
from publisher.store.db.mappers import ALERT
from publisher.store.db.postgres import CommitUnknownError, is_connection_lost, write_error_code
from publisher.store.store import Store

FAILURES_BEFORE_ALERT = 3
"""So many failures in a row are an alert."""
FAILING_TIME_BEFORE_ALERT = timedelta(hours=1)
"""Of a job that comes seldom, several failures over so long a time are enough."""
ACCOUNT_JOBS = ("monitor_account", "check_login")
"""Jobs that each account has of its own."""
ALERT_REFRESH_SECONDS = 600.0
"""How often it is read which alerts stand: another host, or an earlier process, may have written one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureStreak:
    """How often a job has failed in a row, since when, and when last."""

    failures: int
    since: datetime
    last: datetime


class JobRunner:
    """How the jobs of one process go. That the database is away, busy or full is no failure of theirs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._streaks: dict[str, FailureStreak] = {}
        self._open_alerts: set[str] = set()
        """Subjects of the alerts that stand."""
        self._refresh_at = float("-inf")

    async def run(self, job: str, work: Awaitable[int | None], *, event: str, account: AccountId | None = None) -> None:
        """Do a job once. Never raises: what goes wrong is logged as `event`, and an alert where that goes on.

        A job of an account may be taken by any host, any other job is this host's own. Work that returns 0 found
        nothing to do, which shows only an hour after the last failure that the job works again.
        """
        named = {"job": job, **({"account": account} if account else {})}
        subject = subject_of_job(job, account or self.store.worker)
        try:
            done = await work
        except Exception as error:  # noqa: BLE001 # a failed job must not end the daemon; it comes again
            if is_outage(error):
                log.warning("database_unavailable", **named)
                return
            log.exception(event, **named, error=type(error).__name__)
            await self._try_write(self._record_failure(subject, {**named, "event": event}), named)
        else:
            await self._try_write(self._record_success(subject, is_idle=done == 0), named)

    async def _try_write(self, note: Awaitable[None], named: dict[str, str]) -> None:
        try:
            await note
        except Exception as error:  # noqa: BLE001 # the alert is tried again when the job comes again
            log.warning("alert_not_written", **named, error=type(error).__name__)

    async def _record_failure(self, subject: str, facts: dict[str, str]) -> None:
        now = self.store.runtime.now()
        before = self._streaks.get(subject, FailureStreak(failures=0, since=now, last=now))
        streak = self._streaks[subject] = FailureStreak(failures=before.failures + 1, since=before.since, last=now)
        goes_on = streak.failures > 1 and now - streak.since >= FAILING_TIME_BEFORE_ALERT
        if (streak.failures < FAILURES_BEFORE_ALERT and not goes_on) or subject in await self._read_open_alerts():
            return
        host = self.store.worker.partition(":")[0]
        told = {**facts, "host": host, "number": str(streak.failures), "since": streak.since.isoformat()}
        await self.store.database.write(lambda transaction: raise_alert(transaction, now, "job_failing", subject, told))
        self._open_alerts.add(subject)

    async def _record_success(self, subject: str, *, is_idle: bool) -> None:
        streak = self._streaks.get(subject)
        if is_idle and streak is not None and self.store.runtime.now() - streak.last < FAILING_TIME_BEFORE_ALERT:
            return
        self._streaks.pop(subject, None)
        if subject not in await self._read_open_alerts():
            return
        now = self.store.runtime.now()

        def operation(transaction: Transaction) -> None:
            clear_alerts(transaction, subject, now)

        await self.store.database.write(operation)
        self._open_alerts.discard(subject)

    def clear_other_alerts(self, transaction: Transaction, job: str, accounts: Collection[AccountId]) -> None:
        """Close the alerts about a job of all but these accounts: nobody does it for the others any more."""
        query = select(ALERT.c.subject).where(ALERT.c.code == "job_failing", ALERT.c.cleared_at.is_(None))
        kept = {subject_of_job(job, account) for account in accounts}
        for subject in transaction.connection.scalars(query).all():
            if subject.startswith(subject_of_job(job, "")) and subject not in kept:
                clear_alerts(transaction, subject, self.store.runtime.now())
                self._streaks.pop(subject, None)
                self._open_alerts.discard(subject)

    async def _read_open_alerts(self) -> set[str]:
        now = self.store.runtime.monotonic()
        if now >= self._refresh_at:
            query = select(ALERT.c.subject).where(ALERT.c.code == "job_failing", ALERT.c.cleared_at.is_(None))
            self._open_alerts = set(await self.store.database.read(lambda connection: connection.scalars(query).all()))
            self._refresh_at = now + ALERT_REFRESH_SECONDS
        return self._open_alerts


def subject_of_job(job: str, owner: str) -> str:
    """Name a job of an account, or of a worker, in alerts."""
    return f"job:{job}:{owner}"


def is_outage(error: BaseException) -> bool:
    """Whether the database could not be reached or written, of which people are alerted elsewhere."""
    if isinstance(error, ExceptionGroup):
        return all(map(is_outage, error.exceptions))
    return is_connection_lost(error) or isinstance(error, CommitUnknownError) or write_error_code(error) is not None
