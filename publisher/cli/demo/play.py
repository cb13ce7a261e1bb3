"""One performance: keep the daemon running, show the board, and say how it went."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from publisher.cli.demo.children import DAEMON_GRACE, last_lines, start_daemon, stop
from publisher.cli.demo.drill import Drill
from publisher.cli.demo.screen import Screen, open_screen
from publisher.cli.demo.theatre import Theatre
from publisher.cli.looking import counts_of
from publisher.cli.narrating import Narrator
from publisher.cli.trouble import FailedError
from publisher.domain.delivery import OPEN, Delivery, State
from publisher.messages import Lang
from publisher.store.board import Board

GLANCE = 0.5
"""Seconds between two looks at the books."""
MOST_FAILURES = 3
TOLD_LINES = 5


@dataclass(slots=True, kw_only=True)
class Play:
    """What a performance needs, and its daemon. A daemon that ends with an error, not by a signal, has failed."""

    narrator: Narrator
    workspace: Path
    board: Board
    drill: Drill
    theatre: Theatre
    simulator: asyncio.subprocess.Process
    stopping: asyncio.Event
    failures: int = 0
    is_introduced: bool = False
    daemon: asyncio.subprocess.Process | None = field(default=None)

    @property
    def lang(self) -> Lang:
        return self.narrator.messages.lang

    async def run(self, *, exits: bool) -> int:
        """Perform until asked to stop, or, with `exits`, until all has ended. Give the exit code."""
        verdict: int | None = None
        with open_screen(self.narrator) as screen:
            try:
                while not self.stopping.is_set() and not (exits and verdict is not None):
                    deliveries = await self.board.deliveries()
                    await self._keep_running(screen)
                    await self._introduce()
                    screen.show(deliveries)
                    if verdict is None and is_settled(deliveries):
                        verdict = await self._judge(screen, deliveries)
                        screen.tell("demo_stays" if not exits else "demo_ends")
                    await self._wait()
            finally:
                if self.daemon is not None:
                    await stop(self.daemon, DAEMON_GRACE)
        return verdict if verdict is not None else int(exits)

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), GLANCE)

    async def _introduce(self) -> None:
        """Let WeChat tell the daemon of what has ended, as soon as that listens."""
        if self.drill.listen and not self.is_introduced:
            here = (self.drill.accounts, self.drill.listen)
            self.is_introduced = await asyncio.to_thread(self.theatre.introduce, *here)

    async def _keep_running(self, screen: Screen) -> None:
        """Start the daemon, and start it again when somebody has killed it."""
        if self.simulator.returncode is not None:
            raise FailedError("simulator_gone")
        if self.daemon is not None and self.daemon.returncode is None:
            return
        gone = self.daemon
        if gone is not None and (gone.returncode or 0) > 0:
            self.failures += 1
        if self.failures >= MOST_FAILURES:
            lines = await asyncio.to_thread(last_lines, self.workspace, TOLD_LINES)
            raise FailedError("daemon_fails", log="\n".join(lines))
        self.daemon = await start_daemon(self.workspace, self.lang)
        if gone is None:
            screen.tell("demo_daemon", pid=self.daemon.pid)
        else:
            screen.tell("demo_daemon_again", gone=gone.pid, pid=self.daemon.pid)

    async def _judge(self, screen: Screen, deliveries: Sequence[Delivery]) -> int:
        """Compare the books with what stands on the accounts: 0 if every delivery is live exactly once."""
        accounts = {account.id: account for account in self.drill.accounts}
        copies = await asyncio.to_thread(self.theatre.copies, deliveries, accounts)
        if all(delivery.state is State.PUBLISHED for delivery in deliveries) and copies.are_single:
            screen.tell("demo_all_live", number=len(deliveries))
            return 0
        screen.tell("demo_not_all_live", counts=counts_of(deliveries, self.narrator))
        for delivery in deliveries:
            number = copies.of_delivery[delivery.id]
            if delivery.state is not State.PUBLISHED or number != 1:
                state, reason = self.narrator.state(delivery.state), self.narrator.reason(delivery.reason)
                subject = self.narrator.subject(delivery)
                screen.tell("demo_odd", subject=subject, state=state, reason=reason, number=number)
        if copies.unexplained:
            screen.tell("demo_unexplained", number=copies.unexplained)
        return 1


def is_settled(deliveries: Sequence[Delivery]) -> bool:
    """Whether everything filed has ended, or waits for a person."""
    return bool(deliveries) and not any(delivery.state in OPEN - {State.HELD} for delivery in deliveries)
