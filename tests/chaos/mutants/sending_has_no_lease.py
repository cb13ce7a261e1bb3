"""A call that has begun keeps no lease: only its deadline ends it, it is thought.

Breaks I2 and I9 (F02, F83): after a kill in `sending`, or when an outcome could not be written down, the row stays
`sending` for ever. No keeper's round and no restart takes it up, and its login, which has one call at a time, never
speaks again.
"""

from publisher.domain.delivery import LeaseExpired
from publisher.store.base import StateChange
from publisher.store.db.tables import DELIVERY
from publisher.store.deliveries import intents
from publisher.store.deliveries.maintenance import Maintenance


def _leaseless(**facts: object) -> StateChange:
    return StateChange(**{**facts, "lease_until": None})


async def _lapse_own(maintenance: Maintenance) -> int:
    return await maintenance.expire_leases_where(
        DELIVERY.c.worker == maintenance.store.worker, lambda _: LeaseExpired(), waits_for_lock=True
    )


def plant() -> None:
    intents.StateChange = _leaseless
    Maintenance.expire_own_leases = _lapse_own
