"""`reload`: apply schedule.toml now."""

import click

from publisher.cli.application import activate_schedule, open_command_application
from publisher.cli.authentication import authenticate
from publisher.cli.context import load_workspace_settings, warn_about_daemon
from publisher.cli.framework import LocalizedUsageError, command, int_range, person_name
from publisher.cli.terminal import Terminal

MAX_CONFIRMED_REMOVALS = 1_000_000


@command("reload")
@click.option("--confirm-removals", metavar="N", type=int_range(1, MAX_CONFIRMED_REMOVALS), help="opt_confirm_removals")
@click.option("--by", metavar="NAME", type=person_name, help="opt_by")
async def reload(terminal: Terminal, confirm_removals: int | None, by: str | None) -> None:
    if confirm_removals is not None and by is None:
        raise LocalizedUsageError("reload_needs_by")
    settings, person = await load_workspace_settings(terminal), None
    async with open_command_application(settings) as application:
        if confirm_removals is not None:
            command = "reload --confirm-removals"
            person = await authenticate(terminal, settings, application.store, command=command, by=by)
        filed = await activate_schedule(application, confirm_removals, person)
        await warn_about_daemon(terminal, settings, application.store.queries)
    if filed is None:
        terminal.print_message("reload_unchanged")
    else:
        terminal.print_message("reload_done", filed=filed)
