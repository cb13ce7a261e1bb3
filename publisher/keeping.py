"""Time passes: leases lapse, waits end, what is too late expires, what is stuck goes to a person."""

from publisher.store.rounds import Rounds


async def keep(rounds: Rounds) -> None:
    """Go one round."""
    await rounds.lapse()
    await rounds.expire()
    await rounds.drop_orphans()
    await rounds.ripen()
    await rounds.hold_stale()


async def settle_the_dead(rounds: Rounds) -> int:
    """End every lease that stands: for a start on a database that no other daemon can be using."""
    return await rounds.lapse(all_leases=True)
