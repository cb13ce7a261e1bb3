"""The schedule's file changes while the daemon is about to read it."""

import asyncio

import pytest

from publisher.daemon import Daemon
from publisher.domain.post import PostId
from publisher.messages import Messages
from publisher.settings import parse_settings
from publisher.testing.fakes import StillWorld
from publisher.wiring.application import open_application
from tests.stages.test_planning import SETTINGS, entry

WHOLE = entry("p") + entry("q")
HALF = entry("p")


class BusyDesk(StillWorld):
    """A world in which somebody saves the file once more while the daemon waits for it to lie still."""

    saves = ()

    async def sleep_until(self, instant):
        if self.saves:
            file, text = self.saves.pop(0)
            await asyncio.to_thread(file.write_text, text, "utf-8")


@pytest.fixture
def world():
    return BusyDesk()


@pytest.fixture
async def daemon(tmp_path, world):
    settings = parse_settings(SETTINGS, workspace=tmp_path)
    async with open_application(settings, world, sends=False) as application:
        yield Daemon(application, tmp_path / "schedule.toml", Messages(settings.lang), world.now())


async def posts_of(daemon):
    return {item.key.post for item in await daemon.application.board.deliveries()}


async def test_f64_a_file_that_is_still_being_written_is_not_read(daemon, world):
    """F64: half of it, valid by accident, never comes into force; the whole does at the next beat."""
    daemon.schedule_file.write_text(HALF, "utf-8")
    world.saves = [(daemon.schedule_file, WHOLE)]
    await daemon.read_schedule()
    assert await posts_of(daemon) == set()
    await daemon.read_schedule()
    assert await posts_of(daemon) == {PostId("p"), PostId("q")}


async def test_f64_a_file_cut_in_the_middle_leaves_the_last_good_version(daemon):
    """F64: a half-written file that lies still is refused with its line; what was in force stays so."""
    daemon.schedule_file.write_text(WHOLE, "utf-8")
    await daemon.read_schedule()
    daemon.schedule_file.write_text(WHOLE[: len(WHOLE) - 20], "utf-8")
    await daemon.read_schedule()
    assert await daemon.application.registry.schedule_text() == WHOLE
    assert [alert.code for alert in await daemon.application.board.alerts()] == ["reload_refused"]
