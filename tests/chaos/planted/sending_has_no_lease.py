"""A call that has begun keeps no lease: only its deadline ends it, it is thought.

Breaks I2 and I9 (F02, F83): after a kill in `sending`, or when an outcome could not be written down, the row stays
`sending` for ever. No keeper's round and no restart takes it up, and its login, which has one call at a time, never
speaks again.
"""

from publisher.domain.events import LeaseLapsed
from publisher.store import intents
from publisher.store.books import Change
from publisher.store.rounds import Rounds
from publisher.store.rows import DELIVERY


def _leaseless(**facts: object) -> Change:
    return Change(**{**facts, "lease_until": None})


async def _lapse_own(rounds: Rounds) -> int:
    return await rounds._lapse(DELIVERY.c.worker == rounds.books.worker, lambda _: LeaseLapsed(), waits=True)


def plant() -> None:
    intents.Change = _leaseless
    Rounds.lapse_own = _lapse_own
