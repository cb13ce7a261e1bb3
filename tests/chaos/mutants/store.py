"""Mistakes around the database: intents, leases, guards, outcomes and the audit."""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, select, update

from publisher.app import offline
from publisher.contract import Adapter
from publisher.domain.account import AccountId
from publisher.domain.delivery import (
    RECONCILER,
    Attempt,
    Delivery,
    DesiredState,
    Lease,
    LeaseExpired,
    Readback,
    State,
)
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    RenderedPost,
    SendRequest,
    make_occurrence,
)
from publisher.domain.results import NotFound, Outcome, Published, Rejected, Submitted
from publisher.engine import sender
from publisher.engine.credentials import Refusal
from publisher.rendering.renderer import PostRenderer
from publisher.store import base
from publisher.store.base import StateChange
from publisher.store.db.database import Transaction
from publisher.store.db.filters import (
    in_state,
    is_late,
    is_paused,
    is_superseded,
    is_switched_off,
    original_is_published,
)
from publisher.store.db.intent_journal import IntentJournal, JournalRecord
from publisher.store.db.rows import write_entries
from publisher.store.db.tables import DELIVERY, LOGIN, POST, UNIX_EPOCH, load_post
from publisher.store.deliveries import intents, outbox
from publisher.store.deliveries.intents import Declined
from publisher.store.deliveries.maintenance import Maintenance
from publisher.store.deliveries.outbox import Outbox
from publisher.store.deliveries.sweeps import Sweep
from publisher.store.plan import actions, posts
from publisher.store.store import Store

from .patch import Patch


class _TakenBackError(Exception):
    """Carries a request out of a transaction that is thereby taken back."""


async def _peek(box: Outbox, lease: Lease) -> SendRequest | Declined:
    """Give the request that an intent would be written for, without writing it."""

    def operation(unit: Transaction) -> None:
        raise _TakenBackError(box._record_intents(unit, [lease])[0])

    try:
        await box.database.write(operation)
    except _TakenBackError as taken_back:
        answer: SendRequest | Declined = taken_back.args[0]
        return answer
    raise AssertionError("a peek always ends in its own error")


def intent_after_call(patch: Patch) -> None:
    """The call is made first, and its intent written once the answer is there.

    Breaks I3 (F01, F02): the platform hears of calls that neither the database nor the journal has
    announced. A kill in between leaves the delivery `claimed`, so it goes out again (I1), and the
    first copy belongs to no attempt.
    """

    async def send_delivery(
        lease: Lease,
        store: Store,
        adapters: Mapping[AccountId, Adapter],
        stopping: asyncio.Event,
        _refusal: Refusal | None,
    ) -> None:
        box = store.outbox
        await store.runtime.sleep_until(lease.due_at)
        if stopping.is_set():
            return
        request = await _peek(box, lease)
        if isinstance(request, SendRequest):
            time_limit = store.timing(lease.account).lease_timeout
            outcome = await sender.call_adapter(
                adapters[lease.account].publish(request), time_limit
            )
            if isinstance(await box.record_intent(lease), SendRequest):
                await box.record_outcome(lease, outcome)

    patch.put(sender, "_send_delivery", send_delivery)


def journal_in_memory(patch: Patch) -> None:
    """The journal's lines wait in memory until it closes. Nothing is written or synced before.

    Breaks I3 and the detection of F85, F87 (and F16): after a kill, attempts in the database have
    no line in the journal. A restored older database is not noticed, so its calls are made again
    (I1).
    """
    waiting: list[JournalRecord] = []

    def append(journal: IntentJournal, records: Sequence[JournalRecord]) -> None:
        waiting.extend(records)
        journal.last_record = records[-1]

    def close(journal: IntentJournal) -> None:
        with journal.path.open("ab") as file:
            file.write(
                "".join(
                    json.dumps(asdict(record)) + "\n" for record in waiting
                ).encode()
            )
        kept(journal)

    patch.put(IntentJournal, "append", append)
    kept = patch.put(IntentJournal, "close", close)


