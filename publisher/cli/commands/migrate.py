"""`migrate`: the database, brought to the schema of this version."""

import asyncio

from publisher.cli.context import load_workspace_settings, open_command_store, report_database_errors
from publisher.cli.framework import command
from publisher.cli.terminal import Terminal
from publisher.store.recovery.setup import NEWEST_MIGRATION, migration_of


@command("migrate")
def migrate(terminal: Terminal) -> int:
    before = asyncio.run(_migrate(terminal))
    code = "migrate_made" if before is None else "migrate_same" if before == NEWEST_MIGRATION else "migrate_done"
    terminal.print_message(code, before=before, after=NEWEST_MIGRATION)
    return 0


async def _migrate(terminal: Terminal) -> str | None:
    """Bring the database up; give where it stood before, None where there was none."""
    settings = await load_workspace_settings(terminal)
    with report_database_errors():
        before = await asyncio.to_thread(migration_of, settings.database)
    async with open_command_store(settings):
        return before
