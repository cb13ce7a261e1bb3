"""What most commands begin with: the settings, and the books."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from publisher.cli.terminal import Terminal
from publisher.cli.trouble import FailedError
from publisher.settings import Settings, load_settings
from publisher.store.books import Books
from publisher.store.engine import sqlite_file
from publisher.wiring.books import open_books
from publisher.world import World


async def settings_of(terminal: Terminal) -> Settings:
    """Read the workspace's settings; words are those of the language asked for here. Raises SettingsError."""
    return replace(await load_settings(terminal.workspace), lang=terminal.messages.lang)


def has_books(settings: Settings) -> bool:
    """Whether there are books to look at; looking must not make any."""
    file = sqlite_file(settings.database)
    return file is None or file.is_file()


@contextlib.asynccontextmanager
async def books_of(settings: Settings) -> AsyncIterator[Books]:
    """Open the books for looking and for orders. Raises FailedError when the database does not answer."""
    with database_trouble():
        async with open_books(settings, World()) as books:
            yield books


@contextlib.contextmanager
def database_trouble() -> Iterator[None]:
    """Say in words that the database does not answer. Raises FailedError."""
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()
        raise FailedError("database_trouble", reason=reason[0] if reason else "?") from error


def schedule_file(settings: Settings) -> Path:
    return settings.workspace / "schedule.toml"
