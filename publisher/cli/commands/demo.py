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

from publisher.cli.context import open_command_store
from publisher.cli.demo.processes import SIMULATOR_STOP_SECONDS, catch_interrupts, start_simulator, stop_process
from publisher.cli.demo.scenario import Scenario
from publisher.cli.demo.simulated_platforms import SimulatedPlatforms
from publisher.cli.demo.workspace import TIMEZONE, DemoSchedule, DemoWorkspace, demo_files, read_regions, shift_schedule
from publisher.cli.errors import CommandFailedError
from publisher.cli.format import Formatter
from publisher.cli.framework import LocalizedIntRange, command
from publisher.cli.terminal import Terminal
from publisher.cli.workspace import create_workspace, new_workspace_files
from publisher.config import load_settings
from publisher.store.queries.queries import Queries

DEFAULT_PORT = 8710
MAX_REGIONS = 50
MANY_REGION_COUNT = 10
"""From so many regions on, one warning to all is enough for a quick look."""
DAEMON_START_DELAY = timedelta(seconds=4)
"""What the daemon needs to start."""
FAST_SPREAD = timedelta(seconds=5)
NORMAL_SPREAD = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What was asked for on the command line."""

    port: int | None
    regions: int
    opens_browser: bool
    exits_when_settled: bool
    is_fast: bool


@command("demo")
@click.option("--port", metavar="N", type=LocalizedIntRange(0, 65535), help="opt_port")
@click.option("--regions", metavar="N", type=LocalizedIntRange(1, MAX_REGIONS), default=3, help="opt_regions")
@click.option("--no-open", is_flag=True, help="opt_no_open")
@click.option("--exit-when-settled", "exits", is_flag=True, help="opt_exit_when_settled")
@click.option("--fast", "is_fast", is_flag=True, help="opt_fast")
def demo(  # noqa: PLR0913 # one argument an option
    terminal: Terminal, *, port: int | None, regions: int, no_open: bool, exits: bool, is_fast: bool
) -> int:
    options = DemoOptions(
        port=port, regions=regions, opens_browser=not no_open, exits_when_settled=exits, is_fast=is_fast
    )
    workspace = Path(tempfile.mkdtemp(prefix="publisher-demo-"))
    terminal.print_message("demo_begins", workspace=workspace)
    exit_code = asyncio.run(_run_demo(terminal, workspace, options))
    if exit_code:
        terminal.print_message("demo_kept", workspace=workspace)
    else:
        shutil.rmtree(workspace, ignore_errors=True)
    return exit_code


async def _run_demo(terminal: Terminal, workspace: Path, options: DemoOptions) -> int:
    async with AsyncExitStack() as stack:
        stopping = await stack.enter_async_context(catch_interrupts())
        simulator, address = await _start_simulator(options.port)
        stack.push_async_callback(stop_process, simulator, SIMULATOR_STOP_SECONDS)
        demo_workspace = DemoWorkspace(
            regions=read_regions()[: options.regions],
            simulator_url=address,
            callback_listen=f"127.0.0.1:{_free_port()}",
        )
        platforms = SimulatedPlatforms(base_url=address)
        await asyncio.to_thread(_create_workspace, workspace, demo_workspace, platforms, options)
        settings = await load_settings(workspace)
        queries = Queries(await stack.enter_async_context(open_command_store(settings)))
        scenario = Scenario(
            formatter=Formatter(messages=terminal.messages, timezone=settings.timezone),
            workspace=workspace,
            queries=queries,
            demo_workspace=demo_workspace,
            platforms=platforms,
            simulator=simulator,
            stopping=stopping,
        )
        terminal.print_message("demo_where", address=address, workspace=workspace)
        if options.opens_browser and _has_browser():
            await asyncio.to_thread(webbrowser.open, f"{address}/_sim/")
        return await scenario.run(exits=options.exits_when_settled)


async def _start_simulator(port: int | None) -> tuple[asyncio.subprocess.Process, str]:
    """Start the simulator on the port asked for; on the usual one, or any, when none was."""
    if port is not None:
        return await start_simulator(port)
    try:
        return await start_simulator(DEFAULT_PORT)
    except CommandFailedError:
        return await start_simulator(0)


def _free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _create_workspace(
    workspace: Path, demo_workspace: DemoWorkspace, platforms: SimulatedPlatforms, options: DemoOptions
) -> None:
    """Make the workspace; its accounts exist on the stage already, and their posts are due soon."""
    secrets = platforms.create_accounts(demo_workspace.accounts)
    files = {**new_workspace_files(), **demo_files(demo_workspace)}
    by_id = {account.id: account for account in demo_workspace.accounts}
    files |= {
        f"secrets/{name}": json.dumps({**by_id[name].secret, **secret}).encode() for name, secret in secrets.items()
    }
    only_warning = options.is_fast and options.regions >= MANY_REGION_COUNT
    start = datetime.now(ZoneInfo(TIMEZONE)).replace(tzinfo=None) + DAEMON_START_DELAY
    demo_schedule = DemoSchedule(
        start=start, spread=FAST_SPREAD if options.is_fast else NORMAL_SPREAD, is_single_warning=only_warning
    )
    files["schedule.toml"] = shift_schedule(files["schedule.toml"].decode(), demo_schedule).encode()
    create_workspace(workspace, files)


def _has_browser() -> bool:
    """Whether a page can be opened without taking over this terminal."""
    return sys.platform != "linux" or any(name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY"))
