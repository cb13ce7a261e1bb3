"""Jobs that are repeated for ever: where one keeps failing, people are alerted, until it works again."""

from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from publisher.domain.account import AccountId
from publisher.store.books import Books
from publisher.store.connection import CommitUnknownError, is_lost
from publisher.store.engine import Unit
from publisher.store.ledger import clear_alerts, tell
from publisher.store.rows import ALERT
from publisher.store.trouble import trouble_of
from publisher.telemetry import log

FAILURES_ALERTED = 3
"""So many failures in a row are an alert."""
FAILING_ALERTED = timedelta(hours=1)
"""Of a job that comes seldom, several failures over so long a time are enough."""
ACCOUNT_JOBS = ("watch_account", "probe_account")
"""Jobs that each account has of its own."""
REFRESH_SECONDS = 600.0
"""How often it is read which alerts stand: another host, or an earlier process, may have written one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """How often a job has failed in a row, since when, and when last."""

    failures: int
    since: datetime
    last: datetime


class Jobs:
    """How the jobs of one process go. That the database is away, busy or full is no failure of theirs."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self._streaks: dict[str, Streak] = {}
        self._standing: set[str] = set()
        """Subjects of the alerts that stand."""
        self._refresh_at = float("-inf")

    async def run(self, job: str, work: Awaitable[int | None], *, event: str, account: AccountId | None = None) -> None:
        """Do a job once. Never raises: what goes wrong is logged as `event`, and an alert where that goes on.

        A job of an account may be taken by any host, any other job is this host's own. Work that returns 0 found
        nothing to do, which shows only an hour after the last failure that the job works again.
        """
        named = {"job": job, **({"account": account} if account else {})}
        subject = subject_of_job(job, account or self.books.worker)
        try:
            done = await work
        except Exception as error:  # noqa: BLE001 # a failed job must not end the daemon; it comes again
            if is_outage(error):
                log.warning("database_away", **named)
                return
            log.exception(event, **named, error=type(error).__name__)
            await self._note(self._fail(subject, {**named, "event": event}), named)
        else:
            await self._note(self._work(subject, is_idle=done == 0), named)

    async def _note(self, note: Awaitable[None], named: dict[str, str]) -> None:
        try:
            await note
        except Exception as error:  # noqa: BLE001 # the alert is tried again when the job comes again
            log.warning("alert_not_written", **named, error=type(error).__name__)

    async def _fail(self, subject: str, facts: dict[str, str]) -> None:
        now = self.books.world.now()
        before = self._streaks.get(subject, Streak(failures=0, since=now, last=now))
        streak = self._streaks[subject] = Streak(failures=before.failures + 1, since=before.since, last=now)
        goes_on = streak.failures > 1 and now - streak.since >= FAILING_ALERTED
        if (streak.failures < FAILURES_ALERTED and not goes_on) or subject in await self._read_standing():
            return
        host = self.books.worker.partition(":")[0]
        told = {**facts, "host": host, "number": str(streak.failures), "since": streak.since.isoformat()}
        await self.books.database.write(lambda unit: tell(unit, now, "job_failing", subject, told))
        self._standing.add(subject)

    async def _work(self, subject: str, *, is_idle: bool) -> None:
        streak = self._streaks.get(subject)
        if is_idle and streak is not None and self.books.world.now() - streak.last < FAILING_ALERTED:
            return
        self._streaks.pop(subject, None)
        if subject not in await self._read_standing():
            return
        now = self.books.world.now()

        def operation(unit: Unit) -> None:
            clear_alerts(unit, subject, now)

        await self.books.database.write(operation)
        self._standing.discard(subject)

    def retain(self, unit: Unit, job: str, accounts: Collection[AccountId]) -> None:
        """Close the alerts about a job of all but these accounts: nobody does it for the others any more."""
        query = select(ALERT.c.subject).where(ALERT.c.code == "job_failing", ALERT.c.cleared_at.is_(None))
        kept = {subject_of_job(job, account) for account in accounts}
        for subject in unit.connection.scalars(query).all():
            if subject.startswith(subject_of_job(job, "")) and subject not in kept:
                clear_alerts(unit, subject, self.books.world.now())
                self._streaks.pop(subject, None)
                self._standing.discard(subject)

    async def _read_standing(self) -> set[str]:
        now = self.books.world.monotonic()
        if now >= self._refresh_at:
            query = select(ALERT.c.subject).where(ALERT.c.code == "job_failing", ALERT.c.cleared_at.is_(None))
            self._standing = set(await self.books.database.read(lambda connection: connection.scalars(query).all()))
            self._refresh_at = now + REFRESH_SECONDS
        return self._standing


def subject_of_job(job: str, whose: str) -> str:
    """Name a job of an account, or of a worker, in alerts."""
    return f"job:{job}:{whose}"


def is_outage(error: BaseException) -> bool:
    """Whether the database could not be reached or written, of which people are alerted elsewhere."""
    if isinstance(error, ExceptionGroup):
        return all(map(is_outage, error.exceptions))
    return is_lost(error) or isinstance(error, CommitUnknownError) or trouble_of(error) is not None
