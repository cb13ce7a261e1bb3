"""What the commands begin with that render or plan: the whole."""

import contextlib
from collections.abc import AsyncIterator

from publisher.app.application import Application, open_application
from publisher.cli.context import report_database_errors
from publisher.config import Settings
from publisher.runtime.clock import Runtime


@contextlib.asynccontextmanager
async def open_command_application(settings: Settings) -> AsyncIterator[Application]:
    """Open the books together with templates and planning. Raises FailedError when the database does not answer."""
    with report_database_errors():
        async with open_application(settings, Runtime(), can_send=False) as application:
            yield application
