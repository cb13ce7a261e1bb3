"""One run of the demo: keep the daemon running, show the deliveries, and check the result."""

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import Sequence
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
from publisher.store.queries.queries import Queries

UNSHOWN_STATES = frozenset({State.PENDING, State.DUE, State.CLAIMED, State.SENDING})
"""States too short to be worth a line."""
POLL_SECONDS = 0.5
MAX_DAEMON_FAILURES = 3
SHOWN_LOG_LINES = 5


@dataclass(slots=True, kw_only=True)
class DemoScreen:
    """Shows the deliveries: as a live table on a terminal, else one line for each change of state."""

    formatter: Formatter
    live: Live | None = None
    shown_states: dict[DeliveryId, State] = field(default_factory=dict)

    def show(self, deliveries: Sequence[Delivery]) -> None:
        if self.live is not None:
            self.live.update(_status_table(deliveries, self.formatter), refresh=True)
            return
        for delivery in deliveries:
            if delivery.state not in UNSHOWN_STATES and self.shown_states.get(delivery.id) is not delivery.state:
                self.shown_states[delivery.id] = delivery.state
                details = self.formatter.reason(delivery.reason) if delivery.reason else ""
                if delivery.receipt:
                    details = delivery.receipt.url
                at = delivery.updated_at.astimezone(self.formatter.timezone)
                subject, state = self.formatter.subject(delivery), self.formatter.state(delivery.state)
                echo(f"{at:%H:%M:%S}  {subject}  {state}  {details}".rstrip())

    def print_message(self, code: str, **facts: object) -> None:
        text = self.formatter.messages.translate(code, **facts)
        if self.live is not None:
            self.live.console.print(escape_forbidden(text), highlight=False, markup=False)
        else:
            echo(text)


def _status_table(deliveries: Sequence[Delivery], formatter: Formatter) -> Table:
    """Return a table of one row a post, as there may be many hundred deliveries."""
    table = Table()
    for column in ("column_post", "column_due", "column_state"):
        table.add_column(formatter.messages.translate(column))
    by_post: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        by_post.setdefault(delivery.key.post, []).append(delivery)
    for post, group in by_post.items():
        due, states = group[0].due_at.astimezone(formatter.timezone), Text()
        counts = Counter(delivery.state for delivery in group)
        for state in State:
            if counts[state]:
                states.append(f"{formatter.state(state)} {counts[state]}  ", style=STATE_STYLES.get(state, ""))
        table.add_row(post, f"{due:%H:%M:%S}", states)
    return table


@dataclass(slots=True, kw_only=True)
class Scenario:
    """A run of the demo and its daemon. A daemon that exits with an error, not by a signal, has failed."""

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

    async def run(self, *, exits: bool) -> int:
        """Run until stopped or, with `exits`, until every delivery has ended. Return the exit code."""
        exit_code: int | None = None
        with contextlib.ExitStack() as stack:
            screen = DemoScreen(formatter=self.formatter)
            if sys.stdout.isatty():
                screen.live = stack.enter_context(Live(console=Console(), auto_refresh=False))
            try:
                while not self.stopping.is_set() and not (exits and exit_code is not None):
                    deliveries = await self.queries.deliveries()
                    await self._ensure_daemon(screen)
                    if self.demo_workspace.callback_listen and not self.has_registered_callbacks:
                        # fails until the daemon listens
                        self.has_registered_callbacks = await asyncio.to_thread(
                            self.platforms.register_callbacks,
                            self.demo_workspace.accounts,
                            self.demo_workspace.callback_listen,
                        )
                    screen.show(deliveries)
                    if exit_code is None and is_settled(deliveries):
                        exit_code = await self._verify(screen, deliveries)
                        screen.print_message("demo_stays" if not exits else "demo_ends")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.stopping.wait(), POLL_SECONDS)
            finally:
                if self.daemon is not None:
                    await stop_process(self.daemon, DAEMON_STOP_SECONDS)
        return exit_code if exit_code is not None else int(exits)

    async def _ensure_daemon(self, screen: DemoScreen) -> None:
        """Start the daemon, and again after it was killed. Raise CommandFailedError after MAX_DAEMON_FAILURES."""
        if self.simulator.returncode is not None:
            raise CommandFailedError("simulator_gone")
        if self.daemon is not None and self.daemon.returncode is None:
            return
        ended = self.daemon
        if ended is not None and (ended.returncode or 0) > 0:
            self.daemon_failures += 1
        if self.daemon_failures >= MAX_DAEMON_FAILURES:
            lines = await asyncio.to_thread(read_log_tail, self.workspace, SHOWN_LOG_LINES)
            raise CommandFailedError("daemon_fails", log="\n".join(lines))
        self.daemon = await start_daemon(self.workspace, self.formatter.messages.lang)
        if ended is None:
            screen.print_message("demo_daemon", pid=self.daemon.pid)
        else:
            screen.print_message("demo_daemon_again", gone=ended.pid, pid=self.daemon.pid)

    async def _verify(self, screen: DemoScreen, deliveries: Sequence[Delivery]) -> int:
        """Compare the database with the platforms; return 0 if every delivery is published exactly once."""
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
    """True if every delivery has ended or waits for a person."""
    return bool(deliveries) and not any(delivery.state in OPEN_STATES - {State.HELD} for delivery in deliveries)
