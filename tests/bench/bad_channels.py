"""The cost of bad alert channels for due posts: channels that hang, drip, fail and redirect.

Two daemons run side by side. Both have the same posts, due in turn, one a second, and new faults
all the time. One notifies people by four bad channels, and the other has no channels. All other
work of the machine therefore concerns both alike. In the end the channels work again, and must get
the rest of each alert.
"""

import argparse
import asyncio
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from tests.alerts.receivers import Webhook, serving
from tests.bench.database import accept_schedule, read_rows
from tests.bench.figures import median, percentile
from tests.bench.platform import PlatformClient, run_platform
from tests.bench.workspace import (
    BODY,
    NO_PLATFORM,
    STARTED,
    add_account,
    daemon,
    format_post,
    wait_for_event,
    workspace,
    write_schedule,
)
from tests.report import ROOT, describe_machine, format_table, write_recorded
from tests.wait import wait_until

BAD = ("hang", "drip", "error", "redirect")
PAGE = ROOT / "docs" / "performance.md"
MAX_DELAY_SECONDS = 0.05
ACCOUNTS, FAULTY_ACCOUNTS = 5, 5
"""Accounts that work, and accounts with an unreachable platform."""
POST_INTERVAL = timedelta(seconds=2)
"""From one post of a daemon to its next; the other daemon's are halfway between them."""
FAULT_INTERVAL = timedelta(seconds=20)
FAULT_LASTS = timedelta(seconds=5)
"""After so long a post that reaches no platform expires, with an alert."""
START_SECONDS = 20
"""How long before the planning of the first post begins; each post takes some time more."""
START_TIMEOUT_SECONDS, HEAL_TIMEOUT_SECONDS = 120, 300
_NUMBER_OF_POST = re.compile(r"诈骗第post-(\d+)期")


@dataclass(slots=True, kw_only=True)
class Subject:
    """A running daemon's workspace, its platform, and when its posts are due."""

    folder: Path
    platform: PlatformClient
    due: Sequence[datetime] = ()

    def file(self, start: datetime, seconds: float) -> None:
        """File posts for so many seconds, and faults beside them."""
        self.due = [
            start + number * POST_INTERVAL
            for number in range(int(seconds / POST_INTERVAL.total_seconds()))
        ]
        posts = [
            format_post(f"post-{n}", at, [f"a{n % ACCOUNTS}"])
            for n, at in enumerate(self.due)
        ]
        for number in range(int(seconds / FAULT_INTERVAL.total_seconds())):
            at = start + number * FAULT_INTERVAL
            more = f"expires = {at + FAULT_LASTS:%Y-%m-%dT%H:%M:%SZ}\n{BODY}"
            posts.append(
                format_post(
                    f"fault-{number}",
                    at,
                    [f"a{ACCOUNTS + number % FAULTY_ACCOUNTS}"],
                    more,
                )
            )
        write_schedule(self.folder, *posts)
        asyncio.run(accept_schedule(self.folder))

    def lateness(self) -> Sequence[float]:
        """Return the seconds from each post's due time to its first byte at the platform."""
        calls = [
            (at, _NUMBER_OF_POST.search(text))
            for at, _login, text in self.platform.published()
        ]
        return [
            at - self.due[int(found[1])].timestamp() for at, found in calls if found
        ]

    def unsent(self) -> int:
        """Return how many notices wait for a channel."""
        [(number,)] = read_rows(
            self.folder, "SELECT count(*) FROM notice WHERE ended_at IS NULL"
        )
        return int(number)

    def alerts(self) -> frozenset[str]:
        """Return the numbers of the alerts with due notices, without alerts about a channel."""
        query = (
            "SELECT id FROM alert WHERE notices > 0 AND code != 'alert_channel_failing'"
        )
        return frozenset(str(number) for (number,) in read_rows(self.folder, query))


