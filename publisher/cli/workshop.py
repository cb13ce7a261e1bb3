"""What the commands begin with that render or plan: the whole."""

import contextlib
from collections.abc import AsyncIterator

from publisher.cli.workplace import database_trouble
from publisher.settings import Settings
from publisher.wiring.application import Application, open_application
from publisher.world import World


@contextlib.asynccontextmanager
async def application_of(settings: Settings) -> AsyncIterator[Application]:
    """Open the books together with templates and planning. Raises FailedError when the database does not answer."""
    with database_trouble():
        async with open_application(settings, World(), sends=False) as application:
            yield application
