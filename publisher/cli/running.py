"""`run`: the daemon."""

import asyncio
import os
from contextlib import AbstractAsyncContextManager

import click

from publisher.cli.shape import command
from publisher.cli.terminal import Terminal
from publisher.cli.workplace import database_trouble, settings_of, world_of
from publisher.daemon import run as run_daemon
from publisher.telemetry import set_up
from publisher.web.descriptors import raise_descriptor_limit
from publisher.web.listening import listening
from publisher.wiring.application import Application


@command("run")
@click.option("--once", is_flag=True, help="opt_once")
def run(terminal: Terminal, *, once: bool) -> int:
    set_up()
    raise_descriptor_limit()
    return asyncio.run(_run(terminal, once=once))


async def _run(terminal: Terminal, *, once: bool) -> int:
    settings = await settings_of(terminal)

    def ready() -> None:
        facts = {"workspace": settings.workspace, "environment": settings.environment.value, "pid": os.getpid()}
        terminal.note("run_started", **facts)

    def beside(application: Application) -> AbstractAsyncContextManager[None]:
        return listening(application, lambda code, address: terminal.note(code, address=address))

    with database_trouble():
        trouble = await run_daemon(settings, world_of(settings), once=once, ready=ready, beside=beside)
    if once:
        terminal.note("once_trouble" if trouble else "once_done")
    else:
        terminal.note("run_stopped")
    return trouble
