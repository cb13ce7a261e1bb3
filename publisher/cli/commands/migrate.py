"""`migrate`: bring the database to the schema of this version."""

import asyncio

from publisher.cli.context import (
    load_workspace_settings,
    open_command_store,
    report_database_errors,
)
from publisher.cli.framework import command
from publisher.cli.terminal import Terminal
from publisher.store.recovery.setup import NEWEST_MIGRATION, migration_of


@command("migrate")
async def migrate(terminal: Terminal) -> None:
    settings = await load_workspace_settings(terminal)
    with report_database_errors(settings.database):
        before = await asyncio.to_thread(migration_of, settings.database)
    async with open_command_store(settings):  # opening migrates
        pass
    code = (
        "migrate_made"
        if before is None
        else "migrate_same"
        if before == NEWEST_MIGRATION
        else "migrate_done"
    )
    terminal.print_message(code, before=before, after=NEWEST_MIGRATION)