def started_not_cancelled(patch: Patch) -> None:
    """A cancellation ignores started deliveries: claimed, being sent, or waiting for another try.

    Breaks I16 (F71, F72, F77): after `retract` or `cancel`, or after the post left the file, a
    delivery in `claimed` or `retrying` still gets its call and is published. Nothing on it
    remembers that it was not wanted any more.
    """
    begun = (State.CLAIMED, State.SENDING, State.RETRYING)
    patch.put(posts, "REVISABLE_STATES", posts.REVISABLE_STATES.difference(begun))


def unknown_not_retracted(patch: Patch) -> None:
    """A retraction concerns known live posts. One that is sending or unknown is only cancelled.

    Breaks I16 (F77): after `retract` while a delivery is `sending` or `unknown`, the copy that is
    found later ends `published`. It is never deleted, no `retraction_requested` is in its audit,
    and nothing shows it red.
    """
    kept = [
        state
        for state in actions.MAYBE_PUBLISHED_STATES
        if state not in {State.SENDING, State.UNKNOWN}
    ]
    patch.put(actions, "MAYBE_PUBLISHED_STATES", kept)


def _put_guards(patch: Patch, *guards: Any) -> None:
    """Let an intent be written, and a call be started, under these conditions alone."""

    def may_send(row: Any, now: Any) -> ColumnElement[bool]:
        is_wanted = row.c.desired == DesiredState.AS_PLANNED.value
        return and_(
            is_wanted, row.c.due_at <= now, *(guard(row, now) for guard in guards)
        )

    patch.put(intents, "GUARD_QUERY", intents.guard_query(may_send))
    patch.put(outbox, "PENDING_CALL_QUERY", outbox.pending_call_query(may_send))


def _is_in_time(row: Any, now: Any) -> ColumnElement[bool]:
    return and_(
        ~is_late(row, now),
        ~is_superseded(row, now),
        ~is_switched_off(row),
        original_is_published(row),
    )


def expiry_only_at_claim(patch: Patch) -> None:
    """Expiry is checked at the claim, and not again at the commit of the intent.

    Breaks I6 (F73): a call starts after `expires` where the process is frozen or slow between claim
    and intent, or a login's gap lies between. An attempt's `intended_at` is then later than the
    delivery's `expires_at`.
    """
    _put_guards(patch, _is_in_time, lambda row, _now: ~is_paused(row))


def pause_only_at_claim(patch: Patch) -> None:
    """A pause keeps deliveries from being claimed, but lets claimed ones go.

    Breaks I14 (F94): claims are taken two seconds before their instant, so a call may start up to
    two seconds after the pause. It starts later where the process was frozen after the claim, with
    an intent committed during the pause.
    """
    _put_guards(patch, _is_in_time, lambda row, now: row.c.expires_at > now)


def frozen_worker_may_call(patch: Patch) -> None:
    """A worker does not ask before the first byte whether its lease is still its own.

    Breaks I3, I1, I7 and I13 (F15): a process that was frozen between intent and first byte for
    longer than its lease makes its call after it wakes, when others have long moved the delivery to
    `unknown` or made the next attempt. The platform receives a call that no attempt under way
    announces; where the next one was made, it stands there twice.
    """

    def build_request(*facts: Any) -> SendRequest | None:
        request = kept(*facts)
        return request and replace(request, start_by=math.inf)

    async def may_still_send(_box: Outbox, _request: SendRequest) -> bool:
        return True

    kept = patch.put(intents, "build_request", build_request)
    patch.put(Outbox, "may_still_send", may_still_send)


def hold_without_alert(patch: Patch) -> None:
    """A delivery that is held for a person raises no alert; the status shows it, it is thought.

    Breaks I10 and I2: an entry into `held` (not_published, possible_match, blocked, poison,
    uncheckable) has no row in the alerts within 60 s, nor ever.
    """
    patch.put(base, "ALERTED_STATES", base.ALERTED_STATES - {State.HELD})


def lease_expiry_unaudited(patch: Patch) -> None:
    """The end of a dead worker's lease changes the row, but writes no audit entry.

    Breaks I18 and I12: after a kill, a delivery's row version grows by a step without an entry. The
    chain itself still verifies. The audit of such a delivery jumps from `sending` to the state
    after `unknown`. The end of a lease is thought to be noise.
    """

    def write_what_matters(
        unit: Transaction, entries: Sequence[Mapping[str, object]]
    ) -> None:
        write_entries(
            unit, [entry for entry in entries if entry["event"] != "lease_expired"]
        )

    patch.put(base, "write_entries", write_what_matters)


