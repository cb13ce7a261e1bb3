"""`move-database`: move from SQLite to a PostgreSQL database of one's own."""

import contextlib

import click

from publisher.app.open_store import journal_path
from publisher.cli.authentication import authenticate_offline
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    open_command_store,
    report_database_errors,
)
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import LocalizedUsageError, by_option, command, one_line
from publisher.cli.terminal import Terminal
from publisher.config import Settings
from publisher.domain.addresses import has_password, is_postgres_url
from publisher.engine.checkpoints import build_checkpoint_targets, find_mismatched
from publisher.runtime.clock import Runtime
from publisher.store.db.database import sqlite_file
from publisher.store.recovery.folder import lock_process
from publisher.store.recovery.move_database import copy_to_postgres
from publisher.store.recovery.setup import prepare_database


@command("move-database")
@click.argument("url", metavar="URL", type=one_line)
@by_option
async def move_database(terminal: Terminal, url: str, by: str) -> None:
    if not is_postgres_url(url):
        raise LocalizedUsageError("not_postgres")
    if has_password(url):
        raise LocalizedUsageError("password_in_url")
    settings, runtime = await load_workspace_settings(terminal), Runtime()
    if sqlite_file(settings.database) is None:
        raise CommandFailedError("already_shared")
    if not has_database(settings):
        raise CommandFailedError("nothing_to_move")
    person = await authenticate_offline(
        terminal, settings, command="move-database", by=by
    )
    with contextlib.ExitStack() as stack, report_database_errors(url):
        stack.callback(lock_process(settings.database, settings.workspace).release)
        for database in (settings.database, url):
            await prepare_database(
                database, settings.environment.value, journal_path(settings), runtime
            )
        is_newest = await is_newest_database(settings)
        counts = await copy_to_postgres(
            settings.database, url, runtime, person, is_newest=is_newest
        )
    terminal.print_message("moved_done", rows=sum(counts.values()))
    if not is_newest:
        terminal.print_note("moved_without_authority")


async def is_newest_database(settings: Settings) -> bool:
    """Return True if daemons have stopped in order on it, and each checkpoint fits its audit."""
    async with open_command_store(settings, policies={}) as store:
        targets = build_checkpoint_targets(settings)
        return not (
            await store.queries.has_unstopped_worker()
            or await find_mismatched(store.audit, targets)
        )
