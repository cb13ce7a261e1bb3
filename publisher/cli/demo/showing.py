"""`demo`: see it all at work, break it, and see it put itself right."""

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
import webbrowser
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from publisher.cli.demo.children import OTHER_GRACE, interruptions, start_simulator, stop
from publisher.cli.demo.drill import TIMEZONE, Drill, drill_files
from publisher.cli.demo.play import Play
from publisher.cli.demo.theatre import Theatre
from publisher.cli.demo.timetable import Timetable, brought_forward
from publisher.cli.groundwork import found_workspace, workspace_files
from publisher.cli.narrating import Narrator
from publisher.cli.regions import read_regions
from publisher.cli.shape import Number, command
from publisher.cli.terminal import Terminal
from publisher.cli.trouble import FailedError
from publisher.cli.workplace import books_of
from publisher.settings import load_settings
from publisher.store.board import Board

PORT = 8710
MOST_REGIONS = 50
MANY_REGIONS = 10
"""From so many regions on, one warning to all is enough for a quick look."""
HEAD_START = timedelta(seconds=4)
"""What the daemon needs to start."""
QUICKLY = timedelta(seconds=5)
SLOWLY = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for on the command line."""

    port: int | None
    regions: int
    opens: bool
    exits: bool
    is_fast: bool


@command("demo")
@click.option("--port", metavar="N", type=Number(0, 65535), help="opt_port")
@click.option("--regions", metavar="N", type=Number(1, MOST_REGIONS), default=3, help="opt_regions")
@click.option("--no-open", is_flag=True, help="opt_no_open")
@click.option("--exit-when-settled", "exits", is_flag=True, help="opt_exit_when_settled")
@click.option("--fast", "is_fast", is_flag=True, help="opt_fast")
def demo(  # noqa: PLR0913 # one argument an option
    terminal: Terminal, *, port: int | None, regions: int, no_open: bool, exits: bool, is_fast: bool
) -> int:
    options = Options(port=port, regions=regions, opens=not no_open, exits=exits, is_fast=is_fast)
    workspace = Path(tempfile.mkdtemp(prefix="publisher-demo-"))
    terminal.say("demo_begins", workspace=workspace)
    trouble = asyncio.run(_perform(terminal, workspace, options))
    if trouble:
        terminal.say("demo_kept", workspace=workspace)
    else:
        shutil.rmtree(workspace, ignore_errors=True)
    return trouble


async def _perform(terminal: Terminal, workspace: Path, options: Options) -> int:
    async with AsyncExitStack() as stack:
        stopping = await stack.enter_async_context(interruptions())
        simulator, address = await _open_theatre(options.port)
        stack.push_async_callback(stop, simulator, OTHER_GRACE)
        drill = Drill(regions=read_regions()[: options.regions], address=address, listen=f"127.0.0.1:{_free_port()}")
        theatre = Theatre(address=address)
        await asyncio.to_thread(_found, workspace, drill, theatre, options)
        settings = await load_settings(workspace)
        board = Board(await stack.enter_async_context(books_of(settings)))
        play = Play(
            narrator=Narrator(messages=terminal.messages, timezone=settings.timezone),
            workspace=workspace,
            board=board,
            drill=drill,
            theatre=theatre,
            simulator=simulator,
            stopping=stopping,
        )
        terminal.say("demo_where", address=address, workspace=workspace)
        if options.opens and _has_browser():
            await asyncio.to_thread(webbrowser.open, f"{address}/_sim/")
        return await play.run(exits=options.exits)


async def _open_theatre(port: int | None) -> tuple[asyncio.subprocess.Process, str]:
    """Start the simulator on the port asked for; on the usual one, or any, when none was."""
    if port is not None:
        return await start_simulator(port)
    try:
        return await start_simulator(PORT)
    except FailedError:
        return await start_simulator(0)


def _free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _found(workspace: Path, drill: Drill, theatre: Theatre, options: Options) -> None:
    """Make the workspace; its accounts exist on the stage already, and their posts are due soon."""
    secrets = theatre.furnish(drill.accounts)
    files = {**workspace_files(), **drill_files(drill)}
    by_id = {account.id: account for account in drill.accounts}
    files |= {
        f"secrets/{name}": json.dumps({**by_id[name].secret, **secret}).encode() for name, secret in secrets.items()
    }
    only_warning = options.is_fast and options.regions >= MANY_REGIONS
    start = datetime.now(ZoneInfo(TIMEZONE)).replace(tzinfo=None) + HEAD_START
    timetable = Timetable(start=start, spread=QUICKLY if options.is_fast else SLOWLY, only_warning=only_warning)
    files["schedule.toml"] = brought_forward(files["schedule.toml"].decode(), timetable).encode()
    found_workspace(workspace, files)


def _has_browser() -> bool:
    """Whether a page can be opened without taking over this terminal."""
    return sys.platform != "linux" or any(name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY"))