def sending_without_lease(patch: Patch) -> None:
    """A call that has begun keeps no lease: only its deadline is thought to end it.

    Breaks I2 and I9 (F02, F83): after a kill in `sending`, or when an outcome could not be written
    down, the row stays `sending` for ever. No maintenance and no restart takes it up. Its login
    allows one call at a time, and never calls again.
    """

    def without_lease(**facts: object) -> StateChange:
        return StateChange(**{**facts, "lease_until": None})

    async def expire_own_leases(maintenance: Maintenance) -> int:
        is_own = and_(
            in_state(DELIVERY, State.CLAIMED, State.SENDING),
            DELIVERY.c.worker == maintenance.store.worker,
        )
        return await maintenance._sweep(
            Sweep(is_own),
            partial(maintenance._end_leases, event_for=lambda _: LeaseExpired()),
            waits_for_lock=True,
        )

    patch.put(intents, "StateChange", without_lease)
    patch.put(Maintenance, "expire_own_leases", expire_own_leases)


def cooldown_ends_at_restart(patch: Patch) -> None:
    """A start ends the cooldowns of all logins with the leases of dead processes.

    Breaks I15 (F26, F44): after a kill or restart the first call of a login starts before its gap
    or a Retry-After is over. Two attempts of one login lie closer together than `min_interval`, or one lies
    before the instant that was named.
    """

    async def expire_own_leases(maintenance: Maintenance) -> int:
        def operation(unit: Transaction) -> None:
            unit.connection.execute(
                update(LOGIN).values(
                    cooldown_until=UNIX_EPOCH, routine_cooldown_until=UNIX_EPOCH
                )
            )

        await maintenance.database.write(operation)
        return await kept(maintenance)

    kept = patch.put(Maintenance, "expire_own_leases", expire_own_leases)


def max_delay_ignored(patch: Patch) -> None:
    """A post is sent however late it is, as long as it has not expired: better late than never.

    Breaks I6 (F61, F63): after a downtime longer than `max_delay` the first call is made all the
    same, where the delivery should end `expired` (too_late) with an alert.
    """

    def delivery_row(*facts: object, **more: object) -> dict[str, object]:
        return {**kept(*facts, **more), "first_attempt_deadline": None}

    kept = patch.put(posts, "delivery_row", delivery_row)


def all_missed_sent(patch: Patch) -> None:
    """Each instant of a repeating post goes out once its time has come, however many were missed.

    Breaks I6 (F63): after an outage over two instants both go out, one after the other, where only
    the newest may.
    """

    def delivery_row(*facts: object, **more: object) -> dict[str, object]:
        row = kept(*facts, **more)
        return (
            row
            if row["occurrence"] == ONCE_OCCURRENCE
            else {**row, "first_attempt_deadline": None}
        )

    kept = patch.put(posts, "delivery_row", delivery_row)


def late_outcome_counts(patch: Patch) -> None:
    """An answer that comes after its lease was lost still decides the delivery's outcome.

    Breaks I12 and I13 (F15, F80): a frozen worker's result is no mere evidence. It moves `unknown`
    straight on, with no readback stored. Where another attempt is under way by then, it is taken
    for that one's answer.
    """

    def is_lease_current(delivery: Delivery, _lease: Lease) -> bool:
        return delivery.state is State.SENDING

    def record_late_outcome(  # noqa: PLR0917 # it has the face of what it stands for
        box: Outbox,
        unit: Transaction,
        delivery: Delivery,
        lease: Lease,
        outcome: Outcome,
        now: datetime,
    ) -> None:
        if delivery.state is State.UNKNOWN and isinstance(
            outcome, Published | Submitted | Rejected
        ):
            box.store.transition(unit, delivery, outcome, RECONCILER)
        else:
            kept(box, unit, delivery, lease, outcome, now)

    patch.put(outbox, "is_lease_current", is_lease_current)
    kept = patch.put(Outbox, "record_late_outcome", record_late_outcome)


