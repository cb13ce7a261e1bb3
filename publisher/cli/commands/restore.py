"""`restore`: an older database in the present one's place."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from publisher.app.restore import RestoreResult, accept_current
from publisher.app.restore import restore as put_back
from publisher.cli.context import load_workspace_settings, make_runtime, report_database_errors
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import LocalizedUsageError, NonEmptyText, by_option, command
from publisher.cli.terminal import Terminal, display_path
from publisher.engine.checkpoints import read_checkpoints
from publisher.engine.decisions import named_person
from publisher.store.db.database import sqlite_file


@command("restore")
@click.argument("source", metavar="[FILE]", required=False, type=NonEmptyText())
@click.option("--accept-current", "is_this", is_flag=True, help="opt_accept_current")
@click.option("--without-journal", is_flag=True, help="opt_without_journal")
@click.option("--anchors", metavar="FILE", multiple=True, type=NonEmptyText(), help="opt_newer_checkpoints")
@by_option
def restore(  # noqa: PLR0913 # one argument an option
    terminal: Terminal, source: str | None, by: str, anchors: Sequence[str], *, is_this: bool, without_journal: bool
) -> int:
    if (source is None) is not is_this:
        raise LocalizedUsageError("restore_usage")
    checkpoint_files = [Path(name) for name in anchors]
    done = asyncio.run(
        _restore(terminal, Path(source) if source else None, by, checkpoint_files, without_journal=without_journal)
    )
    summary = done.summary
    facts = {
        "at": summary.taken_at.isoformat(timespec="seconds"),
        "calls": summary.recovered,
        "doubts": summary.unresolved,
    }
    terminal.print_message("restore_done", **facts)
    if summary.orphaned:
        terminal.print_message("restore_orphaned", number=summary.orphaned)
    if done.replaced_database is not None:
        terminal.print_message("restore_old_database", file=display_path(done.replaced_database))
    if summary.workers_to_compare:
        terminal.print_message(
            "restore_waiting_for_workers", workers="\n".join(f"  {worker}" for worker in summary.workers_to_compare)
        )
    terminal.print_message("restore_next_steps")
    return 0


async def _restore(
    terminal: Terminal, source: Path | None, by: str, checkpoint_files: Sequence[Path], *, without_journal: bool
) -> RestoreResult:
    settings = await load_workspace_settings(terminal)
    file = sqlite_file(settings.database)
    if file is None and source is not None:
        raise CommandFailedError("restore_postgres")
    for one in checkpoint_files:
        if next(read_checkpoints(one), None) is None:
            raise CommandFailedError("audit_checkpoints_unreadable", file=display_path(one))
    with report_database_errors():
        runtime = make_runtime(settings)
        if file is None:
            return await accept_current(
                settings, runtime, named_person(by), checkpoint_files, allow_incomplete=without_journal
            )
        return await put_back(
            settings, runtime, file, source, named_person(by), checkpoint_files, allow_incomplete=without_journal
        )
