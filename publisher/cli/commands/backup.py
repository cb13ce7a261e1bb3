"""`backup`: copy the database to a file, or record a backup that another tool has made."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy.exc import SQLAlchemyError

from publisher.app.format import Formatter
from publisher.app.open_store import journal_path, open_unchecked_store
from publisher.app.restore import finish_pending_restore
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    make_runtime,
    report_database_errors,
)
from publisher.cli.errors import EXIT_FAILED, CommandFailedError, report_error
from publisher.cli.framework import LocalizedUsageError, command, one_line
from publisher.cli.terminal import Terminal
from publisher.config import Settings, load_database_settings
from publisher.domain.errors import SettingsError
from publisher.engine.watchdog_settings import load_kept_settings
from publisher.runtime.clock import Runtime
from publisher.store.backup_record import BackupRecord
from publisher.store.db.database import sqlite_file
from publisher.store.recovery.backup import BackupInfo, make_backup
from publisher.store.recovery.backup_folder import name_backup, remove_old_backups


@command("backup")
@click.argument("target", metavar="FILE", type=one_line)
@click.option("--keep", type=click.IntRange(min=1), help="opt_backup_keep")
@click.option("--record", "is_record", is_flag=True, help="opt_backup_record")
async def backup(
    terminal: Terminal, target: str, *, keep: int | None, is_record: bool
) -> int:
    path = Path(target).absolute()  # noqa: ASYNC240 # nothing else runs here
    if keep is not None and (is_record or not path.is_dir()):
        raise LocalizedUsageError("backup_keep_usage")
    settings = await _load_settings(terminal)
    if not is_record and sqlite_file(settings.database) is None:
        raise CommandFailedError("backup_postgres")
    if not has_database(settings):
        raise CommandFailedError("backup_nothing_yet")
    if is_record:
        return await _record_other(terminal, settings, path)
    file, info = await asyncio.to_thread(_make, settings, path)
    _report(terminal, settings, file, info)
    made = BackupRecord(at=datetime.fromisoformat(info.at), place=_place_of(file))
    try:
        await _record(settings, made)
        is_recorded = True
    except (CommandFailedError, SQLAlchemyError, OSError) as error:
        terminal.print_note("backup_not_recorded", error=type(error).__name__)
        is_recorded = False
    if keep is not None:
        removed = await asyncio.to_thread(
            remove_old_backups, file, _source_of(settings), keep
        )
        terminal.print_message("backups_removed", number=len(removed), keep=keep)
    return 0 if is_recorded else EXIT_FAILED


async def _load_settings(terminal: Terminal) -> Settings:
    """Load the settings; if publisher.toml has mistakes, as far as they name the database.

    A mistake elsewhere must not keep the database from being saved. Raises SettingsError.
    """
    try:
        return await load_workspace_settings(terminal)
    except SettingsError as error:
        with contextlib.suppress(SettingsError):
            settings = await asyncio.to_thread(
                load_database_settings, terminal.workspace
            )
            report_error(error, terminal)
            terminal.print_note("backup_settings_invalid")
            return settings
        kept = await asyncio.to_thread(load_kept_settings, terminal.workspace)
        if kept is None or not kept.database:
            raise
        report_error(error, terminal)
        database = sqlite_file(kept.database) or "PostgreSQL"
        terminal.print_note("backup_settings_unreadable", database=database)
        return kept


def _make(settings: Settings, path: Path) -> tuple[Path, BackupInfo]:
    """Make a backup at a path, or in a folder under a name with the time; return its file."""
    runtime, source = make_runtime(settings), _source_of(settings)
    finish_pending_restore(settings, runtime, source)
    file = name_backup(path, source, runtime.now()) if path.is_dir() else path
    return file, make_backup(source, file, journal_path(settings), runtime)


def _source_of(settings: Settings) -> Path:
    """Return the file of the database. Raises CommandFailedError for a server."""
    file = sqlite_file(settings.database)
    if file is None:
        raise CommandFailedError("backup_postgres")
    return file


def _report(
    terminal: Terminal, settings: Settings, file: Path, info: BackupInfo
) -> None:
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    terminal.print_message(
        "backup_done",
        file=file,
        at=formatter.time(datetime.fromisoformat(info.at)),
        entries=info.entries,
        size=file.stat().st_size // 1024,
    )
    terminal.print_note("backup_also_keep")


async def _record(settings: Settings, made: BackupRecord) -> BackupRecord | None:
    """Record a backup in the database, without migrating it. Return the newest record."""
    with report_database_errors(settings.database):
        async with open_unchecked_store(settings, Runtime()) as store:
            return None if store is None else await store.last_backup.record(made)


async def _record_other(terminal: Terminal, settings: Settings, path: Path) -> int:
    """Record the backup of another tool, at the time when its file was written last."""
    written = await asyncio.to_thread(_read_time, path)
    if written is None:
        raise CommandFailedError("backup_record_empty", file=path)
    made = BackupRecord(at=min(written, datetime.now(UTC)), place=_place_of(path))
    newest = await _record(settings, made)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    code = "backup_recorded" if newest == made else "backup_record_older"
    at = formatter.time(made.at)
    newest_at = formatter.time(newest.at if newest is not None else None)
    terminal.print_message(code, file=path, at=at, newest=newest_at)
    return 0


def _read_time(path: Path) -> datetime | None:
    """Return when a file, or the newest one in a folder, was written; None if all are empty."""
    files: Iterator[Path] = path.rglob("*") if path.is_dir() else iter([path])
    states = [file.stat() for file in files if not file.is_dir()]
    times = [state.st_mtime for state in states if state.st_size]
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _place_of(file: Path) -> str:
    return f"{socket.gethostname()}:{file}"
