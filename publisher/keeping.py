"""Time passes: leases lapse, waits end, what is late expires, what is stuck goes to a person; clocks are watched."""

from publisher.store.alarms import Alarms
from publisher.store.home import may_plan
from publisher.store.rounds import Rounds
from publisher.telemetry import log


async def heed(alarms: Alarms) -> None:
    """Alert people to a clock that was set or is in doubt, to writes that could not be done, and to lost log lines."""
    await alarms.follow_clock()
    if alarms.is_due:
        await alarms.pass_on()
    await alarms.log_was_dropped()


async def keep(rounds: Rounds) -> None:
    """Go one round. While the clock is not confirmed, only what this process has in hand is looked after."""
    if number := await rounds.redate():
        log.warning("redated", deliveries=number)
    await rounds.lapse()
    if await may_plan(rounds.books.database):
        await rounds.expire()
        await rounds.drop_orphans()
    await rounds.ripen()
    await rounds.hold_stale()


async def settle_the_dead(rounds: Rounds) -> int:
    """End every lease that this worker's predecessor left: it is dead, or this one could not have started."""
    return await rounds.lapse_own()
