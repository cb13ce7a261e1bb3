"""Periodic jobs: a job that keeps failing raises an alert, which is cleared when it works again."""

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
"""How many failures in a row raise an alert."""
FAILING_TIME_BEFORE_ALERT = timedelta(hours=1)
"""For a rare job, two failures or more over this time are enough."""
ACCOUNT_JOBS = ("monitor_account", "check_login")
"""Jobs that run once for each account."""
ALERT_REFRESH_SECONDS = 600.0
"""How often the open alerts are read again: another host, or an earlier process, may have raised one."""
_OPEN_ALERTS = select(ALERT.c.subject).where(ALERT.c.code == "job_failing", ALERT.c.cleared_at.is_(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureStreak:
    """A job's failures in a row, and the instants of the first and the last one."""

    failures: int
    since: datetime
    last: datetime


class JobRunner:
    """Runs the jobs of one process. A database that is away, busy or full is not a failure of the job."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._streaks: dict[str, FailureStreak] = {}
        self._open_alerts: set[str] = set()
        self._refresh_at = float("-inf")

    async def run(self, job: str, work: Awaitable[int | None], *, event: str, account: AccountId | None = None) -> None:
        """Run a job once. Never raises: an error is logged as `event`, and raises an alert if it continues.

        Any host may run the job of an account; any other job is this host's own. Work that returns 0 found nothing to
        do, which proves only FAILING_TIME_BEFORE_ALERT after the last failure that the job works again.
        """
        fields = {"job": job, **({"account": account} if account else {})}
        subject = subject_of_job(job, account or self.store.worker)
        try:
            done = await work
        except Exception as error:  # noqa: BLE001 # a failed job must not end the daemon; it comes again
            if is_outage(error):
                log.warning("database_unavailable", **fields)
                return
            log.exception(event, **fields, error=type(error).__name__)
            record = self._record_failure(subject, {**fields, "event": event})
        else:
            record = self._record_success(subject, is_idle=done == 0)
        try:
            await record
        except Exception as error:  # noqa: BLE001 # the alert is tried again when the job comes again
            log.warning("alert_not_written", **fields, error=type(error).__name__)

    async def _record_failure(self, subject: str, facts: dict[str, str]) -> None:
        now = self.store.runtime.now()
        before = self._streaks.get(subject, FailureStreak(failures=0, since=now, last=now))
        streak = self._streaks[subject] = FailureStreak(failures=before.failures + 1, since=before.since, last=now)
        is_lasting = streak.failures > 1 and now - streak.since >= FAILING_TIME_BEFORE_ALERT
        if (streak.failures < FAILURES_BEFORE_ALERT and not is_lasting) or subject in await self._read_open_alerts():
            return
        host = self.store.worker.partition(":")[0]
        facts = {**facts, "host": host, "number": str(streak.failures), "since": streak.since.isoformat()}
        await self.store.database.write(
            lambda transaction: raise_alert(transaction, now, "job_failing", subject, facts)
        )
        self._open_alerts.add(subject)

    async def _record_success(self, subject: str, *, is_idle: bool) -> None:
        now, streak = self.store.runtime.now(), self._streaks.get(subject)
        if is_idle and streak is not None and now - streak.last < FAILING_TIME_BEFORE_ALERT:
            return
        self._streaks.pop(subject, None)
        if subject in await self._read_open_alerts():
            await self.store.database.write(lambda transaction: clear_alerts(transaction, subject, now))
            self._open_alerts.discard(subject)

    def clear_other_alerts(self, transaction: Transaction, job: str, accounts: Collection[AccountId]) -> None:
        """Clear a job's alerts for all accounts but these, because it does not run for the others any more."""
        kept = {subject_of_job(job, account) for account in accounts}
        for subject in transaction.connection.scalars(_OPEN_ALERTS).all():
            if subject.startswith(subject_of_job(job, "")) and subject not in kept:
                clear_alerts(transaction, subject, self.store.runtime.now())
                self._streaks.pop(subject, None)
                self._open_alerts.discard(subject)

    async def _read_open_alerts(self) -> set[str]:
        now = self.store.runtime.monotonic()
        if now >= self._refresh_at:
            subjects = await self.store.database.read(lambda connection: connection.scalars(_OPEN_ALERTS).all())
            self._open_alerts = set(subjects)
            self._refresh_at = now + ALERT_REFRESH_SECONDS
        return self._open_alerts


def subject_of_job(job: str, owner: str) -> str:
    """Return the alert subject of a job that belongs to an account or a worker."""
    return f"job:{job}:{owner}"


def is_outage(error: BaseException) -> bool:
    """Return True if the database could not be reached or written; another part raises the alert for that."""
    if isinstance(error, ExceptionGroup):
        return all(map(is_outage, error.exceptions))
    return is_connection_lost(error) or isinstance(error, CommitUnknownError) or write_error_code(error) is not None
