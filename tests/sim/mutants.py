"""Rules of the product broken on purpose, each for as long as its context lasts: a run must notice."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, func, select

from adapters.wechat import reading
from adapters.weibo import timeline
from publisher import reconciling
from publisher.contract import Adapter
from publisher.domain import events, lifecycle, quota
from publisher.domain.delivery import Attempt, Delivery, Lease, Look, State
from publisher.domain.likeness import TELLING
from publisher.domain.outcome import Finding, Missing, Published, Receipt, Unknown
from publisher.domain.post import ONCE
from publisher.domain.rendition import Marker, Parcel
from publisher.store import engine, intents, journal, registry, rounds, watches
from publisher.store import outbox as books
from publisher.store.rows import ATTEMPT
from publisher.wiring import application
from publisher.world import World
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


@contextlib.contextmanager
def an_edit_in_doubt_is_forgotten() -> Iterator[None]:
    """An edit leaves alone what is in doubt, on its way or held."""

    def forget(delivery: Delivery, _event: object, _moment: object) -> Delivery:
        return delivery

    def forget_the_schedule(delivery: Delivery, event: Any, moment: lifecycle.Moment) -> Delivery:
        is_planned = moment.by.role is events.Role.PLANNER
        return delivery if is_planned else lifecycle._remember_withdrawal(delivery, event, moment)

    kept = dict(lifecycle.TRANSITIONS)
    for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN, State.HELD):
        for event, step in ((events.Revised, forget), (events.Withdrawn, forget_the_schedule)):
            broken = replace(kept[state, event], step=step)
            lifecycle.TRANSITIONS[state, event] = broken  # type: ignore[index] # a mapping is a dictionary underneath
    try:
        yield
    finally:
        lifecycle.TRANSITIONS.update(kept)  # type: ignore[attr-defined] # same


def nobody_is_asked_at_the_first_byte() -> AbstractContextManager[None]:
    """What has its intent goes out, whatever people have ordered since."""

    async def may_go(_outbox: object, _parcel: object) -> bool:
        return True

    return replaced(application, "_may_go", may_go)


def all_missed_are_sent() -> AbstractContextManager[None]:
    """No instant of a repeating post counts as missed."""
    kept = registry._delivery_row

    def delivery_row(*facts: Any) -> dict[str, object]:
        row = kept(*facts)
        return row if row["label"] == ONCE else {**row, "last_first_call_at": None}

    return replaced(registry, "_delivery_row", delivery_row)


def what_never_left_counts() -> AbstractContextManager[None]:
    """A call that never left spends the quota like any other."""
    day = (ATTEMPT.c.login.in_(bindparam("logins", expanding=True)), ATTEMPT.c.intended_at > bindparam("since"))
    counts = select(ATTEMPT.c.login, func.count().label("number"), func.max(ATTEMPT.c.intended_at).label("newest"))
    recent = select(ATTEMPT.c.login, ATTEMPT.c.intended_at).order_by(ATTEMPT.c.intended_at.desc())
    stack = contextlib.ExitStack()
    stack.enter_context(replaced(intents, "_COUNTS", counts.where(*day).group_by(ATTEMPT.c.login)))
    stack.enter_context(replaced(intents, "_RECENT", recent.where(*day)))
    return stack


@contextlib.contextmanager
def an_unjournalled_call_lapses() -> Iterator[None]:
    """What the journal has refused is left to itself, and its lease ends as if the daemon had died over it."""

    async def intend(outbox: books.Outbox, lease: Lease) -> Parcel | intents.Declined:
        return await outbox.books.database.write_together(outbox._announce, lease)

    kept = rounds.Rounds._lapsed

    def lapsed(its: rounds.Rounds, delivery: Delivery) -> events.LeaseLapsed | None:
        event = kept(its, delivery)
        return event and replace(event, is_dead=True)

    with (
        replaced(books.Outbox, "intend", intend),
        replaced(rounds.Rounds, "_lapsed", lapsed),
        replaced(journal.Journal, "can_append", lambda _journal: True),
    ):
        yield


def any_clock_is_believed() -> AbstractContextManager[None]:
    """The wall clock is taken as it is."""
    return replaced(World, "is_clock_confirmed", lambda _world: True)


def one_word_is_believed() -> AbstractContextManager[None]:
    """The first read that calls a watched post gone ends its delivery."""
    return replaced(watches, "is_confirmed", lambda looks, says_so, _apart: says_so(looks[-1]))


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
    "an_edit_in_doubt_is_forgotten": Mutant(
        plant=an_edit_in_doubt_is_forgotten, promises=frozenset({"I4"}), storm="edits"
    ),
    "nobody_is_asked_at_the_first_byte": Mutant(
        plant=nobody_is_asked_at_the_first_byte, promises=frozenset({"I6", "I14", "I16"}), storm="slow"
    ),
    "all_missed_are_sent": Mutant(plant=all_missed_are_sent, promises=frozenset({"I6"}), storm="outage"),
    "what_never_left_counts": Mutant(plant=what_never_left_counts, promises=frozenset({"I9"}), storm="outage"),
    "an_unjournalled_call_lapses": Mutant(plant=an_unjournalled_call_lapses, promises=frozenset({"I9"}), storm="full"),
    "any_clock_is_believed": Mutant(
        plant=any_clock_is_believed, promises=frozenset({"I1", "I6", "I7", "I9"}), storm="clock"
    ),
    "one_word_is_believed": Mutant(plant=one_word_is_believed, promises=frozenset({"I8"}), storm="gone"),
    "a_submit_is_repeated": Mutant(plant=lapsed_is_due, promises=frozenset({"I1"}), storm="repeats"),
    "a_short_list_is_absence": Mutant(plant=a_short_list_is_absence, promises=frozenset({"I1"}), storm="lists"),
}
