"""Opens the application for commands that render or plan; apart from `context`, as loading the adapters takes long."""

import contextlib
from collections.abc import AsyncIterator

from publisher.app.application import Application, open_application
from publisher.cli.context import report_database_errors
from publisher.config import Settings
from publisher.runtime.clock import Runtime


@contextlib.asynccontextmanager
async def open_command_application(settings: Settings) -> AsyncIterator[Application]:
    """Open the store with templates and planner. Raise CommandFailedError when the database does not answer."""
    with report_database_errors():
        async with open_application(settings, Runtime(), can_send=False) as application:
            yield application
