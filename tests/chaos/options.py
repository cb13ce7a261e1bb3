"""The options of a campaign."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.kill_plan import COMMON_POINTS
from tests.chaos.mutants import MODULES

FEWEST = 40
MOST_WORKERS = 8
BRIEF = {"deliveries": 240, "kills": 39, "seconds": 100.0}
"""A campaign of a few minutes, settling and judging included."""


@dataclass(slots=True, kw_only=True)
class CampaignOptions:
    seed: int = 1
    kills: int = 150
    deliveries: int = 1000
    database: str = "sqlite"
    workers: int = 1
    at: list[str] = field(default_factory=list)
    lost: float = 0.05
    network: float = 0.02
    patience: float = 0.0
    seconds: float = 0.0
    plain: bool = False
    missed: bool = False
    approvals: bool = False
    bug: str | None = None
    artefacts: Path | None = None
    json: Path | None = None
    record: Path | None = None
    expect_violation: bool = False
    sweep: bool = False
    seeds: int = 3
    at_once: int = 3
    bugs: list[str] = field(default_factory=list)


def options_of(arguments: Sequence[str]) -> CampaignOptions:
    """Read the command line. Impossible options end with 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.brief:
        parser.set_defaults(**BRIEF)
        given = parser.parse_args(arguments)
    del given.brief
    if given.deliveries < FEWEST or given.kills < 0:
        parser.error(f"at least {FEWEST} deliveries and no negative number of kills")
    if not 1 <= given.workers <= (MOST_WORKERS if given.database == "postgres" else 1):
        parser.error(f"one worker on SQLite, 1 to {MOST_WORKERS} on PostgreSQL")
    return CampaignOptions(**vars(given))


def _parser() -> argparse.ArgumentParser:
    usual = CampaignOptions()
    parser = argparse.ArgumentParser(
        prog="chaos", description="Kill the daemon again and again, and judge the run."
    )
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--kills", type=int, default=usual.kills)
    parser.add_argument("--deliveries", type=int, default=usual.deliveries)
    parser.add_argument(
        "--database", choices=["sqlite", "postgres"], default=usual.database
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=usual.workers,
        help="daemons at once, on PostgreSQL",
    )
    parser.add_argument(
        "--at",
        action="append",
        choices=COMMON_POINTS,
        default=[],
        help="die at this failpoint only",
    )
    parser.add_argument(
        "--lost",
        type=float,
        default=usual.lost,
        help="share of creating calls that go wrong",
    )
    parser.add_argument(
        "--network",
        type=float,
        default=usual.network,
        help="share of connections that go wrong",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=usual.patience,
        help="seconds to wait for a failpoint",
    )
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="kill nobody after so long"
    )
    parser.add_argument(
        "--plain", action="store_true", help="only deaths and lost replies"
    )
    parser.add_argument(
        "--missed",
        action="store_true",
        help="let instants of a repeating post be missed at the end",
    )
    parser.add_argument(
        "--approvals",
        action="store_true",
        help="let every post need the approval of two people",
    )
    parser.add_argument(
        "--brief", action="store_true", help="a campaign of a few minutes"
    )
    parser.add_argument(
        "--bug", choices=sorted(MODULES), help="run a daemon with this planted bug"
    )
    parser.add_argument(
        "--artefacts",
        type=Path,
        help="leave what scripts/check-run judges in this folder",
    )
    parser.add_argument(
        "--json", type=Path, help="write what was violated into this file"
    )
    parser.add_argument(
        "--record",
        type=Path,
        help="write a good run, or what a sweep caught, into this page",
    )
    parser.add_argument(
        "--expect-violation",
        action="store_true",
        help="0 when doubled posts were found, else 1",
    )
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="short campaigns against every planted bug, until caught",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=usual.seeds,
        help="campaigns for each bug at most, in a sweep",
    )
    parser.add_argument(
        "--at-once",
        type=int,
        default=usual.at_once,
        help="campaigns at once, in a sweep",
    )
    parser.add_argument(
        "--only",
        action="append",
        dest="bugs",
        default=[],
        help="this bug only, in a sweep",
    )
    return parser
