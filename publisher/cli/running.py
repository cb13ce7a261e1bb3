"""`run`: the daemon."""

import asyncio
import os
from contextlib import AbstractAsyncContextManager

import click

from publisher.cli.shape import command
from publisher.cli.terminal import Terminal
from publisher.cli.trouble import FailedError
from publisher.cli.workplace import database_trouble, settings_of
from publisher.daemon import run as run_daemon
from publisher.domain.errors import RefusedError
from publisher.settings import Environment, Settings
from publisher.telemetry import set_up
from publisher.web.listening import listening
from publisher.wiring.application import Application
from publisher.world import FailpointSyntaxError, World, read_failpoints


@command("run")
@click.option("--once", is_flag=True, help="opt_once")
def run(terminal: Terminal, *, once: bool) -> int:
    set_up()
    return asyncio.run(_run(terminal, once=once))


async def _run(terminal: Terminal, *, once: bool) -> int:
    settings = await settings_of(terminal)

    def ready() -> None:
        facts = {"workspace": settings.workspace, "environment": settings.environment.value, "pid": os.getpid()}
        terminal.note("run_started", **facts)

    def beside(application: Application) -> AbstractAsyncContextManager[None]:
        return listening(application, lambda code, address: terminal.note(code, address=address))

    with database_trouble():
        trouble = await run_daemon(settings, _world(settings), once=once, ready=ready, beside=beside)
    if once:
        terminal.note("once_trouble" if trouble else "once_done")
    else:
        terminal.note("run_stopped")
    return trouble


def _world(settings: Settings) -> World:
    """Give the world, with the failpoints that the environment asks for; never in live operation."""
    asked = os.environ.get("PUBLISHER_FAILPOINTS", "")
    try:
        failpoints = read_failpoints(asked)
    except FailpointSyntaxError as error:
        raise FailedError("failpoints_unread", item=str(error)) from error
    if failpoints and settings.environment is Environment.LIVE:
        raise RefusedError("failpoints_live")
    return World(failpoints=failpoints)
