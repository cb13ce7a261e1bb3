"""One performance: keep the daemon running, show the board, and say how it went."""

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from publisher.cli.demo.processes import DAEMON_STOP_SECONDS, read_log_tail, start_daemon, stop_process
from publisher.cli.demo.simulated_platforms import SimulatedPlatforms
from publisher.cli.demo.workspace import DemoWorkspace
from publisher.cli.errors import CommandFailedError
from publisher.cli.format import STATE_STYLES, Formatter, format_counts
from publisher.cli.terminal import echo
from publisher.domain.characters import escape_forbidden
from publisher.domain.delivery import OPEN_STATES, Delivery, State
from publisher.domain.rendered import DeliveryId
from publisher.i18n import Lang
from publisher.store.queries.queries import Queries

UNSHOWN_STATES = frozenset({State.PENDING, State.DUE, State.CLAIMED, State.SENDING})
"""States that last too short a time to be worth a line."""


@dataclass(slots=True, kw_only=True)
class DemoScreen:
    """Shows how the deliveries come along."""

    formatter: Formatter
    live: Live | None = None
    shown_states: dict[DeliveryId, State] = field(default_factory=dict)

    def show(self, deliveries: Sequence[Delivery]) -> None:
        """Show where the deliveries stand now."""
        if self.live is not None:
            self.live.update(_status_table(deliveries, self.formatter), refresh=True)
            return
        for delivery in deliveries:
            if delivery.state not in UNSHOWN_STATES and self.shown_states.get(delivery.id) is not delivery.state:
                self.shown_states[delivery.id] = delivery.state
                echo(_format_line(delivery, self.formatter))

    def print_message(self, code: str, **facts: object) -> None:
        """Say something beside the board."""
        words = self.formatter.messages.translate(code, **facts)
        if self.live is not None:
            self.live.console.print(escape_forbidden(words), highlight=False, markup=False)
        else:
            echo(words)


@contextlib.contextmanager
def open_screen(formatter: Formatter) -> Iterator[DemoScreen]:
    """Draw where somebody watches; write lines where nobody does."""
    if not sys.stdout.isatty():
        yield DemoScreen(formatter=formatter)
        return
    with Live(console=Console(), auto_refresh=False) as live:
        yield DemoScreen(formatter=formatter, live=live)


def _status_table(deliveries: Sequence[Delivery], formatter: Formatter) -> Table:
    """One row a post: there may be many hundred deliveries."""
    say = formatter.messages.translate
    table = Table()
    for column in ("column_post", "column_due", "column_state"):
        table.add_column(say(column))
    by_post: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        by_post.setdefault(delivery.key.post, []).append(delivery)
    for post, group in by_post.items():
        due = group[0].due_at.astimezone(formatter.timezone)
        table.add_row(post, f"{due:%H:%M:%S}", _format_states(Counter(delivery.state for delivery in group), formatter))
    return table


def _format_states(counts: Mapping[State, int], formatter: Formatter) -> Text:
    told = Text()
    for state in State:
        if counts.get(state):
            told.append(f"{formatter.state(state)} {counts[state]}  ", style=STATE_STYLES.get(state, ""))
    return told


def _format_line(delivery: Delivery, formatter: Formatter) -> str:
    more = delivery.receipt.url if delivery.receipt else formatter.reason(delivery.reason) if delivery.reason else ""
    at = delivery.updated_at.astimezone(formatter.timezone)
    return f"{at:%H:%M:%S}  {formatter.subject(delivery)}  {formatter.state(delivery.state)}  {more}".rstrip()


POLL_SECONDS = 0.5
"""Seconds between two looks at the books."""
MAX_DAEMON_FAILURES = 3
SHOWN_LOG_LINES = 5


