"""Rules of the product broken on purpose, each for as long as its context lasts: a run must notice."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

from publisher import reconciling
from publisher.contract import Adapter
from publisher.domain import events, lifecycle, quota
from publisher.domain.delivery import Attempt, Delivery, Look, State
from publisher.domain.outcome import Finding, Missing, Published, Receipt, Unknown
from publisher.domain.rendition import Parcel
from publisher.store import engine
from publisher.store import outbox as books
from tests.sim.machinery import replaced


@contextlib.contextmanager
def lapsed_is_due() -> Iterator[None]:
    """A call whose worker has died is simply made again."""

    def due_again(delivery: Delivery, _event: object, moment: lifecycle.Moment) -> Delivery:
        return lifecycle._back_to_waiting(delivery, State.DUE, None, moment)

    key = (State.SENDING, events.LeaseLapsed)
    kept = lifecycle.TRANSITIONS[key]
    broken = lifecycle.Rule(to=frozenset({State.DUE, State.CANCELLED}), who=kept.who, step=due_again)
    lifecycle.TRANSITIONS[key] = broken  # type: ignore[index] # a mapping is a dictionary underneath
    try:
        yield
    finally:
        lifecycle.TRANSITIONS[key] = kept  # type: ignore[index] # same


def one_look_is_believed() -> AbstractContextManager[None]:
    """The first list that does not show a post counts as its absence."""

    def believes(looks: Sequence[Look], attempt: Attempt, *, is_settled: bool) -> bool:
        return any(look.attempt == attempt.number and isinstance(look.finding, Missing) for look in looks)

    return replaced(books, "shows_absence", believes)


def newest_is_ours() -> AbstractContextManager[None]:
    """Whatever stands on top of an account is taken for the post in doubt."""

    async def look(adapter: Adapter, parcel: Parcel) -> Finding:
        seen = await adapter.recent()
        if isinstance(seen, Unknown) or not seen or seen[0].remote_id in parcel.owned_ids:
            return await adapter.find(parcel)
        return Published(receipt=Receipt(remote_id=seen[0].remote_id, url=seen[0].url, live_at=seen[0].live_at))

    return replaced(reconciling, "look", look)


def an_entry_is_lost() -> AbstractContextManager[None]:
    """Of several entries of one transaction the last is not written."""
    kept = engine.append_entries

    def append(connection: Any, entries: Any) -> Any:
        return kept(connection, entries[:-1] if len(entries) > 3 else entries)

    return replaced(engine, "append_entries", append)


def an_hour_is_a_minute() -> AbstractContextManager[None]:
    """What a login may do in an hour it does in each minute."""
    return replaced(quota, "HOUR", timedelta(minutes=1))


MUTANTS: Mapping[str, tuple[Callable[[], AbstractContextManager[None]], frozenset[str]]] = {
    "lapsed_is_due": (lapsed_is_due, frozenset({"I1", "I7", "I12"})),
    "one_look_is_believed": (one_look_is_believed, frozenset({"I1", "I7"})),
    "newest_is_ours": (newest_is_ours, frozenset({"I4", "I8"})),
    "an_entry_is_lost": (an_entry_is_lost, frozenset({"I12", "I18"})),
    "an_hour_is_a_minute": (an_hour_is_a_minute, frozenset({"I15"})),
}
"""Each mutant, and the promises of which it breaks one."""
