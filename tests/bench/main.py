"""Measures publisher's figures, each beside what bounds it, in one go."""

import argparse
import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from publisher.runtime.logs import configure_logging
from tests.bench.backlog import p6, p11
from tests.bench.commands import p10
from tests.bench.figures import Figure
from tests.bench.instant import p5
from tests.bench.past import p14
from tests.bench.rendering import p9
from tests.bench.rig import PUBLISHER
from tests.bench.scale import p4, p12, p13
from tests.bench.syncing import p3
from tests.bench.throughput import p1

Measure = Callable[[Sequence[str], int], list[Figure]]
ALL: Mapping[str, Measure] = {
    "P1": p1,
    "P3": p3,
    "P4": p4,
    "P5": p5,
    "P6": p6,
    "P9": p9,
    "P10": p10,
    "P11": p11,
    "P12": p12,
    "P13": p13,
    "P14": p14,
}
BRIEF: Mapping[str, Measure] = {"P1": partial(p1, posts=7), "P4": partial(p4, large=10_000)}
"""As small as shows that they work: more deliveries than one round of the keeper makes due."""


def main(arguments: Sequence[str]) -> int:
    """Measure what is asked for; give 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--only", help="figures to measure, such as P1,P5")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--brief", action="store_true", help="one small run each of P1 and P4, without goals")
    parser.add_argument("--runs", type=int, default=5, help="runs of each contestant; medians are printed")
    parser.add_argument("--publisher", type=shlex.split, default=PUBLISHER, help="the command to measure")
    wanted = parser.parse_args(arguments)
    measures, runs = (BRIEF, 1) if wanted.brief else (ALL, wanted.runs)
    names = (wanted.only or ",".join(measures)).upper().split(",")
    if unknown := [name for name in names if name not in measures]:
        parser.error(f"no such figure here: {', '.join(unknown)}; there are {', '.join(measures)}")
    figures = []
    with Path(os.devnull).open("w", encoding="utf-8") as nobody:
        configure_logging(nobody)  # the log is written, and nobody reads it
        for name in names:
            for measured in measures[name](wanted.publisher, runs):
                figure = dataclasses.replace(measured, goal=None) if wanted.brief else measured
                figures.append(figure)
                sys.stdout.write(figure.line() + "\n")
                sys.stdout.flush()
    if wanted.json:
        wanted.json.write_text(json.dumps([figure.as_facts() for figure in figures], ensure_ascii=False, indent=1))
    return int(any(figure.verdict == "MISSED" for figure in figures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
