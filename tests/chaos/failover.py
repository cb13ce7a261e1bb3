"""A PostgreSQL primary is killed in a burst, its standby takes over, and two daemons go on.

With a synchronous standby no commit is lost. With an asynchronous one the last commits are lost,
and with them the knowledge of calls. The daemons' journals must bring back each of these. One
daemon may die with the server and return later. The checker of the kill campaigns judges each run.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import click

from tests.chaos.artefacts import save
from tests.chaos.campaign import Campaign
from tests.chaos.expectations import Expectations
from tests.chaos.findings import CampaignFinding, check
from tests.chaos.options import CampaignOptions
from tests.chaos.platforms import start_platforms
from tests.chaos.postgres_pair import PostgresPair, postgres_pair
from tests.chaos.publisher_process import PublisherProcess
from tests.chaos.workspace import design
from tests.report import write_table
from tests.wait import wait_until

RUNS = {
    "synchronous": {"is_synchronous": True, "kills_host": False},
    "asynchronous": {"is_synchronous": False, "kills_host": False},
    "asynchronous-and-host": {"is_synchronous": False, "kills_host": True},
}
HOSTS = 2
BURST = timedelta(seconds=3)
"""The spread of all due times."""
KILLED_AT_SHARE, LOST_SHARE = 0.5, 0.1
"""Share of posts made before the primary dies, and of posts made since replication stopped."""
ABSENT_SECONDS = 12.0
"""Seconds of absence of the host that dies with the server.

It is less than the minute that the other host waits for it.
"""
MAX_WAIT_SECONDS = 120.0
STARTED = "进程号"
"""Part of a daemon's first message to people: until then, an outage of its database ends it."""
EXPECTED = {
    True: (),
    False: ("commits_lost", "audit_broken", "is not what was anchored"),
}
"""Parts of permitted findings, by whether the standby is synchronous.

A daemon reports as errors that its database lacks calls of its journal, and audit entries of the
last checkpoint.
"""
RECOVERED = "SELECT count(*) FROM audit WHERE event = 'attempts_recovered'"


@dataclass(slots=True, kw_only=True)
class Failover(Campaign):
    """A campaign with the death of the database's server."""

    servers: PostgresPair
    kills_host: bool
    killed_at: float = field(default=0.0, init=False)
    promoted_at: float = field(default=0.0, init=False)

    def run(self) -> None:
        for entry in self.workspace.entries:
            entry.withdrawn = False
        self.wanted = {
            (entry.id, name): "published"
            for entry in self.workspace.entries
            for name in entry.accounts
        }
        with contextlib.ExitStack() as hosts:
            first, second = self.publishers
            hosts.enter_context(first.running())
            if self.kills_host:
                doomed = second.start()
            else:
                hosts.enter_context(second.running())
            for host in self.publishers:
                wait_until(
                    lambda host=host: STARTED in host.log.read_text("utf-8"),
                    MAX_WAIT_SECONDS,
                    STARTED,
                )
            self.workspace.write_wave(0, BURST, self.dice)
            if not self.servers.is_synchronous:
                self._wait_for_posts(KILLED_AT_SHARE - LOST_SHARE)
                self.servers.stop_replication()
            self._wait_for_posts(KILLED_AT_SHARE)
            self.killed_at = time.time()
            if self.kills_host:
                doomed.kill()
                doomed.wait()
            self.servers.fail_over()
            self.promoted_at = self.calm_since = time.time()
            if self.kills_host:
                time.sleep(ABSENT_SECONDS)  # the host is away for as long
                hosts.enter_context(second.running())
            self._await_rest()

    def made_at(self) -> Iterator[float]:
        """Yield when each post was created on its platform, in seconds of the epoch."""
        for entry in self.platforms.log():
            if (
                entry["kind"] == "act"
                and entry["endpoint"]
                and entry["post_id"]
                and not entry.get("thread")
            ):
                yield entry["t"]

    def _wait_for_posts(self, share: float) -> None:
        wait_until(
            lambda: sum(1 for _ in self.made_at()) >= share * len(self.wanted),
            MAX_WAIT_SECONDS,
            "posts",
        )


