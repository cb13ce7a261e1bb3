"""Rules of the product broken on purpose, each for as long as its context lasts: a run must notice."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, func, select

from adapters.wechat import post_list
from adapters.weibo import post_list as timeline
from publisher.app import application
from publisher.contract import Adapter
from publisher.domain import account, lifecycle
from publisher.domain.delivery import Attempt, Cancelled, Delivery, Lease, LeaseExpired, Readback, Revised, Role, State
from publisher.domain.post import ONCE_OCCURRENCE, Marker, SendRequest
from publisher.domain.results import NotFound, Published, ReadbackResult, Receipt, Unknown
from publisher.domain.verification import DISTINCTIVE_PREFIX_CHARS
from publisher.engine import reconciler
from publisher.runtime.clock import Runtime
from publisher.store.db import database, intent_journal
from publisher.store.db.tables import ATTEMPT
from publisher.store.deliveries import intents, maintenance
from publisher.store.deliveries import outbox as books
from publisher.store.deliveries.intents import PendingReadback
from publisher.store.monitor import monitor
from publisher.store.plan import posts
from tests.simulation.patched_runtime import replaced


@contextlib.contextmanager
def lapsed_is_due() -> Iterator[None]:
    """A call whose worker has died is simply made again."""

    def due_again(delivery: Delivery, _event: object, moment: lifecycle.StepContext) -> Delivery:
        return lifecycle._return_to_waiting(delivery, State.DUE, None, moment)

    key = (State.SENDING, LeaseExpired)
    kept = lifecycle.TRANSITIONS[key]
    broken = lifecycle.Transition(targets=frozenset({State.DUE, State.CANCELLED}), roles=kept.roles, step=due_again)
    lifecycle.TRANSITIONS[key] = broken  # type: ignore[index] # a mapping is a dictionary underneath
    try:
        yield
    finally:
        lifecycle.TRANSITIONS[key] = kept  # type: ignore[index] # same


def one_look_is_believed() -> AbstractContextManager[None]:
    """The first list that does not show a post counts as its absence."""

    def believes(looks: Sequence[Readback], attempt: Attempt, *, is_window_over: bool) -> bool:
        return any(look.attempt == attempt.number and isinstance(look.result, NotFound) for look in looks)

    return replaced(books, "proves_absent", believes)


def newest_is_ours() -> AbstractContextManager[None]:
    """Whatever stands on top of an account is taken for the post in doubt."""

    kept = reconciler.read_back

    async def read_back(unknown: PendingReadback, adapter: Adapter) -> ReadbackResult:
        if unknown.request is None or unknown.delivery.state is not State.UNKNOWN:
            return await kept(unknown, adapter)
        seen = await adapter.list_recent()
        if isinstance(seen, Unknown) or not seen or seen[0].remote_id in unknown.request.owned_ids:
            return await kept(unknown, adapter)
        return Published(
            receipt=Receipt(remote_id=seen[0].remote_id, url=seen[0].url, published_at=seen[0].published_at)
        )

    return replaced(reconciler, "read_back", read_back)


def an_entry_is_lost() -> AbstractContextManager[None]:
    """Of several entries of one transaction the last is not written."""
    kept = database.append_entries

    def append(connection: Any, entries: Any) -> Any:
        return kept(connection, entries[:-1] if len(entries) > 3 else entries)

    return replaced(database, "append_entries", append)


def an_hour_is_a_minute() -> AbstractContextManager[None]:
    """What a login may do in an hour it does in each minute."""
    return replaced(account, "HOUR", timedelta(minutes=1))


@contextlib.contextmanager
def a_short_list_is_absence() -> Iterator[None]:
    """What a list has cut is taken for another's words."""

    def is_similar(ours: Sequence[str], theirs: Sequence[str], marker: Marker) -> bool:
        return len(" ".join(theirs)) >= DISTINCTIVE_PREFIX_CHARS and known(ours, theirs, marker)

    known = timeline.is_similar
    with replaced(timeline, "is_similar", is_similar), replaced(post_list, "is_similar", is_similar):
        yield


