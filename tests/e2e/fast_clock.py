"""A runtime with a clock that is moved forward.

A daemon's jobs run in step with it and with the platforms' clock.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from publisher.daemon import Daemon
from publisher.domain.delivery import OPEN_STATES, WAITING_STATES, State
from publisher.engine.monitor import check_logins_due, monitor_due
from publisher.engine.reconciler import reconcile_due, retract_due
from publisher.engine.sender import send_due
from publisher.runtime.clock import Runtime
from tests.simulator_process import SimulatorProcess

LEAST, MOST = timedelta(seconds=20), timedelta(minutes=10)
"""Smallest and largest step of the clock.

A step is small near a due time, and large where nothing is due.
"""
AT_ONCE = 50


@dataclass(slots=True)
class FastRuntime(Runtime):
    """The real clock plus a shift."""

    shift: timedelta = field(default=timedelta(0))

    def now(self) -> datetime:
        return Runtime.now(self) + self.shift

    def monotonic(self) -> float:
        return Runtime.monotonic(self) + self.shift.total_seconds()


@dataclass(slots=True)
class Days:
    """A daemon with jobs that are run by hand.

    Its clock and the platforms' clock move together.
    """

    daemon: Daemon
    runtime: FastRuntime
    simulator: SimulatorProcess

    async def live_until(self, instant: datetime) -> None:
        """Run the daemon's jobs wherever something is due, up to an instant."""
        while (now := self.runtime.now()) < instant:
            await self.run_jobs()
            wanted = max(await self._next_due_at(), now + LEAST)
            await self._advance(min(wanted, now + MOST, instant) - self.runtime.now())
        await self.run_jobs()

    async def run_jobs(self) -> None:
        """Run all jobs of the daemon until none of them finds more to do."""
        app = self.daemon.application
        await app.store.maintenance.run()
        await send_due(app.store, app.adapters, AT_ONCE, self.daemon.stop_requested)
        for job in (reconcile_due, retract_due, monitor_due, check_logins_due):
            while await job(app.store, app.adapters, AT_ONCE) == AT_ONCE:
                pass

    async def _next_due_at(self) -> datetime:
        """Return the next due time of a delivery or of a login in cooldown."""
        app = self.daemon.application
        found = await app.store.queries.deliveries(
            states=sorted(OPEN_STATES - {State.HELD})
        )
        needs = [
            item.next_action_at for item in found if item.next_action_at is not None
        ]
        needs += [item.expires_at for item in found if item.state in WAITING_STATES]
        needs += filter(None, [await app.store.outbox.next_due_at()])
        return min(needs, default=self.runtime.now() + MOST)

    async def _advance(self, by: timedelta) -> None:
        if by > timedelta(0):
            self.runtime.shift += by
            await asyncio.to_thread(
                self.simulator.post, "/_sim/clock", {"shift": by.total_seconds()}
            )
