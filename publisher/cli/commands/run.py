"""`run`: the daemon."""

import click

from publisher.cli.context import load_workspace_settings, make_runtime, report_database_errors
from publisher.cli.framework import command
from publisher.cli.terminal import Terminal
from publisher.daemon import run as run_daemon
from publisher.runtime.logs import configure_logging
from publisher.web.server import raise_descriptor_limit


@command("run")
@click.option("--once", is_flag=True, help="opt_once")
async def run(terminal: Terminal, *, once: bool) -> int:
    configure_logging()
    raise_descriptor_limit()
    settings = await load_workspace_settings(terminal)
    with report_database_errors():
        exit_code = await run_daemon(settings, make_runtime(settings), once=once, report=terminal.print_note)
    if once:
        terminal.print_note("once_done_with_problems" if exit_code else "once_done")
    else:
        terminal.print_note("run_stopped")
    return exit_code
