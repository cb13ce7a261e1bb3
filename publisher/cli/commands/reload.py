"""`reload`: put schedule.toml in force now."""

import asyncio

import click

from publisher.cli.application_context import open_command_application
from publisher.cli.context import load_workspace_settings
from publisher.cli.framework import LocalizedIntRange, LocalizedUsageError, PersonName, command
from publisher.cli.post_source import activate_schedule
from publisher.cli.terminal import Terminal

MAX_CONFIRMED_REMOVALS = 1_000_000


@command("reload")
@click.option(
    "--confirm-removals",
    "accept",
    metavar="N",
    type=LocalizedIntRange(1, MAX_CONFIRMED_REMOVALS),
    help="opt_confirm_removals",
)
@click.option("--by", metavar="NAME", type=PersonName(), help="opt_by")
def reload(terminal: Terminal, accept: int | None, by: str | None) -> int:
    if accept is not None and by is None:
        raise LocalizedUsageError("reload_needs_by")
    asyncio.run(_reload_schedule(terminal, accept, by))
    return 0


async def _reload_schedule(terminal: Terminal, confirmed_removals: int | None, by: str | None) -> None:
    async with open_command_application(await load_workspace_settings(terminal)) as application:
        filed = await activate_schedule(application, confirmed_removals, by)
    if filed is None:
        terminal.print_message("reload_unchanged")
    else:
        terminal.print_message("reload_done", filed=filed)
