"""The keeper's rounds: time passes, leases end, waits are over."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, and_, exists, literal, or_, select, true, update

from publisher.domain.delivery import (
    CHECKED_STATES,
    DESIRED_NO_SEND,
    FINAL_STATES,
    Delivery,
    State,
    due_reminder,
    find_hold_reason,
    parse_manual_task,
)
from publisher.domain.events import MAINTENANCE, BecameDue, Cancelled, Event, Expired, Held, LeaseExpired
from publisher.domain.post import PostId
from publisher.domain.rendered import DeliveryId
from publisher.domain.results import HoldReason, NotSent
from publisher.runtime.clock import MAX_TIMESTAMP_SKEW, ClockTrust
from publisher.runtime.logs import log
from publisher.store.audit.append import raise_alert, raise_delivery_alert, raise_delivery_alert_once, subject_of
from publisher.store.db.database import Transaction, try_lock
from publisher.store.db.filters import (
    in_open_state,
    in_state,
    is_in_cooldown,
    is_late,
    is_paused,
    is_superseded,
    is_switched_off,
    original_is_published,
)
from publisher.store.db.mappers import ALERT, ATTEMPT, DELIVERY, READBACK, to_delivery
from publisher.store.deliveries.claims import PREPARE_AHEAD
from publisher.store.deliveries.cooldowns import redate_cooldowns
from publisher.store.deliveries.intents import revert_cooldowns
from publisher.store.store import SUPERSEDED, StateChange, Store

MAINTENANCE_BATCH_SIZE = 200
MAX_PROMOTED = 1000
"""How many deliveries are made due in one round: more than go out until the next, so that none waits for it."""
MAINTENANCE_LOCK = "maintenance"
_IS_UNDER_CHECK = in_open_state(DELIVERY, State.SUBMITTED, State.UNKNOWN)
_DELIVERIES_UNDER_CHECK = select(DELIVERY).where(_IS_UNDER_CHECK)
_CALLED_STATES = sorted(frozenset(State) - {State.PENDING, State.PUBLISHED, State.CANCELLED, State.EXPIRED})
"""Where a call may have been made, and another may follow."""
_TIMED_STATES = CHECKED_STATES | {State.RETRYING}
"""Where `next_at` was reckoned from the instant at which it was written."""


class Maintenance:
    """What the keeper does to the books. Each round may be repeated, by anyone, at any time."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._redated_trust: ClockTrust | None = None

    async def promote_due(self) -> int:
        """Make due what has come of age, urgent posts first; nothing by a clock in doubt. Returns how many.

        Of a long backlog some is left for the next round, which begins again with what is urgent by then.
        """
        now = self.store.runtime.now_if_confirmed()
        if now is None:
            return 0
        soon = and_(in_state(DELIVERY, State.PENDING), DELIVERY.c.next_action_at <= now + PREPARE_AHEAD)
        over = and_(in_state(DELIVERY, State.RETRYING), DELIVERY.c.next_action_at <= now)
        of_age = or_(soon, over)
        urgent = await self._apply_to_matching(and_(of_age, DELIVERY.c.is_urgent), lambda _: BecameDue())
        return urgent + await self._apply_to_matching(of_age, lambda _: BecameDue(), limit=MAX_PROMOTED)

    async def promote_requested(self, posts: Collection[PostId]) -> int:
        """Make due what a person has just ordered to be sent now: that waits for no clock. Returns how many."""
        ordered = and_(DELIVERY.c.post.in_(list(posts)), DELIVERY.c.next_action_at <= self.store.runtime.now())
        return await self._apply_to_matching(and_(in_state(DELIVERY, State.PENDING), ordered), lambda _: BecameDue())

    async def expire(self) -> int:
        """End what waits past its expiry, is too late, or was overtaken by a later instant; not by a clock in doubt.

        Returns how many.
        """
        now = self.store.runtime.now_if_confirmed()
        if now is None:
            return 0
        waiting = in_state(DELIVERY, State.PENDING, State.DUE, State.RETRYING)
        instant = literal(now, DELIVERY.c.due_at.type)
        overtaken = await self._supersede(instant)
        late = await self._apply_to_matching(
            and_(
                in_state(DELIVERY, State.DUE, State.RETRYING),
                is_late(DELIVERY, instant),
                DELIVERY.c.account.in_(self.store.active_accounts),
                ~or_(is_paused(DELIVERY), is_switched_off(DELIVERY)),  # judged once it could go again
                original_is_published(DELIVERY),
            ),
            lambda _: Expired(reason="too_late"),
        )
        passed = and_(waiting, DELIVERY.c.expires_at <= now)
        stopped = await self._apply_to_matching(
            and_(passed, is_paused(DELIVERY)), lambda _: Expired(reason="expired_paused")
        )
        without = and_(passed, ~original_is_published(DELIVERY))
        orphaned = await self._apply_to_matching(without, lambda _: Expired(reason="expired_original"))
        rested = await self._apply_to_matching(
            and_(passed, is_in_cooldown(now)), lambda _: Expired(reason="expired_rate_limited")
        )
        outwaited = await self._apply_to_matching(passed, _expiry_event)
        return overtaken + late + stopped + orphaned + rested + outwaited

    async def _supersede(self, instant: ColumnElement[datetime]) -> int:
        """End the missed instants of repeating posts but for the newest, with one alert for each post."""
        has_come = and_(in_state(DELIVERY, State.PENDING), DELIVERY.c.next_action_at <= instant)
        waiting = or_(has_come, in_state(DELIVERY, State.DUE, State.RETRYING))
        return await self._apply_to_matching(
            and_(waiting, is_superseded(DELIVERY, instant)),
            lambda _: Expired(reason=SUPERSEDED),
            alert=_alert_missed,
        )

    async def expire_leases(self) -> int:
        """End leases that ran out, whoever's they were. Returns how many.

        What this process has in hand runs by the clock that never jumps, everything else by the wall clock, where that
        is confirmed.
        """
        store = self.store
        ours, over, running = (
            DELIVERY.c.worker == store.worker,
            DELIVERY.c.id.in_(store.leased_ids(is_expired=True)),
            DELIVERY.c.id.in_(store.leased_ids(is_expired=False)),
        )
        ended, now = and_(ours, over), store.runtime.now_if_confirmed()
        if now is not None:
            ended = or_(and_(DELIVERY.c.lease_until <= now, ~and_(ours, running)), ended)
        return await self._expire_leases_where(ended, self._lease_expiry_event)

    async def expire_own_leases(self) -> int:
        """End the leases of whoever was this worker before: for its start, and on SQLite for all. Returns how many."""
        is_own = DELIVERY.c.worker == self.store.worker
        which = is_own if self.store.database.is_shared else true()
        lapsed = await self._expire_leases_where(which, self._own_expiry_event, waits_for_lock=True)
        if not self.store.call_record.reset():
            log.warning("call_record_unwritable")  # then a death leaves doubts, as a power cut does
        return lapsed

    def _own_expiry_event(self, delivery: Delivery) -> LeaseExpired:
        return LeaseExpired(
            may_have_started=self.store.call_record.may_have_started(delivery.id, delivery.fencing_token)
        )

    async def _expire_leases_where(
        self,
        condition: ColumnElement[bool],
        event_for: Callable[[Delivery], Event | None],
        *,
        waits_for_lock: bool = False,
    ) -> int:
        held = and_(in_state(DELIVERY, State.CLAIMED, State.SENDING), condition)
        return await self._apply_to_matching(held, event_for, ends_attempts=True, waits_for_lock=waits_for_lock)

    def _lease_expiry_event(self, delivery: Delivery) -> LeaseExpired | None:
        """Leave what has come into this process's hand, or has got its intent, since the round began.

        The process may not start the call of a lease that is over, so its record says whether one has begun; of another
        process's lease it says nothing.
        """
        if self.store.holds_lease(delivery):
            return None
        lease = self.store.leases.get(delivery.id)
        is_ours = lease is not None and lease.fencing_token == delivery.fencing_token
        if lease is None or not is_ours:
            return LeaseExpired()
        return replace(self._own_expiry_event(delivery), has_worker_crashed=not lease.has_write_failed)

    async def correct_timestamps(self) -> int:
        """Date by the clock, once it is confirmed, what was dated by one that was not. Returns how many deliveries.

        A delivery may have been written since, by whoever's clock was right before: then one of its looks still tells.
        Otherwise a doubt would be read again in hours, by a clock that was ahead, or would go to a person at once, by
        one that was behind.
        """
        trust, limits = self.store.runtime.clock_trust, self.store.undated_limits
        if not trust.is_confirmed or (trust is self._redated_trust and not limits):
            return 0
        seen = len(limits)
        number = await self.store.database.write(self._correct_timestamps)
        self._redated_trust = trust
        del limits[:seen]
        return number

    def _correct_timestamps(self, transaction: Transaction) -> int:
        clocks = self.store.runtime.read_clocks()
        redate_cooldowns(self.store, transaction, clocks)
        most = clocks.at + MAX_TIMESTAMP_SKEW
        is_undated = and_(
            ATTEMPT.c.ended_at.is_not(None),
            ~ATTEMPT.c.is_end_confirmed,
            or_(in_state(DELIVERY, *CHECKED_STATES), ATTEMPT.c.ended_at > most),
        )
        was_read_ahead = exists().where(READBACK.c.delivery == DELIVERY.c.id, READBACK.c.at > most)
        query = (
            select(DELIVERY, ATTEMPT.c.id.label("its_attempt"), ATTEMPT.c.fencing_token.label("its_fencing_token"))
            .add_columns(is_undated.label("is_undated"))
            .join(ATTEMPT, and_(ATTEMPT.c.delivery == DELIVERY.c.id, ATTEMPT.c.number == DELIVERY.c.attempts))
            .where(in_open_state(DELIVERY, *_CALLED_STATES), DELIVERY.c.attempts > 0)
            .where(or_(DELIVERY.c.updated_at > most, is_undated, was_read_ahead))
        )
        rows = transaction.connection.execute(query).mappings().all()
        due_at_once = (  # a death spreads what is due: by a clock that was ahead it would wait for hours
            update(DELIVERY)
            .where(
                in_state(DELIVERY, State.DUE),
                DELIVERY.c.updated_at > most,
                DELIVERY.c.next_action_at > DELIVERY.c.due_at,
            )
            .values(next_action_at=DELIVERY.c.due_at, updated_at=clocks.at)
        )
        redated = transaction.connection.execute(due_at_once).rowcount
        for row in rows:
            latest = clocks.at
            if row["is_undated"]:
                known = self.store.call_ends.get_end(row["id"], row["its_fencing_token"], clocks.monotonic_seconds)
                latest -= timedelta(seconds=clocks.monotonic_seconds - known.known_since_ticks)
                end = {"ended_at": latest, "is_end_confirmed": True}
                transaction.connection.execute(update(ATTEMPT).where(ATTEMPT.c.id == row["its_attempt"]).values(end))
            begun = {name: row[name] for name in ("unknown_since", "submitted_at") if row[name] is not None}
            begun = {name: latest if row["is_undated"] else min(at, latest) for name, at in begun.items()}
            waits = {"next_action_at": clocks.at} if row["state"] in _TIMED_STATES else {}
            values = {"updated_at": clocks.at, **waits, **begun}
            transaction.connection.execute(update(DELIVERY).where(DELIVERY.c.id == row["id"]).values(values))
        return redated + len(rows)

    async def cancel_orphans(self) -> int:
        """Cancel due follow-ups whose original is not live and never will be. Returns how many."""
        original = DELIVERY.alias("original")
        hopeful = exists().where(
            original.c.post == DELIVERY.c.follows,
            original.c.account == DELIVERY.c.account,
            original.c.state.not_in([state.value for state in FINAL_STATES]),
        )
        orphaned = and_(in_state(DELIVERY, State.DUE), DELIVERY.c.follows.is_not(None), ~hopeful)
        return await self._apply_to_matching(
            orphaned, lambda _: Cancelled(reason="original_not_published"), alert=_alert_orphans
        )

    async def hold_overdue(self) -> int:
        """Hand over to a person what has been in review, or unreadable, for too long. Returns how many.

        What drags on is told before. Most rounds find neither, and write nothing; of very many some wait for the next.
        A clock in doubt says nothing of how long that was.
        """
        now = self.store.runtime.now_if_confirmed()
        if now is None:
            return 0
        standing = await self.store.database.read(
            lambda connection: connection.execute(_DELIVERIES_UNDER_CHECK).mappings().all()
        )
        deliveries = [to_delivery(row) for row in standing]
        await self._write_reminders([delivery for delivery in deliveries if self._reminder_for(delivery, now)], now)
        stale = [delivery.id for delivery in deliveries if self._hold_event_for(delivery, now)][:MAINTENANCE_BATCH_SIZE]
        if not stale:
            return 0
        return await self._apply_to_matching(
            and_(_IS_UNDER_CHECK, DELIVERY.c.id.in_(stale)), partial(self._hold_event_for, now=now)
        )

    def _hold_event_for(self, delivery: Delivery, now: datetime) -> Event | None:
        timing = self.store.timing(delivery.account)
        if delivery.state is State.SUBMITTED and (task := parse_manual_task(delivery.ticket)):
            reason = find_hold_reason(task, delivery, timing, now)
            return Held(reason=reason) if reason else None
        if delivery.state is State.SUBMITTED:
            since = delivery.submitted_at or now
            return Held(reason=HoldReason.REVIEW_TIMEOUT) if now >= since + timing.review_hold_after else None
        since = delivery.unknown_since or now
        return Held(reason=HoldReason.UNCHECKABLE) if now >= since + timing.unreadable_hold_after else None

    def _reminder_for(self, delivery: Delivery, now: datetime) -> str | None:
        """Name the alert that a long review, or a task that nobody has done, calls for by now."""
        if delivery.state is not State.SUBMITTED:
            return None
        if task := parse_manual_task(delivery.ticket):
            reminder = None if delivery.desired in DESIRED_NO_SEND else due_reminder(task, delivery.expires_at, now)
            return reminder.value if reminder else None
        since = delivery.submitted_at or now
        return "review_overdue" if now >= since + self.store.timing(delivery.account).review_alert_after else None

    async def _write_reminders(self, deliveries: Sequence[Delivery], now: datetime) -> None:
        """Tell, once each, what drags on."""
        codes = {self._reminder_for(delivery, now) for delivery in deliveries}
        about = select(ALERT.c.code, ALERT.c.subject).where(ALERT.c.cleared_at.is_(None), ALERT.c.code.in_(codes))

        def operation(transaction: Transaction) -> None:
            if not try_lock(transaction, MAINTENANCE_LOCK):
                return
            rows = transaction.connection.execute(_DELIVERIES_UNDER_CHECK.where(DELIVERY.c.id.in_(untold))).mappings()
            for delivery in map(to_delivery, rows):
                if code := self._reminder_for(delivery, now):
                    raise_delivery_alert_once(transaction, now, code, delivery)

        if not deliveries:
            return
        told = set(map(tuple, await self.store.database.read(lambda connection: connection.execute(about).all())))
        untold = [one.id for one in deliveries if (self._reminder_for(one, now), subject_of(one)) not in told][
            :MAINTENANCE_BATCH_SIZE
        ]
        if untold:
            await self.store.database.write(operation)

    async def _apply_to_matching(  # noqa: PLR0913 # what a round is about, and how far it goes
        self,
        condition: ColumnElement[bool],
        event_for: Callable[[Delivery], Event | None],
        *,
        ends_attempts: bool = False,
        waits_for_lock: bool = False,
        alert: Callable[[Transaction, Sequence[Delivery]], None] | None = None,
        limit: int | None = None,
    ) -> int:
        """Bring the keeper's event to every delivery that meets the condition, or to the first so many, in groups.

        What meets it is looked up first, by whichever index fits: most rounds find nothing, and write nothing. While
        another worker keeps, this one leaves it to that one, unless it is told to wait.
        """
        candidates = select(DELIVERY.c.id).where(condition).limit(limit)
        found = await self.store.database.read(lambda connection: connection.scalars(candidates).all())
        groups = [
            found[start : start + MAINTENANCE_BATCH_SIZE] for start in range(0, len(found), MAINTENANCE_BATCH_SIZE)
        ]
        changed = 0
        for group in groups:

            def operation(transaction: Transaction, group: Sequence[int] = group) -> int:
                if not (waits_for_lock or try_lock(transaction, MAINTENANCE_LOCK)):
                    return 0
                query = select(DELIVERY).where(DELIVERY.c.id.in_(group), condition).order_by(DELIVERY.c.id)
                met = [to_delivery(row) for row in transaction.connection.execute(query).mappings()]
                changes = [
                    StateChange(before=delivery, event=event)
                    for delivery in met
                    if (event := event_for(delivery)) is not None
                ]
                if ends_attempts:
                    changes = _mark_suspects(changes)
                    self.store.finish_attempts(transaction, [_ended_attempt(change) for change in changes])
                afters = self.store.transition_all(transaction, changes, MAINTENANCE)
                revert_cooldowns(self.store, transaction, [change.before for change in changes if _never_began(change)])
                if alert:
                    alert(transaction, [after for after in afters if after.state in FINAL_STATES])
                return len(changes)

            changed += await self.store.database.write(operation)
        return changed


