"""`restore`: replace the database by an older one, or accept the present one as restored."""

from collections.abc import Sequence
from pathlib import Path

import click

from publisher.app.format import Formatter
from publisher.app.restore import RestoreResult, accept_current, take_over
from publisher.app.restore import restore as restore_database
from publisher.cli.authentication import authenticate_offline
from publisher.cli.context import (
    load_workspace_settings,
    make_runtime,
    open_command_store,
    report_database_errors,
)
from publisher.cli.errors import EXIT_FAILED, CommandFailedError, report_error
from publisher.cli.framework import LocalizedUsageError, by_option, command, one_line
from publisher.cli.terminal import Terminal, display_path
from publisher.config import Settings
from publisher.engine.checkpoints import read_checkpoints
from publisher.store.db.database import sqlite_file


@command("restore")
@click.argument("source", metavar="[FILE]", required=False, type=one_line)
@click.option(
    "--accept-current", "accepts_current", is_flag=True, help="opt_accept_current"
)
@click.option("--take-over", "takes_over", is_flag=True, help="opt_take_over")
@click.option("--without-journal", is_flag=True, help="opt_without_journal")
@click.option(
    "--anchors",
    metavar="FILE",
    multiple=True,
    type=one_line,
    help="opt_newer_checkpoints",
)
@by_option
async def restore(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    source: str | None,
    by: str,
    anchors: Sequence[str],
    *,
    accepts_current: bool,
    takes_over: bool,
    without_journal: bool,
) -> int:
    if (source is not None) + accepts_current + takes_over != 1:
        raise LocalizedUsageError("restore_usage")
    checkpoint_files = [Path(name) for name in anchors]
    settings = await load_workspace_settings(terminal)
    file = sqlite_file(settings.database)
    if file is None and source is not None:
        raise CommandFailedError("restore_postgres")
    for path in checkpoint_files:
        if next(read_checkpoints(path), None) is None:
            raise CommandFailedError(
                "audit_checkpoints_unreadable", file=display_path(path)
            )
    person = await authenticate_offline(terminal, settings, command="restore", by=by)
    replacement = Path(source) if source else None
    with report_database_errors(settings.database):
        runtime = make_runtime(settings)
        result: RestoreResult | None
        if takes_over:
            result = await take_over(settings, runtime, file, person, checkpoint_files)
        elif file is None:
            result = await accept_current(
                settings,
                runtime,
                person,
                checkpoint_files,
                allow_incomplete=without_journal,
            )
        else:
            result = await restore_database(
                settings,
                runtime,
                file,
                replacement,
                person,
                checkpoint_files,
                allow_incomplete=without_journal,
            )
    async with open_command_store(settings, policies={}) as store:
        await store.users.mark_unproved(person, "restore")
    if result is None:
        terminal.print_message("take_over_done")
        return 0
    return _print_result(terminal, settings, result)


def _print_result(terminal: Terminal, settings: Settings, result: RestoreResult) -> int:
    """Print the restored calls and the next steps; return the exit code."""
    summary = result.summary
    taken_at = Formatter(messages=terminal.messages, timezone=settings.timezone).time(
        summary.taken_at
    )
    terminal.print_message(
        "restore_done", at=taken_at, calls=summary.recovered, unknown=summary.unresolved
    )
    if summary.orphaned:
        terminal.print_message("restore_orphaned", number=summary.orphaned)
    if result.replaced_database is not None:
        terminal.print_message(
            "restore_old_database", file=display_path(result.replaced_database)
        )
    if summary.workers_to_compare:
        workers = "\n".join(f"  {worker}" for worker in summary.workers_to_compare)
        terminal.print_message("restore_waiting_for_workers", workers=workers)
    terminal.print_message("restore_next_steps")
    if result.checkpoint_error is None:
        return 0
    report_error(result.checkpoint_error, terminal)
    terminal.print_note("restore_without_checkpoint")
    return EXIT_FAILED
