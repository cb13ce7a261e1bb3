"""What most commands begin with: the settings and the store."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

from sqlalchemy.exc import DBAPIError

from publisher.app.open_store import AccessMode, journal_path, open_store
from publisher.cli.errors import CommandFailedError, report_error
from publisher.cli.terminal import Terminal
from publisher.config import Environment, Settings, load_settings
from publisher.domain.errors import RefusedError
from publisher.i18n import Messages
from publisher.runtime.clock import Runtime
from publisher.runtime.failpoints import FailpointSyntaxError, parse_failpoints
from publisher.store.db.database import sqlite_file
from publisher.store.recovery.setup import check_against_journal
from publisher.store.recovery.swap import pending_swaps
from publisher.store.store import Store


async def load_workspace_settings(terminal: Terminal) -> Settings:
    """Load the workspace's settings, with the language of this command. Raise SettingsError."""
    return replace(await load_settings(terminal.workspace), lang=terminal.messages.lang)


def has_database(settings: Settings) -> bool:
    """True if there is a database to read; commands that only read must not create one."""
    file = sqlite_file(settings.database)
    return file is None or file.is_file() or bool(pending_swaps(file))


@contextlib.asynccontextmanager
async def open_command_store(settings: Settings, access: AccessMode = AccessMode.READ) -> AsyncIterator[Store]:
    """Open the store. With read access, warn on standard error of a journal that a daemon would refuse.

    Raise CommandFailedError when the database does not answer.
    """
    with report_database_errors():
        async with open_store(settings, Runtime(), access) as store:
            if access is AccessMode.READ:
                try:
                    await asyncio.to_thread(check_against_journal, settings.database, journal_path(settings))
                except (RefusedError, OSError) as error:
                    terminal = Terminal(messages=Messages(settings.lang), workspace=settings.workspace)
                    terminal.print_note("journal_unusable")
                    report_error(error, terminal)
            yield store


@contextlib.contextmanager
def report_database_errors() -> Iterator[None]:
    """Raise CommandFailedError where the database does not answer."""
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()
        raise CommandFailedError("database_error", reason=reason[0] if reason else "?") from error


def make_runtime(settings: Settings) -> Runtime:
    """Return the runtime with the failpoints of PUBLISHER_FAILPOINTS. Raise RefusedError if there are any in `live`."""
    try:
        failpoints = parse_failpoints(os.environ.get("PUBLISHER_FAILPOINTS", ""))
    except FailpointSyntaxError as error:
        raise CommandFailedError("failpoints_invalid", item=str(error)) from error
    if failpoints and settings.environment is Environment.LIVE:
        raise RefusedError("failpoints_live")
    return Runtime(failpoints=failpoints)
