"""At a start the rests of all logins end with the leases of the dead: what was to be waited for is forgotten.

Breaks I15 (F26, F44): after a kill or restart the first call of a login starts before its gap or a Retry-After is over.
Two attempts of one login lie closer together than `gap`, or one lies before the instant that the platform named.
"""

from sqlalchemy import update

from publisher import daemon
from publisher.keeping import settle_the_dead
from publisher.store.engine import Unit
from publisher.store.rounds import Rounds
from publisher.store.rows import LOGIN
from publisher.store.tables import EPOCH


async def _begin_anew(rounds: Rounds) -> int:
    def operation(unit: Unit) -> None:
        unit.connection.execute(update(LOGIN).values(rests_until=EPOCH, routine_until=EPOCH))

    await rounds.books.database.write(operation)
    return await settle_the_dead(rounds)


def plant() -> None:
    daemon.settle_the_dead = _begin_anew
