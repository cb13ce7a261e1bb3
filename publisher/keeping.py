"""Time passes: leases lapse, waits end, what is late expires, what is stuck goes to a person; clocks are watched."""

from datetime import timedelta

from publisher.store.alarms import Alarms
from publisher.store.home import may_plan
from publisher.store.rounds import Rounds
from publisher.world import LITTLE

FAR = timedelta(minutes=5)
"""A clock that was set ahead by more is not believed until a person has looked at it."""


async def heed(alarms: Alarms) -> None:
    """See to a clock that was set, and tell of it, of writes that could not be done, and of lines of log dropped."""
    world = alarms.books.world
    clocks = world.clocks()
    jump = clocks.set_since(world.heeded)
    if jump < -LITTLE:
        await alarms.clock_went_back(-jump)
    elif jump > LITTLE:
        await alarms.clock_went_ahead(jump, clocks.at - jump, is_believed=jump <= FAR)
    world.heeded = clocks
    if alarms.is_due:
        await alarms.pass_on()
    await alarms.log_was_dropped()


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