@dataclass(slots=True, kw_only=True)
class Scenario:
    """What a performance needs, and its daemon. A daemon that ends with an error, not by a signal, has failed."""

    formatter: Formatter
    workspace: Path
    queries: Queries
    demo_workspace: DemoWorkspace
    platforms: SimulatedPlatforms
    simulator: asyncio.subprocess.Process
    stopping: asyncio.Event
    daemon_failures: int = 0
    has_registered_callbacks: bool = False
    daemon: asyncio.subprocess.Process | None = field(default=None)

    @property
    def lang(self) -> Lang:
        return self.formatter.messages.lang

    async def run(self, *, exits: bool) -> int:
        """Perform until asked to stop, or, with `exits`, until all has ended. Give the exit code."""
        verdict: int | None = None
        with open_screen(self.formatter) as screen:
            try:
                while not self.stopping.is_set() and not (exits and verdict is not None):
                    deliveries = await self.queries.deliveries()
                    await self._ensure_daemon(screen)
                    await self._register_callbacks()
                    screen.show(deliveries)
                    if verdict is None and is_settled(deliveries):
                        verdict = await self._verify(screen, deliveries)
                        screen.print_message("demo_stays" if not exits else "demo_ends")
                    await self._wait()
            finally:
                if self.daemon is not None:
                    await stop_process(self.daemon, DAEMON_STOP_SECONDS)
        return verdict if verdict is not None else int(exits)

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), POLL_SECONDS)

    async def _register_callbacks(self) -> None:
        """Let WeChat tell the daemon of what has ended, as soon as that listens."""
        if self.demo_workspace.callback_listen and not self.has_registered_callbacks:
            callback_target = (self.demo_workspace.accounts, self.demo_workspace.callback_listen)
            self.has_registered_callbacks = await asyncio.to_thread(self.platforms.register_callbacks, *callback_target)

    async def _ensure_daemon(self, screen: DemoScreen) -> None:
        """Start the daemon, and start it again when somebody has killed it."""
        if self.simulator.returncode is not None:
            raise CommandFailedError("simulator_gone")
        if self.daemon is not None and self.daemon.returncode is None:
            return
        gone = self.daemon
        if gone is not None and (gone.returncode or 0) > 0:
            self.daemon_failures += 1
        if self.daemon_failures >= MAX_DAEMON_FAILURES:
            lines = await asyncio.to_thread(read_log_tail, self.workspace, SHOWN_LOG_LINES)
            raise CommandFailedError("daemon_fails", log="\n".join(lines))
        self.daemon = await start_daemon(self.workspace, self.lang)
        if gone is None:
            screen.print_message("demo_daemon", pid=self.daemon.pid)
        else:
            screen.print_message("demo_daemon_again", gone=gone.pid, pid=self.daemon.pid)

    async def _verify(self, screen: DemoScreen, deliveries: Sequence[Delivery]) -> int:
        """Compare the books with what stands on the accounts: 0 if every delivery is live exactly once."""
        accounts = {account.id: account for account in self.demo_workspace.accounts}
        counts = await asyncio.to_thread(self.platforms.count_posts, deliveries, accounts)
        if all(delivery.state is State.PUBLISHED for delivery in deliveries) and counts.are_all_single:
            screen.print_message("demo_all_published", number=len(deliveries))
            return 0
        screen.print_message("demo_not_all_published", counts=format_counts(deliveries, self.formatter))
        for delivery in deliveries:
            number = counts.by_delivery[delivery.id]
            if delivery.state is not State.PUBLISHED or number != 1:
                state, reason = self.formatter.state(delivery.state), self.formatter.reason(delivery.reason)
                subject = self.formatter.subject(delivery)
                screen.print_message("demo_mismatch", subject=subject, state=state, reason=reason, number=number)
        if counts.unexplained:
            screen.print_message("demo_unexplained", number=counts.unexplained)
        return 1


def is_settled(deliveries: Sequence[Delivery]) -> bool:
    """Whether everything filed has ended, or waits for a person."""
    return bool(deliveries) and not any(delivery.state in OPEN_STATES - {State.HELD} for delivery in deliveries)
