"""What most commands begin with: the settings, and the books."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from publisher.cli.terminal import Terminal
from publisher.cli.trouble import FailedError, explain
from publisher.domain.errors import RefusedError
from publisher.messages import Messages
from publisher.settings import Environment, Settings, load_settings
from publisher.store.books import Books
from publisher.store.engine import sqlite_file
from publisher.store.exchange import decided
from publisher.store.setup import check_age
from publisher.wiring.books import Use, journal_path, open_books
from publisher.world import FailpointSyntaxError, World, read_failpoints


async def settings_of(terminal: Terminal) -> Settings:
    """Read the workspace's settings; words are those of the language asked for here. Raises SettingsError."""
    return replace(await load_settings(terminal.workspace), lang=terminal.messages.lang)


def has_books(settings: Settings) -> bool:
    """Whether there are books to look at; looking must not make any."""
    file = sqlite_file(settings.database)
    return file is None or file.is_file() or bool(decided(file))


@contextlib.asynccontextmanager
async def books_of(settings: Settings, use: Use = Use.LOOK) -> AsyncIterator[Books]:
    """Open the books for looking and for orders. Raises FailedError when the database does not answer."""
    with database_trouble():
        async with open_books(settings, World(), use) as books:
            if use is Use.LOOK:
                await asyncio.to_thread(_note_age, settings)
            yield books


def _note_age(settings: Settings) -> None:
    """Tell who looks or stops that a daemon would not start on these books, and why."""
    try:
        check_age(settings.database, journal_path(settings))
    except (RefusedError, OSError) as error:
        terminal = Terminal(messages=Messages(settings.lang), workspace=settings.workspace)
        terminal.note("journal_unfit")
        explain(error, terminal)


@contextlib.contextmanager
def database_trouble() -> Iterator[None]:
    """Say in words that the database does not answer. Raises FailedError."""
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()
        raise FailedError("database_trouble", reason=reason[0] if reason else "?") from error


def world_of(settings: Settings) -> World:
    """Give the world, with the failpoints that the environment asks for; never in live operation."""
    asked = os.environ.get("PUBLISHER_FAILPOINTS", "")
    try:
        failpoints = read_failpoints(asked)
    except FailpointSyntaxError as error:
        raise FailedError("failpoints_unread", item=str(error)) from error
    if failpoints and settings.environment is Environment.LIVE:
        raise RefusedError("failpoints_live")
    return World(failpoints=failpoints)


def schedule_file(settings: Settings) -> Path:
    return settings.workspace / "schedule.toml"
