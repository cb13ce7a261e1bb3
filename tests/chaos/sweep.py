"""Runs every planted bug in turn, in short campaigns, until a campaign catches it.

A sound daemon goes first, under the same seeds and troubles. A finding of a campaign in it would be
no catch.
"""

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

from tests.chaos.findings import CampaignFinding, read
from tests.chaos.metrics import put_row
from tests.chaos.mutants import MODULES, NONE, broken_by
from tests.chaos.options import CampaignOptions
from tests.chaos.publisher_process import module_command

SHORT = (
    "--deliveries",
    "100",
    "--kills",
    "13",
    "--lost",
    "0.3",
    "--network",
    "0.06",
    "--patience",
    "2",
)
"""Few posts and much trouble, so that rare events come often."""
SHARED = ("--database", "postgres", "--workers", "2")
"""Where others act while a worker sleeps; every third seed is spent there."""
MISSED = ("--missed",)
"""Option: instants of a repeating post are missed at the end.

That takes two minutes. It is used with the second seed and every third.
"""
TOO_HARD = frozenset({"HELD", "POINT"})
"""Findings that show a too hard or too short campaign, and nothing about a daemon."""
COLUMNS = ("planted mistake", "caught by `--seed`", "broken promises (who saw them)")
BEGIN = "<!-- recorded by scripts/chaos --sweep --record: begin -->"
END = "<!-- end of the sweep -->"
LONGEST = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """The seeds of campaigns against a bug, and the findings of the last one."""

    name: str
    seeds: range
    found: Sequence[CampaignFinding]
    seconds: float

    @property
    def by(self) -> str:
        """The promises that were broken, with their counts."""
        counted = Counter(
            f"{finding.invariant} ({finding.by})" for finding in self.found
        )
        return ", ".join(f"{name} {number}" for name, number in counted.most_common())

    @property
    def tried(self) -> str:
        return f"{self.seeds[0]} to {self.seeds[-1]}"

    @property
    def cells(self) -> Sequence[str]:
        return (
            f"`{self.name}`",
            str(self.seeds[-1]) if self.found else f"not by {self.tried}",
            self.by,
        )

    def __str__(self) -> str:
        if not self.found:
            return (
                f"{self.name:28} not caught by seeds {self.tried}, {self.seconds:.0f} s"
            )
        return f"{self.name:28} caught by seed {self.seeds[-1]}: {self.by}; {self.seconds:.0f} s"


def sweep(options: CampaignOptions) -> int:
    """Go through all bugs; 0 when each was caught, and nothing was found in a sound daemon."""
    chosen = options.bugs or [NONE, *sorted(MODULES)]
    seeds = range(options.seed, options.seed + options.seeds)
    catches = []
    with ThreadPoolExecutor(options.at_once) as pool:
        for catch in pool.map(lambda name: _hunt(name, seeds), chosen):
            catches.append(catch)
            if options.record is not None:
                put_row(
                    options.record, (BEGIN, END), COLUMNS, catch.cells, is_sorted=True
                )
    hunted = [catch for catch in catches if catch.name != NONE]
    alarms = [
        finding for catch in catches if catch.name == NONE for finding in catch.found
    ]
    caught = sum(bool(catch.found) for catch in hunted)
    for finding in alarms:
        click.echo(f"FALSE ALARM  {finding}")
    click.echo(
        f"{caught} of {len(hunted)} caught; {len(alarms)} findings in a sound daemon"
    )
    return int(bool(caught < len(hunted) or alarms))


def _hunt(name: str, seeds: range) -> Catch:
    """Try seeds until one finds the broken promises of the bug, or anything in a sound daemon."""
    began, found, tried = time.monotonic(), list[CampaignFinding](), seeds[:1]
    for number, seed in enumerate(seeds):
        tried, all_found = seeds[: number + 1], _campaign(name, seed)
        found = [
            one for one in all_found if name == NONE or one.invariant in broken_by(name)
        ]
        for other in (one for one in all_found if one not in found):
            click.echo(f"{name} seed {seed}, beside what it breaks: {other}", err=True)
        if found:
            break
    catch = Catch(name=name, seeds=tried, found=found, seconds=time.monotonic() - began)
    click.echo(str(catch))
    sys.stdout.flush()
    return catch


def _campaign(name: str, seed: int) -> list[CampaignFinding]:
    with tempfile.TemporaryDirectory(prefix="publisher-sweep-") as folder:
        file = Path(folder) / "findings.json"
        command = module_command("campaign", *_words(name, seed), "--json", str(file))
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=LONGEST
            )
        except subprocess.TimeoutExpired:
            return [
                CampaignFinding(
                    by="campaign",
                    invariant="NONE",
                    what=f"not over within {LONGEST:.0f} s",
                )
            ]
        if not file.exists():
            return [
                CampaignFinding(
                    by="campaign", invariant="NONE", what=done.stderr[-800:]
                )
            ]
        return [finding for finding in read(file) if finding.invariant not in TOO_HARD]


def _words(name: str, seed: int) -> Iterator[str]:
    yield from ("--seed", str(seed), *SHORT)
    if seed % 3 == 0:
        yield from SHARED
    if seed % 3 == 2:
        yield from MISSED
    if MODULES.get(name) == "approvals":
        yield "--approvals"
    if name != NONE:
        yield from ("--bug", name)