def one_readback_proves_absence(patch: Patch) -> None:
    """One readback that does not show the post proves that there is none, however soon it comes.

    Breaks I7 (F25, F51): a second attempt follows one readback, before the visibility window is
    over. A post that shows late stands there twice (I1).
    """

    def proves_absent(
        readbacks: Sequence[Readback], attempt: Attempt, *, is_window_over: bool
    ) -> bool:
        return any(
            one.attempt == attempt.number and isinstance(one.result, NotFound)
            for one in readbacks
        )

    patch.put(outbox, "proves_absent", proves_absent)
    patch.put(Outbox, "is_window_over", lambda *_facts: True)


def visibility_window_is_timeout(patch: Patch) -> None:
    """Absence is proven once the call's own deadline passed again, before the visibility window.

    Breaks I7 (F25, F39, F51): the last readback that counts is earlier than the attempt's end plus
    the platform's declared visibility window. With `act_late` or `list_late` longer than the
    deadline, but within the visibility window, the post is live twice (I1).
    """

    def is_window_over(
        box: Outbox,
        delivery: Delivery,
        attempt: RowMapping,
        began: float,
        _window: timedelta,
    ) -> bool:
        runtime, timeout = (
            box.runtime,
            box.store.timing(delivery.account).request_timeout,
        )
        began_at = runtime.now() - timedelta(seconds=runtime.monotonic() - began)
        return (
            attempt["ended_at"] is not None and began_at > attempt["ended_at"] + timeout
        )

    patch.put(Outbox, "is_window_over", is_window_over)


def review_window_ignored(patch: Patch) -> None:
    """Absence is proven once a post would be listed, although a review may still hide it.

    Breaks I7 (F47): the last readback that counts is earlier than the attempt's end plus the
    longest review. A call's answer is lost, and `review` is longer than the visibility window. The
    post is then live twice (I1).
    """

    def is_window_over(
        box: Outbox,
        delivery: Delivery,
        attempt: RowMapping,
        began: float,
        window: timedelta,
    ) -> bool:
        return kept(
            box,
            delivery,
            attempt,
            began,
            min(window, box.store.timing(delivery.account).visibility_window),
        )

    kept = patch.put(Outbox, "is_window_over", is_window_over)


def rendered_when_sent(patch: Patch) -> None:
    """Words are made again from post, template and settings for each send, not taken as frozen.

    Breaks I4 (F69, F74): a template, a region's telephone number or the post changed between planning
    and sending. The platform gets words that no stored rendered post holds, and the attempt's own
    hash does not fit them.
    """
    renderers: list[PostRenderer] = []

    def make_renderer(**parts: Any) -> PostRenderer:
        renderers.append(PostRenderer(**parts))
        return renderers[-1]

    def build_request(
        store: Store, connection: Connection, delivery: Delivery, facts: RowMapping
    ) -> SendRequest | None:
        request = kept(store, connection, delivery, facts)
        known = {
            row.id: load_post(row.body)
            for row in connection.execute(select(POST.c.id, POST.c.body))
        }
        post = known.get(delivery.key.post)
        if request is None or post is None:
            return request
        occurrence = make_occurrence(post, delivery.key.occurrence, delivery.due_at)
        proof = renderers[-1].render(post, occurrence, [delivery.account], known)
        words = next(iter(proof.rendered_posts), request.rendered)
        return replace(request, rendered=replace(words, images=request.rendered.images))

    patch.put(offline, "PostRenderer", make_renderer)
    kept = patch.put(intents, "build_request", build_request)


def retry_reuses_text(patch: Patch) -> None:
    """The last sent words of an occurrence on a platform are used for retries of any account.

    Breaks I4 and I21: on the second attempt an account says another region's words, under another
    delivery's marker. It needs two accounts of one platform and a temporary refusal on one of them.
    """
    sent: dict[tuple[object, str], RenderedPost] = {}

    def build_request(
        store: Store, connection: Connection, delivery: Delivery, facts: RowMapping
    ) -> SendRequest | None:
        request = kept(store, connection, delivery, facts)
        if request is None:
            return None
        last = sent.setdefault((delivery.key, delivery.platform), request.rendered)
        if request.attempt == 1:
            sent[delivery.key, delivery.platform] = request.rendered
            return request
        words = replace(
            request.rendered, title=last.title, text=last.text, summary=last.summary
        )
        return replace(request, rendered=words)

    kept = patch.put(intents, "build_request", build_request)
