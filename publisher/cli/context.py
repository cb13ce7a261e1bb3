"""What most commands begin with: the settings, and the books."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from publisher.app.open_store import AccessMode, journal_path, open_store
from publisher.cli.errors import CommandFailedError, report_error
from publisher.cli.terminal import Terminal
from publisher.config import Environment, Settings, load_settings
from publisher.domain.errors import RefusedError
from publisher.i18n import Messages
from publisher.runtime.clock import FailpointSyntaxError, Runtime, parse_failpoints
from publisher.store.db.database import sqlite_file
from publisher.store.recovery.setup import check_against_journal
from publisher.store.recovery.swap import pending_swaps
from publisher.store.store import Store


async def load_workspace_settings(terminal: Terminal) -> Settings:
    """Read the workspace's settings; words are those of the language asked for here. Raises SettingsError."""
    return replace(await load_settings(terminal.workspace), lang=terminal.messages.lang)


def has_database(settings: Settings) -> bool:
    """Whether there are books to look at; looking must not make any."""
    file = sqlite_file(settings.database)
    return file is None or file.is_file() or bool(pending_swaps(file))


@contextlib.asynccontextmanager
async def open_command_store(settings: Settings, access: AccessMode = AccessMode.READ) -> AsyncIterator[Store]:
    """Open the books for looking and for orders. Raises FailedError when the database does not answer."""
    with report_database_errors():
        async with open_store(settings, Runtime(), access) as store:
            if access is AccessMode.READ:
                await asyncio.to_thread(_warn_stale_journal, settings)
            yield store


def _warn_stale_journal(settings: Settings) -> None:
    """Tell who looks or stops that a daemon would not start on these books, and why."""
    try:
        check_against_journal(settings.database, journal_path(settings))
    except (RefusedError, OSError) as error:
        terminal = Terminal(messages=Messages(settings.lang), workspace=settings.workspace)
        terminal.print_note("journal_unusable")
        report_error(error, terminal)


@contextlib.contextmanager
def report_database_errors() -> Iterator[None]:
    """Say in words that the database does not answer. Raises FailedError."""
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()
        raise CommandFailedError("database_error", reason=reason[0] if reason else "?") from error


def make_runtime(settings: Settings) -> Runtime:
    """Give the world, with the failpoints that the environment asks for; never in live operation."""
    asked = os.environ.get("PUBLISHER_FAILPOINTS", "")
    try:
        failpoints = parse_failpoints(asked)
    except FailpointSyntaxError as error:
        raise CommandFailedError("failpoints_invalid", item=str(error)) from error
    if failpoints and settings.environment is Environment.LIVE:
        raise RefusedError("failpoints_live")
    return Runtime(failpoints=failpoints)


def schedule_path(settings: Settings) -> Path:
    return settings.workspace / "schedule.toml"