def fail_over(
    folder: Path, deliveries: int, seed: int, *, is_synchronous: bool, kills_host: bool
) -> tuple[Mapping[str, float], Sequence[CampaignFinding]]:
    """Run one failover in an empty folder. Return its figures and its findings."""
    dice = Random(seed)  # noqa: S311 # repeatable on purpose
    options = CampaignOptions(
        seed=seed,
        kills=0,
        deliveries=deliveries,
        database="postgres",
        workers=HOSTS,
        plain=True,
    )
    folders = [folder / f"worker-{number}" for number in range(1, HOSTS + 1)]
    workspace = design(folders, deliveries, 1, dice, is_rough=False)
    with postgres_pair(folder / "postgres", is_synchronous=is_synchronous) as servers:
        platforms = start_platforms(folder / "platforms", seed, 0.0)
        try:
            platforms.furnish(workspace.accounts.values(), (), accepts_repeats=False)
            workspace.prepare(platforms.base_url, servers.url)
            workspace.allow_long_calls()
            parts: dict[str, Any] = {
                "workspace": workspace,
                "platforms": platforms,
                "dice": dice,
                "options": options,
            }
            publishers = [PublisherProcess(worker, servers.url) for worker in folders]
            run = Failover(
                **parts,
                publishers=publishers,
                waves=1,
                servers=servers,
                kills_host=kills_host,
            )
            run.run()
            expectations = Expectations(run.task)
            findings = [*run.findings(expectations)]
            save(folder / "artefacts", run)
            later = [at - run.killed_at for at in run.made_at() if at > run.promoted_at]
            recovered = publishers[0].store.count(RECOVERED)
        finally:
            platforms.close()
    figures = {
        "deliveries": len(run.wanted),
        "created": expectations.created,
        "created after the failover": len(later),
        "calls brought back by a journal": recovered,
        "held, by rule": expectations.held.total(),
        "seconds to the promotion": run.promoted_at - run.killed_at,
        "seconds to the next post": min(later, default=0.0),
    }
    findings += check(folder / "artefacts")
    return figures, [
        one
        for one in findings
        if not any(part in one.what for part in EXPECTED[is_synchronous])
    ]


def main() -> int:
    """Run the failovers that are asked for. Return 1 if anything was lost, doubled or wrong."""
    parser = argparse.ArgumentParser(prog="scripts/failover", description=__doc__)
    parser.add_argument("--only", choices=RUNS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deliveries", type=int, default=1000)
    parser.add_argument(
        "--artefacts",
        type=Path,
        help="keep in this new folder what scripts/check-run judges",
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="write the figures of runs without findings into the docs",
    )
    given = parser.parse_args()
    rows, violated = [], 0
    for name in [given.only] if given.only else RUNS:
        folder = Path(tempfile.mkdtemp(prefix="publisher-failover-"))
        figures, findings = fail_over(
            folder, given.deliveries, given.seed, **RUNS[name]
        )
        rows.append(
            {"standby": name}
            | {title: f"{figure:.4g}" for title, figure in figures.items()}
        )
        click.echo(
            "".join(f"{title:34} {figure}\n" for title, figure in rows[-1].items()),
            nl=False,
        )
        click.echo(
            "".join(f"VIOLATION {finding}\n" for finding in findings)
            or "nothing lost, doubled or wrong\n"
        )
        violated += len(findings)
        if given.artefacts:
            shutil.copytree(folder / "artefacts", given.artefacts / name)
        shutil.rmtree(folder)
    if given.record and not violated:
        write_table("failover", rows)
    return int(violated > 0)


if __name__ == "__main__":
    sys.exit(main())
