"""Measures publisher's figures, each beside what bounds it, in one go."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from backlog import p6, p11
from commands import p10
from figures import Figure
from instant import p5
from rendering import p9
from rig import PUBLISHER
from scale import p4, p12, p13
from syncing import p3
from throughput import p1

from publisher.telemetry import set_up

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
}


def main(arguments: Sequence[str]) -> int:
    """Measure what is asked for; give 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--only", default=",".join(ALL), help="figures to measure, such as P1,P5")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--runs", type=int, default=5, help="runs of each contestant; medians are told")
    parser.add_argument("--publisher", type=shlex.split, default=PUBLISHER, help="the command to measure")
    wanted = parser.parse_args(arguments)
    figures = []
    with Path(os.devnull).open("w", encoding="utf-8") as nobody:
        set_up(nobody)  # the log is written, and nobody reads it
        for name in wanted.only.upper().split(","):
            for figure in ALL[name](wanted.publisher, wanted.runs):
                figures.append(figure)
                sys.stdout.write(figure.line() + "\n")
                sys.stdout.flush()
    if wanted.json:
        wanted.json.write_text(json.dumps([figure.as_facts() for figure in figures], ensure_ascii=False, indent=1))
    return int(any(figure.verdict == "MISSED" for figure in figures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
