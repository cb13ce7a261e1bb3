"""`demo`: a drill with simulated platforms; kill the daemon and watch it recover."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import tomllib
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from publisher.app.format import Formatter
from publisher.cli.context import open_command_store
from publisher.cli.drill import (
    LOG_FILE,
    SIMULATOR_STOP_SECONDS,
    Scenario,
    SimulatedPlatforms,
    start_simulator,
    stop_process,
)
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import command, int_range
from publisher.cli.terminal import Terminal
from publisher.cli.workspace import (
    TIMEZONE,
    DemoWorkspace,
    create_workspace,
    demo_files,
    new_workspace_files,
    read_regions,
    shift_schedule,
)
from publisher.config import Settings, load_settings
from publisher.domain.post import PostId
from publisher.domain.user import Grant, UserRole
from publisher.engine.decisions import named_person
from publisher.runtime.clock import handle_stop_signals
from publisher.store.store import Store
from publisher.web.http.supervisor import run_dashboard

DEFAULT_PORT, DASHBOARD_PORT = 8710, 8700
ADMINISTRATOR, AUTHOR, APPROVER = "管理员", "张", "李"
DUTY_PHONES = {AUTHOR: "内线 8110", APPROVER: "内线 8112"}
"""The officers on duty in the demo: an urgent post takes two of them."""
PEOPLE: Mapping[str, Sequence[UserRole]] = {
    AUTHOR: (UserRole.AUTHOR, UserRole.AUDITOR),
    APPROVER: (UserRole.APPROVER, UserRole.OPERATOR, UserRole.AUDITOR),
}
"""The people in the demo's dashboard, and their roles."""
MAX_REGIONS = 50
MANY_REGION_COUNT = 10
"""From this number of regions on, one warning to all is enough for a quick look."""
DAEMON_START_DELAY = timedelta(seconds=4)
"""The time that the daemon needs to start."""
FAST_SPREAD = timedelta(seconds=5)
NORMAL_SPREAD = timedelta(seconds=90)
CORRECTION_DELAY = timedelta(seconds=30)
"""Enough for all originals to be out before a correction is due.

This holds even if the daemon was killed meanwhile.
"""


@command("demo")
@click.option("--port", metavar="N", type=int_range(0, 65535), help="opt_port")
@click.option(
    "--regions",
    metavar="N",
    type=int_range(1, MAX_REGIONS),
    default="3",
    help="opt_regions",
)
@click.option("--no-open", is_flag=True, help="opt_no_open")
@click.option(
    "--exit-when-settled", "exits", is_flag=True, help="opt_exit_when_settled"
)
@click.option("--fast", "is_fast", is_flag=True, help="opt_fast")
async def demo(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    *,
    port: int | None,
    regions: int,
    no_open: bool,
    exits: bool,
    is_fast: bool,
) -> int:
    stopping = asyncio.Event()
    handle_stop_signals(stopping.set)  # so that the children are stopped in order
    workspace = Path(tempfile.mkdtemp(prefix="publisher-demo-"))
    terminal.print_message("demo_begins", workspace=workspace)
    async with AsyncExitStack() as stack:
        try:
            simulator, address = await start_simulator(
                DEFAULT_PORT if port is None else port
            )
        except CommandFailedError:
            if port is not None:
                raise
            simulator, address = await start_simulator(0)  # the default port is taken
        stack.push_async_callback(stop_process, simulator, SIMULATOR_STOP_SECONDS)
        with socket.create_server(("127.0.0.1", 0)) as free:
            callback_port: int = free.getsockname()[1]
        demo_workspace = DemoWorkspace(
            regions=read_regions()[:regions],
            simulator_url=address,
            callback_listen=f"127.0.0.1:{callback_port}",
            dashboard_listen=f"127.0.0.1:{find_port(0 if port == 0 else DASHBOARD_PORT)}",
        )
        platforms = SimulatedPlatforms(base_url=address)
        samples = await asyncio.to_thread(
            create_demo_workspace, workspace, demo_workspace, platforms, is_fast
        )
        settings = replace(await load_settings(workspace), lang=terminal.messages.lang)
        store = await stack.enter_async_context(open_command_store(settings))
        author_link, approver_link = await add_people(store, settings)
        log = stack.enter_context((workspace / LOG_FILE).open("ab"))
        await stack.enter_async_context(
            run_dashboard(settings, report_nothing, output=log)
        )
        # on Linux without a display, a browser would take over this terminal
        has_browser = sys.platform != "linux" or any(
            name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY")
        )
        people = {
            "author": AUTHOR,
            "author_link": author_link,
            "approver": APPROVER,
            "approver_link": approver_link,
        }
        scenario = Scenario(
            formatter=Formatter(messages=terminal.messages, timezone=settings.timezone),
            workspace=workspace,
            store=store,
            demo_workspace=demo_workspace,
            platforms=platforms,
            simulator=simulator,
            stopping=stopping,
            sample_posts=samples,
            where={"address": address, "workspace": str(workspace), **people},
            opens_browser=has_browser and not no_open,
        )
        exit_code = await scenario.run(exits=exits)
    if exit_code:
        terminal.print_message("demo_kept", workspace=workspace)
    else:
        shutil.rmtree(workspace, ignore_errors=True)
    return exit_code


async def add_people(store: Store, settings: Settings) -> Sequence[str]:
    """Add an author, an approver, and the required administrator.

    The first two are on duty. Return their links.
    """
    by = named_person(ADMINISTRATOR)
    await store.users.add(ADMINISTRATOR, [Grant(role=UserRole.ADMIN)], by)
    links = []
    for name, roles in PEOPLE.items():
        link = await store.users.add(name, [Grant(role=role) for role in roles], by)
        links.append(settings.dashboard.make_setup_link(link))
        await store.duty.add(name, by, DUTY_PHONES[name])
    return links


async def report_nothing(_reason: str) -> None:
    """Raise no alert. The person at the demo sees whether pages open."""


def find_port(wanted: int) -> int:
    """Return a port if it is free, else another one that is."""
    for port in (wanted, 0):
        with (
            contextlib.suppress(OSError),
            socket.create_server(("127.0.0.1", port)) as free,
        ):
            found: int = free.getsockname()[1]
            return found
    raise CommandFailedError(
        "web_listen_failed", address=f"127.0.0.1:{wanted}", reason=""
    )


def create_demo_workspace(
    workspace: Path,
    demo_workspace: DemoWorkspace,
    platforms: SimulatedPlatforms,
    is_fast: bool,  # noqa: FBT001 # to_thread passes positions
) -> Collection[PostId]:
    """Create the workspace with accounts that the simulator already has, and posts due soon.

    Return the ids of the posts.
    """
    secrets = platforms.create_accounts(demo_workspace.accounts)
    files = {**new_workspace_files(), **demo_files(demo_workspace)}
    for account in demo_workspace.accounts:
        files[f"secrets/{account.id}"] = json.dumps(
            {**account.secret, **secrets[account.id]}
        ).encode()
    schedule = shift_schedule(
        files["schedule.toml"].decode(),
        datetime.now(ZoneInfo(TIMEZONE)).replace(tzinfo=None) + DAEMON_START_DELAY,
        FAST_SPREAD if is_fast else NORMAL_SPREAD,
        CORRECTION_DELAY,
        is_single_warning=is_fast and len(demo_workspace.regions) >= MANY_REGION_COUNT,
    )
    files["schedule.toml"] = schedule.encode()
    create_workspace(workspace, files)
    return [PostId(post["id"]) for post in tomllib.loads(schedule)["post"]]
