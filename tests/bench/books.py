"""Books filled the way the program fills them, or by SQL where that would take too long."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from publisher.planning import reload
from publisher.settings import load_settings
from publisher.store.rounds import Rounds
from publisher.testing.fakes import confirmed_world
from publisher.wiring.application import Application, open_application


@contextlib.asynccontextmanager
async def application(folder: Path, *, sends: bool) -> AsyncIterator[Application]:
    """Open the whole on a workspace."""
    async with open_application(await load_settings(folder), confirmed_world(), sends=sends) as opened:
        yield opened


async def ripen_all(rounds: Rounds) -> None:
    """Make due whatever has come due: one round leaves some of a long backlog for the next."""
    while await rounds.ripen():
        pass


async def file_schedule(folder: Path) -> int:
    """Accept the workspace's schedule and file what is within reach. Returns how many deliveries that are."""
    file = folder / "schedule.toml"
    async with application(folder, sends=False) as opened:
        return await reload(opened.planner, file.read_text("utf-8"), str(file))
