"""`init`: make a workspace that passes its own check."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from publisher.cli.framework import command
from publisher.cli.terminal import Terminal
from publisher.cli.workspace import (
    TIMEZONE,
    DemoWorkspace,
    create_workspace,
    demo_files,
    new_workspace_files,
    postpone_schedule,
    read_regions,
)

DEMO_REGION_COUNT = 3
SIMULATOR_URL = "http://127.0.0.1:8710"
"""The default address of `publisher simulate`."""


@command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--demo", "is_drill", is_flag=True, help="opt_demo")
def init(terminal: Terminal, folder: Path, *, is_drill: bool) -> None:
    files = new_workspace_files()
    if is_drill:
        files |= demo_files(
            DemoWorkspace(
                regions=read_regions()[:DEMO_REGION_COUNT], simulator_url=SIMULATOR_URL
            )
        )
        now = datetime.now(ZoneInfo(TIMEZONE)).replace(tzinfo=None)
        files["schedule.toml"] = postpone_schedule(
            files["schedule.toml"].decode(), now
        ).encode()
    create_workspace(folder, files)
    terminal.print_message(
        "drill_made" if is_drill else "workspace_made", folder=folder
    )
