"""Databases filled the way the program fills them, or by SQL where that would take too long."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from publisher.app.application import Application, open_application
from publisher.config import load_settings
from publisher.engine.planner import apply_schedule
from publisher.store.deliveries.maintenance import Maintenance
from publisher.testing.fakes import make_confirmed_runtime


@contextlib.asynccontextmanager
async def application(folder: Path, *, can_send: bool) -> AsyncIterator[Application]:
    """Open the whole on a workspace."""
    async with open_application(await load_settings(folder), make_confirmed_runtime(), can_send=can_send) as opened:
        yield opened


async def ripen_all(maintenance: Maintenance) -> None:
    """Make due whatever has come due: one round leaves some of a long backlog for the next."""
    while await maintenance.promote_due():
        pass


async def file_schedule(folder: Path) -> int:
    """Accept the workspace's schedule and file what is within reach. Returns how many deliveries that are."""
    file = folder / "schedule.toml"
    async with application(folder, can_send=False) as opened:
        return await apply_schedule(opened.planner, file.read_text("utf-8"), str(file))
