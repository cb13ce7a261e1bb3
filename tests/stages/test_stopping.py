"""The daemon is asked to stop: what has begun ends, and nothing is told of as an error."""

import asyncio
import logging
import time
from dataclasses import dataclass, field

from publisher.daemon import Daemon, _run_on
from publisher.messages import Messages
from publisher.settings import parse_settings
from publisher.wiring.application import open_application
from tests.stages.test_planning import SETTINGS


@dataclass(slots=True)
class Hurried(Daemon):
    """Is asked to stop in the very moment in which the next beats are due."""

    calls: list[str] = field(default_factory=list)

    async def keep(self):
        time.sleep(0.35)  # noqa: ASYNC251 # the loop must find them due together, as after a pause of the machine
        await asyncio.sleep(0)
        self.stopping.set()

    async def deliver(self):
        self.calls.append("begun")
        await asyncio.sleep(0.05)
        self.calls.append("ended")

    look = retract = deliver


async def test_a_stop_cuts_no_beat_short_that_was_just_due(tmp_path, world, caplog):
    """A beat either runs to its end or does not begin; a log without cause for alarm has no error in it."""
    settings = parse_settings(SETTINGS, workspace=tmp_path)
    async with open_application(settings, world, sends=False) as application:
        daemon = Hurried(application, tmp_path / "schedule.toml", Messages(settings.lang), world.now())
        await _run_on(daemon)
    assert daemon.calls.count("begun") == daemon.calls.count("ended")
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
