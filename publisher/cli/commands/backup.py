"""`backup`: copy the database to a file."""

import asyncio
from datetime import datetime
from pathlib import Path

import click

from publisher.app.format import Formatter
from publisher.app.open_store import journal_path
from publisher.app.restore import finish_pending_restore
from publisher.cli.context import has_database, load_workspace_settings, make_runtime
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import command, one_line
from publisher.cli.terminal import Terminal
from publisher.store.db.database import sqlite_file
from publisher.store.recovery.backup import make_backup


@command("backup")
@click.argument("target", metavar="FILE", type=one_line)
async def backup(terminal: Terminal, target: str) -> None:
    settings = await load_workspace_settings(terminal)
    file = sqlite_file(settings.database)
    if file is None:
        raise CommandFailedError("backup_postgres")
    if not has_database(settings):
        raise CommandFailedError("backup_nothing_yet")
    runtime = make_runtime(settings)
    await asyncio.to_thread(finish_pending_restore, settings, runtime, file)
    info = await asyncio.to_thread(
        make_backup, file, Path(target), journal_path(settings), runtime
    )
    size = Path(target).stat().st_size // 1024  # noqa: ASYNC240 # nothing else runs here
    at = Formatter(messages=terminal.messages, timezone=settings.timezone).time(
        datetime.fromisoformat(info.at)
    )
    terminal.print_message(
        "backup_done", file=target, at=at, entries=info.entries, size=size
    )
    terminal.print_note("backup_also_keep")
