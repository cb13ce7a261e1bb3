"""Rules of the product broken on purpose, each for as long as its context lasts: a run must notice."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from adapters.wechat import reading
from adapters.weibo import timeline
from publisher import reconciling
from publisher.contract import Adapter
from publisher.domain import events, lifecycle, quota
from publisher.domain.delivery import Attempt, Delivery, Look, State
from publisher.domain.likeness import TELLING
from publisher.domain.outcome import Finding, Missing, Published, Receipt, Unknown
from publisher.domain.rendition import Marker, Parcel
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


@contextlib.contextmanager
def a_short_list_is_absence() -> Iterator[None]:
    """What a list has cut is taken for another's words."""

    def is_alike(ours: Sequence[str], theirs: Sequence[str], marker: Marker) -> bool:
        return len(" ".join(theirs)) >= TELLING and known(ours, theirs, marker)

    known = timeline.is_alike
    with replaced(timeline, "is_alike", is_alike), replaced(reading, "is_alike", is_alike):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A broken rule, the promises of which it breaks one, and the kind of storm that notices; none for any storm."""

    plant: Callable[[], AbstractContextManager[None]]
    promises: frozenset[str]
    storm: str | None = None


MUTANTS: Mapping[str, Mutant] = {
    "lapsed_is_due": Mutant(plant=lapsed_is_due, promises=frozenset({"I1", "I7", "I12"})),
    "one_look_is_believed": Mutant(plant=one_look_is_believed, promises=frozenset({"I1", "I7"})),
    "newest_is_ours": Mutant(plant=newest_is_ours, promises=frozenset({"I4", "I8"})),
    "an_entry_is_lost": Mutant(plant=an_entry_is_lost, promises=frozenset({"I12", "I18"})),
    "an_hour_is_a_minute": Mutant(plant=an_hour_is_a_minute, promises=frozenset({"I15"})),
    "a_short_list_is_absence": Mutant(plant=a_short_list_is_absence, promises=frozenset({"I1"}), storm="lists"),
}
