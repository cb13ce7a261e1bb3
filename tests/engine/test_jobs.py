"""The daemon's jobs while the clock is set, and while they are asked to stop."""

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import apscheduler.schedulers.base
import pytest

import publisher.engine.job_scheduler
from publisher.app.application import open_application
from publisher.config import parse_settings
from publisher.daemon import Daemon, run_until_stopped
from publisher.i18n import Messages
from tests.engine.test_planner import SETTINGS


@dataclass(slots=True)
class TimerDaemon(Daemon):
    """A daemon that only runs its timers, with given actions in the jobs' first runs."""

    deeds: list = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self):
        Daemon.__post_init__(self)
        given = {
            "run_maintenance": self.act,
            **dict.fromkeys(("send", "reconcile", "retract"), self.call),
        }
        self.jobs = {
            name: replace(job, run=given.get(name, job.run))
            for name, job in self.jobs.items()
        }

    async def act(self):
        if self.deeds:
            await self.deeds.pop(0)(self)

    async def call(self):
        self.calls.append("begun")
        self.has_begun.set()
        await asyncio.sleep(0.05)  # a call takes time: the stop comes meanwhile
        self.calls.append("ended")


@pytest.fixture
async def daemon(tmp_path, runtime):
    settings = parse_settings(SETTINGS, workspace=tmp_path)
    async with open_application(settings, runtime, can_send=False) as application:
        yield TimerDaemon(
            application,
            tmp_path / "schedule.toml",
            Messages(settings.lang),
            runtime.now(),
        )


async def stop(daemon):
    daemon.stop_requested.set()


async def oversleep_and_stop(daemon):
    """Request a stop at the very moment of the next due runs."""
    time.sleep(0.35)  # noqa: ASYNC251 # the loop must find them due together, as after a pause of the machine
    await asyncio.sleep(0)
    await stop(daemon)


async def test_a_stop_interrupts_no_run_that_was_just_due(daemon, caplog):
    """A run either goes to its end or does not begin.

    A log without cause for alarm has no error in it.
    """
    daemon.deeds = [oversleep_and_stop]
    await run_until_stopped(daemon)
    assert daemon.calls.count("begun") == daemon.calls.count("ended")
    assert [
        record for record in caplog.records if record.levelno >= logging.ERROR
    ] == []


async def test_a_stop_waits_for_what_has_begun(daemon):
    """Runs that are in progress when the stop is requested have ended when the daemon has."""

    async def wait_for_a_call(daemon):
        await daemon.has_begun.wait()
        await stop(daemon)

    daemon.deeds = [wait_for_a_call]
    await run_until_stopped(daemon)
    assert daemon.calls.count("ended") == daemon.calls.count("begun") > 0


@pytest.mark.long
@pytest.mark.parametrize(
    "jump",
    [
        pytest.param(timedelta(days=-30), id="F60-back"),
        pytest.param(timedelta(days=20_000), id="F61-ahead"),
    ],
)
async def test_the_jobs_go_on_when_the_clock_is_set(daemon, monkeypatch, jump):
    """Jobs neither wait for the old time nor make up for runs that a jump skipped."""

    class Shifted(datetime):
        by = timedelta()

        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + cls.by

    async def set_clock(_daemon):
        Shifted.by = jump

    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", Shifted)
    monkeypatch.setattr(publisher.engine.job_scheduler, "datetime", Shifted)
    daemon.deeds = [set_clock, stop]
    async with asyncio.timeout(60):
        await run_until_stopped(daemon)
    assert daemon.deeds == []