def _mark_suspects(changes: Sequence[StateChange]) -> list[StateChange]:
    """Where several end together with which a worker has died before, no one of them is known to be the cause."""
    is_alone = sum(change.before.worker_crashes > 0 for change in changes) <= 1
    return [
        replace(change, event=replace(change.event, is_only_suspect=is_alone))
        if isinstance(change.event, LeaseExpired)
        else change
        for change in changes
    ]


def _ended_attempt(change: StateChange) -> tuple[DeliveryId, int, NotSent | None]:
    return (
        change.before.id,
        change.before.fencing_token,
        NotSent(reason="never_started") if _never_began(change) else None,
    )


def _never_began(change: StateChange) -> bool:
    """True if the lease of a call ends of which it is proven that no byte has left."""
    event = change.event
    return change.before.state is State.SENDING and isinstance(event, LeaseExpired) and not event.may_have_started


def _alert_orphans(transaction: Transaction, ended: Sequence[Delivery]) -> None:
    for delivery in ended:
        raise_delivery_alert(transaction, delivery.updated_at, "cancelled.original_not_published", delivery)


def _alert_missed(transaction: Transaction, ended: Sequence[Delivery]) -> None:
    """Alert once for each post, whatever number of its instants and accounts were missed."""
    missed = Counter(delivery.key.post for delivery in ended)
    for post, number in missed.items():
        facts = {"post": post, "number": str(number)}
        raise_alert(transaction, ended[0].updated_at, "occurrences_missed", post, facts)


def _expiry_event(delivery: Delivery) -> Expired:
    """Say of what nobody and no limit kept back whether it was tried in vain."""
    is_tried = delivery.state is State.RETRYING
    return Expired(reason="expired_retrying") if is_tried else Expired()
