"""The daemon with one rule broken on purpose: `mutants.py NAME ARGUMENTS…` runs `publisher ARGUMENTS…` that way.

A campaign against a mutant must find doubled posts; if it does not, it would not have found them in earnest either.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence

from publisher import delivering
from publisher.cli import main
from publisher.contract import Adapter
from publisher.domain import events, lifecycle
from publisher.domain.account import AccountId
from publisher.domain.delivery import Attempt, Delivery, Lease, Look, State
from publisher.domain.outcome import Missing
from publisher.domain.rendition import Parcel
from publisher.store import outbox as books
from publisher.store.engine import Unit
from publisher.store.intents import Declined
from publisher.store.outbox import Outbox


class PeekedError(Exception):
    """Carries what an announcement would have given, out of a transaction that is thereby taken back."""

    def __init__(self, parcel: Parcel | Declined) -> None:
        super().__init__()
        self.parcel = parcel


async def _peek(outbox: Outbox, lease: Lease) -> Parcel | Declined:
    def operation(unit: Unit) -> None:
        raise PeekedError(outbox._announce(unit, [lease])[0])

    try:
        await outbox.books.database.write(operation)
    except PeekedError as peeked:
        return peeked.parcel
    raise AssertionError("a peek always ends in its own error")


async def _deliver_first(
    lease: Lease, outbox: Outbox, adapters: Mapping[AccountId, Adapter], stopping: asyncio.Event
) -> None:
    await outbox.books.world.sleep_until(lease.due_at)
    if stopping.is_set():
        return
    parcel = await _peek(outbox, lease)
    if isinstance(parcel, Parcel):
        outcome = await delivering.call(adapters[lease.account], parcel, outbox.books.patience(lease.account).lease)
        if isinstance(await outbox.intend(lease), Parcel):
            await outbox.settle(lease, outcome)


def _intent_after_call() -> None:
    delivering.deliver = _deliver_first


def _lapsed_is_due() -> None:
    def due_again(delivery: Delivery, _event: object, moment: lifecycle.Moment) -> Delivery:
        return lifecycle._back_to_waiting(delivery, State.DUE, None, moment)

    rule = lifecycle.TRANSITIONS[State.SENDING, events.LeaseLapsed]
    broken = lifecycle.Rule(to=frozenset({State.DUE, State.CANCELLED}), who=rule.who, step=due_again)
    lifecycle.TRANSITIONS[State.SENDING, events.LeaseLapsed] = broken


def _one_look() -> None:
    def believes(looks: Sequence[Look], attempt: Attempt, _settle: object) -> bool:
        return any(look.attempt == attempt.number and isinstance(look.finding, Missing) for look in looks)

    books.shows_absence = believes


MUTANTS = {
    "intent-after-call": _intent_after_call,
    "lapsed-is-due": _lapsed_is_due,
    "one-look": _one_look,
}

if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    main()
