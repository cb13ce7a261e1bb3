"""`init`: a workspace that passes its own check."""

from pathlib import Path

import click

from publisher.cli.demo.drill import Drill, drill_files
from publisher.cli.groundwork import found_workspace, workspace_files
from publisher.cli.regions import read_regions
from publisher.cli.shape import command
from publisher.cli.terminal import Terminal

DRILL_REGIONS = 3
DRILL_ADDRESS = "http://127.0.0.1:8710"
"""Where `publisher simulate` listens unless told otherwise."""


@command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--demo", "is_drill", is_flag=True, help="opt_demo")
def init(terminal: Terminal, folder: Path, *, is_drill: bool) -> int:
    files = workspace_files()
    if is_drill:
        files |= drill_files(Drill(regions=read_regions()[:DRILL_REGIONS], address=DRILL_ADDRESS))
    found_workspace(folder, files)
    terminal.say("drill_made" if is_drill else "workspace_made", folder=folder)
    return 0