@contextmanager
def subject(hooks: Mapping[str, Webhook]) -> Iterator[Subject]:
    """Run a daemon in a workspace of its own; its alerts go to these channels."""
    names = "\n".join(f'{name} = "alert-{name}"' for name in hooks)
    alerts = (
        f"[alerts]\nfirst = {list(hooks)}\n[alerts.channels]\n{names}\n"
        if hooks
        else ""
    )
    with (
        run_platform() as platform,
        workspace(ACCOUNTS, platform.base_url, limits=alerts) as folder,
    ):
        for name, hook in hooks.items():
            (folder / "secrets" / f"alert-{name}").write_text(
                f'{{"url": "{hook.url}"}}', "utf-8"
            )
        with (folder / "publisher.toml").open("a", encoding="utf-8") as settings:
            settings.writelines(
                add_account(folder, ACCOUNTS + n, NO_PLATFORM)
                for n in range(FAULTY_ACCOUNTS)
            )
        write_schedule(folder, "")
        with daemon(folder):
            wait_for_event(folder, STARTED, START_TIMEOUT_SECONDS)
            yield Subject(folder=folder, platform=platform)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatenessResult:
    """The lateness of the posts of both daemons, in seconds, and the state of the alerts."""

    without: Sequence[float]
    with_bad: Sequence[float]
    alerts: int
    calls: int
    """How often a bad channel was tried."""
    lost: Sequence[str]
    """Each channel and alert that the channel never got."""

    @property
    def delays(self) -> Mapping[str, float]:
        """Return by how many seconds posts were later beside bad channels."""
        return {
            "median": median(self.with_bad) - median(self.without),
            "p99": percentile(self.with_bad, 0.99) - percentile(self.without, 0.99),
        }

    def rows(self) -> Sequence[Mapping[str, str]]:
        return [
            {
                "channels": name,
                "posts": f"{len(late):,}",
                **{
                    f"{label} ms late": f"{value(late) * 1e3:,.1f}"
                    for label, value in _VALUES.items()
                },
            }
            for name, late in (("none", self.without), (", ".join(BAD), self.with_bad))
        ]


_VALUES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "median": median,
    "p99": lambda late: percentile(late, 0.99),
    "worst": max,
}


def measure(seconds: float) -> LatenessResult:
    """Run both daemons for so long; then let the channels work until nothing waits for them."""
    with ExitStack() as stack:
        hooks = {name: stack.enter_context(serving(Webhook(name))) for name in BAD}
        with_bad, without = (
            stack.enter_context(subject(channels)) for channels in (hooks, {})
        )
        posts = int(seconds / POST_INTERVAL.total_seconds())
        start = datetime.now(UTC).replace(microsecond=0) + timedelta(
            seconds=START_SECONDS + posts / 10
        )
        with_bad.file(start, seconds)
        without.file(start + POST_INTERVAL / 2, seconds)
        if datetime.now(UTC) > start:
            raise TimeoutError("the posts were not filed before the first one was due")
        ends = start + timedelta(seconds=seconds + START_TIMEOUT_SECONDS)
        with_bad.platform.wait_for(
            posts, (ends - datetime.now(UTC)).total_seconds(), marker="post-"
        )
        without.platform.wait_for(posts, START_TIMEOUT_SECONDS, marker="post-")
        calls = sum(len(hook.requests) for hook in hooks.values())
        alerts = (
            with_bad.alerts()
        )  # what is planned from now on may still wait at the end
        for hook in hooks.values():
            hook.answer = "accept"
            hook.released.set()
        wait_until(
            lambda: not with_bad.unsent(),
            HEAL_TIMEOUT_SECONDS,
            "notices that reach a channel",
        )
        said = {
            name: {key.partition("-")[0] for key in hook.ids()}
            for name, hook in hooks.items()
        }
        return LatenessResult(
            without=without.lateness(),
            with_bad=with_bad.lateness(),
            alerts=len(alerts),
            calls=calls,
            lost=[
                f"{name}: {alert}"
                for name in BAD
                for alert in sorted(alerts - said[name])
            ],
        )


def main(arguments: Sequence[str]) -> int:
    """Measure and print the result. Return 1 if posts are too late, or an alert is lost, else 0."""
    parser = argparse.ArgumentParser(prog="scripts/bad-channels", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument(
        "--record",
        action="store_true",
        help="write the figures into docs/performance.md",
    )
    given = parser.parse_args(arguments)
    result = measure(given.minutes * 60)
    table = format_table(result.rows())
    delays = ", ".join(
        f"{name} {delay * 1e3:+.1f} ms" for name, delay in result.delays.items()
    )
    click.echo(f"{table}\n\nwith bad channels: {delays}")
    click.echo(
        f"alerts {result.alerts}, calls of bad channels {result.calls}, lost {list(result.lost)}"
    )
    if given.record:
        counts = (
            f"{given.minutes:g} minutes; {result.alerts} alerts,"
            f" {result.calls} calls of bad channels, {len(result.lost)} alerts lost."
        )
        text = f"{table}\n\nLater beside bad channels: {delays}. {counts}\n\n"
        write_recorded(PAGE, "bad-channels", text + describe_machine())
    is_late = any(delay >= MAX_DELAY_SECONDS for delay in result.delays.values())
    return int(is_late or bool(result.lost) or not result.alerts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
