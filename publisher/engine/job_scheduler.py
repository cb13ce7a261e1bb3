"""Starts the daemon's jobs at their intervals, by APScheduler, independent of the wall clock.

The wall clock may be set meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

JOB_TIME_CHECK_SECONDS = 1.0
"""How often the next times of the jobs are compared with the clock."""

MAX_DELAY_SECONDS = 30.0
"""How much later than its interval a job may start on a busy machine."""


@dataclass(frozen=True, slots=True)
class Job:
    """A repeated task of the daemon. Alerts, the log and the tests know a job by its name.

    `idle_interval_seconds` is the interval while no delivery needs it; None if that makes no
    difference. `run_last` is its run at the end of a process that does not wait, if that differs.
    """

    name: str
    run: Callable[[], Awaitable[int | None]]
    first_after_seconds: float
    interval_seconds: float
    idle_interval_seconds: float | None = None
    run_last: Callable[[], Awaitable[int | None]] | None = None


class JobWatch:
    """Knows when each job was started last, and finds the jobs that the scheduler neglects."""

    def __init__(
        self,
        jobs: Iterable[Job],
        interval_of: Callable[[Job], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.jobs = {job.name: job for job in jobs}
        self.interval_of = interval_of
        self.monotonic = monotonic
        self.watched_since = monotonic()
        self.started_at: dict[str, float] = {}

    def note_start(self, name: str) -> None:
        self.started_at[name] = self.monotonic()

    def find_late(self, running: Container[str]) -> Sequence[str]:
        """Return the jobs that should have been started again by now.

        A job that runs is not late: one that sends has to await its calls.
        """
        now, late = self.monotonic(), []
        for name, job in self.jobs.items():
            wait = max(self.interval_of(job), job.first_after_seconds)
            last = self.started_at.get(name, self.watched_since)
            if name not in running and now > last + wait + MAX_DELAY_SECONDS:
                late.append(name)
        return late


class MonotonicTrigger(BaseTrigger):  # type: ignore[misc] # the library has no types
    """Fires at an interval after the last run.

    After a forward clock jump no missed run is made up for.
    """

    def __init__(self, job: Job, interval_of: Callable[[Job], float]) -> None:
        self.job = job
        self.interval_of = interval_of

    @property
    def max_wait(self) -> timedelta:
        """How far ahead the next run may lie."""
        return timedelta(
            seconds=max(self.job.first_after_seconds, self.interval_of(self.job))
        )

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        return now + timedelta(seconds=self.interval_of(self.job))


def schedule_jobs(
    jobs: Iterable[Job],
    interval_of: Callable[[Job], float],
    run: Callable[[Job], Awaitable[None]],
) -> AsyncIOScheduler:
    """Return a scheduler, not started yet, that runs each job, one run of it at a time."""
    scheduler = AsyncIOScheduler(timezone="UTC")
    now = datetime.now(UTC)
    for job in jobs:
        scheduler.add_job(
            run,
            MonotonicTrigger(job, interval_of),
            args=(job,),
            next_run_time=now + timedelta(seconds=job.first_after_seconds),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
    return scheduler


async def correct_job_times(scheduler: AsyncIOScheduler) -> None:
    """Run at once the jobs that a clock set back moved far ahead, and the ones needed again."""
    while True:
        await asyncio.sleep(JOB_TIME_CHECK_SECONDS)
        now = datetime.now(UTC)
        for job in scheduler.get_jobs():
            if job.next_run_time > now + job.trigger.max_wait:
                job.modify(next_run_time=now)
