"""Measures publisher's figures, each beside its bound, in one go."""

import argparse
import dataclasses
import io
import json
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import click

from publisher.runtime.logs import configure_logging
from publisher.web.http.server import raise_descriptor_limit
from tests.bench.commands import p10
from tests.bench.comparison import p2
from tests.bench.figures import BenchOptions, Figure, SkippedError
from tests.bench.history import p4, p14
from tests.bench.idle import p11, p12, p13
from tests.bench.latency import p5, p6
from tests.bench.pages import p15, p16, p17
from tests.bench.record import record
from tests.bench.renderer import p9
from tests.bench.schedule import p8
from tests.bench.throughput import p1, p3
from tests.bench.workers import p7
from tests.bench.workspace import PUBLISHER

FIGURES: Mapping[str, Callable[[BenchOptions], Iterator[Figure]]] = {
    "P1": p1,
    "P2": p2,
    "P3": p3,
    "P4": p4,
    "P5": p5,
    "P6": p6,
    "P7": p7,
    "P8": p8,
    "P9": p9,
    "P10": p10,
    "P11": p11,
    "P12": p12,
    "P13": p13,
    "P14": p14,
    "P15": p15,
    "P16": p16,
    "P17": p17,
}


def main(arguments: Sequence[str]) -> int:
    """Measure the requested figures. Return 1 if a goal is missed or a figure fails, else 0."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--only", default=",".join(FIGURES), help="figures to measure, such as P1,P5"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures to FILE as well"
    )
    parser.add_argument(
        "--brief",
        action="store_true",
        help="one very small run of each figure, without goals",
    )
    parser.add_argument(
        "--runs", type=int, default=5, help="runs of each subject; medians are printed"
    )
    parser.add_argument(
        "--publisher",
        type=shlex.split,
        default=PUBLISHER,
        help="the command to measure",
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="write the figures and plots to docs/performance.md",
    )
    asked = parser.parse_args(arguments)
    names = asked.only.upper().split(",")
    if unknown := [name for name in names if name not in FIGURES]:
        parser.error(
            f"no such figure here: {', '.join(unknown)}; there are {', '.join(FIGURES)}"
        )
    if is_in_memory(Path(tempfile.gettempdir())) and not asked.brief:
        click.echo(
            f"{tempfile.gettempdir()} is in memory, where a sync costs nothing:"
            " set TMPDIR to a folder on a disk."
        )
        if asked.record:
            return 1
    if asked.record and asked.brief:
        parser.error("a brief run is not recorded")
    options = BenchOptions(
        publisher=asked.publisher,
        runs=1 if asked.brief else asked.runs,
        is_brief=asked.brief,
    )
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # every start would compile all modules
    configure_logging(io.StringIO())
    raise_descriptor_limit()
    figures, failed = [], False
    for name in names:
        try:
            for figure in measure(name, options):
                figures.append(figure)
                click.echo(figure.as_line())
        except Exception:  # noqa: BLE001 # the others are still measured
            failed = True
            click.echo(f"{name:<4} FAILED")
            traceback.print_exc()
    if asked.json:
        asked.json.write_text(
            json.dumps(
                [figure.as_json() for figure in figures], ensure_ascii=False, indent=1
            )
        )
    if asked.record:
        record(figures)
    return int(failed or any(figure.verdict == "MISSED" for figure in figures))


def is_in_memory(folder: Path) -> bool:
    """Return True if the folder's files are on no disk."""
    mounts = [
        line.split()[1:3]
        for line in Path("/proc/mounts").read_text("utf-8").splitlines()
    ]
    covering = [(mount, kind) for mount, kind in mounts if folder.is_relative_to(mount)]
    return max(covering, key=lambda entry: len(entry[0]))[1] in {"tmpfs", "ramfs"}


def measure(name: str, options: BenchOptions) -> Iterator[Figure]:
    """Yield the figures under a name. A brief run has no goals."""
    try:
        for figure in FIGURES[name](options):
            yield dataclasses.replace(figure, goal=None) if options.is_brief else figure
    except SkippedError as error:
        yield Figure(id=name, name="", value=0, skipped=str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
