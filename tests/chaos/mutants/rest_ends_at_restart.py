"""At a start the rests of all logins end with the leases of dead processes: what was to be waited for is forgotten.

Breaks I15 (F26, F44): after a kill or restart the first call of a login starts before its gap or a Retry-After is over.
Two attempts of one login lie closer together than `gap`, or one lies before the instant that the platform named.
"""

from sqlalchemy import update

from publisher.store.db.database import Transaction
from publisher.store.db.tables import LOGIN, UNIX_EPOCH
from publisher.store.deliveries.maintenance import Maintenance

_expire_own_leases = Maintenance.expire_own_leases


async def _begin_anew(maintenance: Maintenance) -> int:
    def operation(unit: Transaction) -> None:
        unit.connection.execute(update(LOGIN).values(cooldown_until=UNIX_EPOCH, routine_cooldown_until=UNIX_EPOCH))

    await maintenance.store.database.write(operation)
    return await _expire_own_leases(maintenance)


def plant() -> None:
    Maintenance.expire_own_leases = _begin_anew
