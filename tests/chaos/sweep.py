"""Every planted bug, one after the other, in short campaigns, until a campaign catches it.

A sound daemon goes first, under the same seeds and troubles: what a campaign finds in it would be no catch.
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
from figures import row, write_between
from planted_names import BUGS, MUTANTS
from publisher_process import HERE
from verdicts import Finding, read

SHORT = ("--deliveries", "100", "--kills", "13", "--lost", "0.3", "--network", "0.06", "--patience", "2")
"""Few posts, and much trouble: what is uncommon must come often."""
SHARED = ("--database", "postgres", "--workers", "2")
"""Where others act while a worker sleeps; every third seed is spent there."""
PROMISES = "I"
"""What counts as a catch begins with this letter: an invariant. That a hard campaign holds too many is no catch."""
AT_ONCE = 3
SOUND = "nothing"
COLUMNS = ("planted mistake", "caught in campaign", "broken promises (who saw them)")
BEGIN, END = "<!-- recorded by scripts/chaos --sweep --record: begin -->", "<!-- end of the sweep -->"
LONGEST = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """How often a campaign was run against a bug, and what the last one found."""

    name: str
    seeds: int
    found: Sequence[Finding]
    seconds: float

    @property
    def by(self) -> str:
        """Which promises were seen broken, and how often."""
        counted = Counter(f"{finding.invariant} ({finding.by})" for finding in self.found)
        return ", ".join(f"{name} {number}" for name, number in counted.most_common())

    @property
    def cells(self) -> Sequence[str]:
        return f"`{self.name}`", str(self.seeds) if self.found else f"not in {self.seeds}", self.by

    def __str__(self) -> str:
        if not self.found:
            return f"{self.name:28} not caught in {self.seeds} seeds, {self.seconds:.0f} s"
        return f"{self.name:28} caught after {self.seeds}: {self.by}; {self.seconds:.0f} s"


def sweep(seeds: int, names: Sequence[str], page: Path | None) -> int:
    """Go through all bugs; 0 when each was caught, and nothing was found in a sound daemon. `page` keeps the record."""
    chosen = list(names) or sorted(BUGS | set(MUTANTS))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sound = pool.submit(_try_all, SOUND, seeds)
        catches = [pool.submit(_hunt, name, seeds) for name in chosen]
        missed = [catch.result() for catch in catches if not catch.result().found]
    alarm = sound.result()
    if page is not None:
        rows = [row(catch.result().cells) for catch in catches]
        write_between(page, BEGIN, END, [row(COLUMNS), row(["---"] * len(COLUMNS)), *rows])
    for finding in alarm.found:
        click.echo(f"FALSE ALARM  {finding}")
    click.echo(f"{len(chosen) - len(missed)} of {len(chosen)} caught; {len(alarm.found)} findings in a sound daemon")
    return int(bool(missed or alarm.found))


def _hunt(name: str, seeds: int) -> Catch:
    began, found, seed = time.monotonic(), [], 0
    for seed in range(1, seeds + 1):
        found = _campaign(name, seed)
        if found:
            break
    return _told(Catch(name=name, seeds=seed, found=found, seconds=time.monotonic() - began))


def _try_all(name: str, seeds: int) -> Catch:
    began = time.monotonic()
    found = [finding for seed in range(1, seeds + 1) for finding in _campaign(name, seed)]
    return _told(Catch(name=name, seeds=seeds, found=found, seconds=time.monotonic() - began))


def _told(catch: Catch) -> Catch:
    click.echo(str(catch))
    sys.stdout.flush()
    return catch


def _campaign(name: str, seed: int) -> list[Finding]:
    with tempfile.TemporaryDirectory(prefix="publisher-sweep-") as folder:
        file = Path(folder) / "findings.json"
        command = [sys.executable, str(HERE / "campaign.py"), *_words(name, seed), "--json", str(file)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            return [Finding(by="campaign", invariant="NONE", what=f"not over within {LONGEST:.0f} s")]
        if not file.exists():
            return [Finding(by="campaign", invariant="NONE", what=done.stderr[-800:])]
        findings = read(file)
        for broken in (finding for finding in findings if finding.invariant == "BROKEN"):
            click.echo(f"{name} seed {seed}: {broken}", err=True)
        return [finding for finding in findings if finding.invariant.startswith(PROMISES)]


def _words(name: str, seed: int) -> Iterator[str]:
    yield from ("--seed", str(seed), *SHORT)
    if seed % 3 == 0:
        yield from SHARED
    if name != SOUND:
        yield from ("--bug" if name in BUGS else "--mutant", name)
