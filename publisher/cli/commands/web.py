"""`web`: the dashboard alone, as for a host that sends nothing.

`run` starts it beside the daemon.
"""

import click

from publisher.cli.context import (
    load_workspace_settings,
    make_runtime,
    report_database_errors,
)
from publisher.cli.framework import command
from publisher.cli.terminal import Terminal
from publisher.runtime.logs import configure_logging
from publisher.web.http.server import raise_descriptor_limit
from publisher.web.process import serve_dashboard


@command("web")
@click.option("--supervised", is_flag=True, help="opt_supervised")
async def web(terminal: Terminal, *, supervised: bool) -> None:
    configure_logging()
    settings = await load_workspace_settings(terminal)
    raise_descriptor_limit()
    with report_database_errors(settings.database):
        runtime = make_runtime(settings)
        await serve_dashboard(
            settings, runtime, report=terminal.print_note, is_supervised=supervised
        )
