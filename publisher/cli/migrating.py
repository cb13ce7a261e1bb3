"""`migrate`: the database, brought to the schema of this version."""

import asyncio

from publisher.cli.shape import command
from publisher.cli.terminal import Terminal
from publisher.cli.workplace import books_of, database_trouble, settings_of
from publisher.store.setup import HEAD, version_of


@command("migrate")
def migrate(terminal: Terminal) -> int:
    before = asyncio.run(_migrate(terminal))
    code = "migrate_made" if before is None else "migrate_same" if before == HEAD else "migrate_done"
    terminal.say(code, before=before, after=HEAD)
    return 0


async def _migrate(terminal: Terminal) -> str | None:
    """Bring the database up; give where it stood before, None where there was none."""
    settings = await settings_of(terminal)
    with database_trouble():
        before = await asyncio.to_thread(version_of, settings.database)
    async with books_of(settings):
        return before
