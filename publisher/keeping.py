"""Time passes: leases lapse, waits end, what is late expires, what is stuck goes to a person; clocks are watched."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from publisher.store.alarms import Alarms
from publisher.store.home import may_plan
from publisher.store.rounds import Rounds
from publisher.telemetry import lines_dropped
from publisher.world import World

BACK = timedelta(seconds=2)
AHEAD = timedelta(minutes=5)
"""By how much the clock may jump, either way, before people are told."""


@dataclass(slots=True)
class Machine:
    """What a daemon has seen of the machine it runs on: both its clocks at the last beat, and lines of log lost."""

    at: datetime
    ticks: float
    lines: int = 0

    @classmethod
    def of(cls, world: World) -> "Machine":
        """Begin to watch now."""
        return cls(at=world.now(), ticks=world.monotonic(), lines=lines_dropped())


async def heed(machine: Machine, alarms: Alarms) -> None:
    """Tell people of a clock that jumped, of writes that could not be done, and of lines of log that were dropped."""
    world = alarms.books.world
    now, ticks = world.now(), world.monotonic()
    jump = (now - machine.at) - timedelta(seconds=ticks - machine.ticks)
    if jump < -BACK:
        await alarms.clock_went_back(-jump)
    elif jump > AHEAD:
        await alarms.clock_went_ahead(jump)
    machine.at, machine.ticks = now, ticks
    if alarms.is_due:
        await alarms.pass_on()
    if (lines := lines_dropped()) > machine.lines:
        await alarms.log_was_dropped(lines - machine.lines)
        machine.lines = lines


async def keep(rounds: Rounds) -> None:
    """Go one round."""
    await rounds.lapse()
    if await may_plan(rounds.books.database):
        await rounds.expire()
        await rounds.drop_orphans()
    await rounds.ripen()
    await rounds.hold_stale()


async def settle_the_dead(rounds: Rounds) -> int:
    """End every lease that this worker's predecessor left: it is dead, or this one could not have started."""
    return await rounds.lapse_own()