@contextlib.contextmanager
def an_edit_in_doubt_is_forgotten() -> Iterator[None]:
    """An edit leaves alone what is in doubt, on its way or held."""

    def forget(delivery: Delivery, _event: object, _moment: object) -> Delivery:
        return delivery

    def forget_the_schedule(delivery: Delivery, event: Any, moment: lifecycle.StepContext) -> Delivery:
        is_planned = moment.by.role is Role.PLANNER
        return delivery if is_planned else lifecycle.record_cancellation(delivery, event, moment)

    kept = dict(lifecycle.TRANSITIONS)
    for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN, State.HELD):
        for event, step in ((Revised, forget), (Cancelled, forget_the_schedule)):
            broken = replace(kept[state, event], step=step)
            lifecycle.TRANSITIONS[state, event] = broken  # type: ignore[index] # a mapping is a dictionary underneath
    try:
        yield
    finally:
        lifecycle.TRANSITIONS.update(kept)  # type: ignore[attr-defined] # same


def nobody_is_asked_at_the_first_byte() -> AbstractContextManager[None]:
    """What has its intent goes out, whatever people have ordered since."""

    async def may_start(_outbox: object, _parcel: object) -> bool:
        return True

    return replaced(application, "may_start_call", may_start)


def all_missed_are_sent() -> AbstractContextManager[None]:
    """No instant of a repeating post counts as missed."""
    kept = posts.delivery_row

    def delivery_row(*facts: Any) -> dict[str, object]:
        row = kept(*facts)
        return row if row["occurrence"] == ONCE_OCCURRENCE else {**row, "first_attempt_deadline": None}

    return replaced(posts, "delivery_row", delivery_row)


def what_never_left_counts() -> AbstractContextManager[None]:
    """A call that never left spends the quota like any other."""
    day = (ATTEMPT.c.login.in_(bindparam("logins", expanding=True)), ATTEMPT.c.intended_at > bindparam("since"))
    counts = select(ATTEMPT.c.login, func.count().label("number"), func.max(ATTEMPT.c.intended_at).label("newest"))
    recent = select(ATTEMPT.c.login, ATTEMPT.c.intended_at).order_by(ATTEMPT.c.intended_at.desc())
    stack = contextlib.ExitStack()
    stack.enter_context(replaced(intents, "_ATTEMPT_COUNTS", counts.where(*day).group_by(ATTEMPT.c.login)))
    stack.enter_context(replaced(intents, "_RECENT_ATTEMPTS", recent.where(*day)))
    return stack


@contextlib.contextmanager
def an_unjournalled_call_lapses() -> Iterator[None]:
    """What the journal has refused is left to itself, and its lease ends as if the daemon had died over it."""

    async def record_intent(outbox: books.Outbox, lease: Lease) -> SendRequest | intents.Declined:
        return await outbox.database.write_batched(outbox.record_intents, lease)

    kept = maintenance.Maintenance.lease_expiry_event

    def lapsed(its: maintenance.Maintenance, delivery: Delivery) -> LeaseExpired | None:
        event = kept(its, delivery)
        return event and replace(event, has_worker_crashed=True)

    with (
        replaced(books.Outbox, "record_intent", record_intent),
        replaced(maintenance.Maintenance, "lease_expiry_event", lapsed),
        replaced(intent_journal.IntentJournal, "can_append", lambda _journal: True),
    ):
        yield


def any_clock_is_believed() -> AbstractContextManager[None]:
    """The wall clock is taken as it is."""
    return replaced(Runtime, "is_clock_confirmed", lambda _runtime: True)


def one_word_is_believed() -> AbstractContextManager[None]:
    """The first read that calls a watched post gone ends its delivery."""
    return replaced(monitor, "is_confirmed", lambda looks, says_so, _lag: says_so(looks[-1]))


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
