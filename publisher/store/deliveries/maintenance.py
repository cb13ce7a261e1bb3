"""Changes by time alone: deliveries become due or expire, leases expire, checks are held.

The held checks are the overdue ones.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    and_,
    select,
    true,
    update,
)

from publisher.domain.account import Timing
from publisher.domain.approval import (
    AWAITING_APPROVAL,
    NOT_APPROVED,
)
from publisher.domain.delivery import (
    DESIRED_NO_SEND,
    FINAL_STATES,
    MAINTENANCE,
    ApprovalMissing,
    BecameDue,
    Cancelled,
    Delivery,
    Event,
    Expired,
    Held,
    LeaseExpired,
    State,
    due_reminder,
    find_hold_reason,
)
from publisher.domain.post import DeliveryId, PostId
from publisher.domain.results import HoldReason, NotSent
from publisher.runtime.logs import log
from publisher.store.approvals.guard import APPROVAL_RECHECK_INTERVAL, find_unapproved
from publisher.store.approvals.reminders import ApprovalReminders
from publisher.store.base import (
    CANNOT_SEND,
    SUPERSEDED,
    BaseStore,
    StateChange,
    StorePart,
)
from publisher.store.database_identity import can_plan
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import Transaction, Values, in_transaction, try_lock
from publisher.store.db.filters import (
    in_state,
)
from publisher.store.db.rows import (
    OCCURRENCES_MISSED,
    batches,
    raise_alert,
    raise_delivery_alert,
    raise_delivery_alert_once,
    subject_of,
)
from publisher.store.db.tables import DELIVERY, read_deliveries
from publisher.store.deliveries.cancellations import find_doubt_changes, stop_corrected
from publisher.store.deliveries.cooldowns import revert_quota_cooldowns
from publisher.store.deliveries.intents import PREPARE_AHEAD
from publisher.store.deliveries.sweeps import (
    COME_DUE,
    COME_DUE_URGENT,
    DELIVERIES_UNDER_CHECK,
    EXPIRED,
    HAS_WORK,
    IS_CORRECTION,
    IS_LEASED,
    IS_UNDER_CHECK,
    LATE_UNAPPROVED,
    LEASES_OVER,
    MAY_BE_OVERDUE,
    ORPHANED,
    OWN_LEASES_OVER,
    PAST_EXPIRY,
    SUPERSEDED_INSTANTS,
    UNREACHED_URGENT,
    Sweep,
)
from publisher.store.deliveries.timestamps import TimestampCorrection

MAINTENANCE_BATCH_SIZE = 200
MAX_PROMOTED = 1000
"""The maximum number of deliveries that one run makes due.

It is more than are sent until the next run, so that none waits for it.
"""
MAINTENANCE_LOCK = "maintenance"
DOUBT_LOCK = "doubts"
URGENT_ALERT_DELAY = timedelta(minutes=1)
"""How late an urgent post is that people are alerted to because it reaches no platform."""
ChangeDeliveries = Callable[[Transaction, Sequence[Delivery]], Sequence[Delivery]]
"""Change some of these deliveries. Return the changed ones as they are now."""


class Maintenance(StorePart):
    """The maintenance job and its periodic writes.

    Each may be repeated, by any worker, at any time.
    """

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self.timestamps = TimestampCorrection(store)
        self.reminders = ApprovalReminders(store)
        self._lock = asyncio.Lock()

    async def has_work(self, within: timedelta) -> bool:
        """Return True if a delivery is being sent, or needs a job of the daemon within `within`.

        Hosts that share a database always have work. Each must prove that its journal has no more
        than the database.
        """
        if self.database.is_shared:
            return True
        soon = {"soon": self.runtime.now() + within}
        return bool(await self.database.read_scalar(HAS_WORK, soon))

    async def run(self) -> None:
        """Run all of it once. While the clock is unconfirmed, handle only this process's leases."""
        async with self._lock:
            if number := await self.timestamps.run():
                log.warning("times_corrected", deliveries=number)
            await self.expire_leases()
            if await can_plan(self.database):
                await self.expire()
                await self.cancel_orphans()
            await self.promote_due()
            await self.reminders.run()
            await self.hold_overdue()
            await self.alert_unreached()

    async def promote_due(self) -> int:
        """Make due the deliveries at their instant, urgent posts first. Return the number.

        Nothing is made due while the clock is not confirmed. The rest of a long backlog is left for
        the next run. That run begins with urgent posts again.
        """
        now = self.runtime.now_if_confirmed()
        if now is None:
            return 0
        limits = {"now": now, "prepared_by": now + PREPARE_AHEAD, "limit": MAX_PROMOTED}
        return await self._promote(COME_DUE_URGENT, limits) + await self._promote(
            COME_DUE, limits
        )

    async def _promote(self, sweep: Sweep, parameters: Values = None) -> int:
        """Make matching deliveries due, after the posts that due corrections correct are stopped."""
        of_corrections = IS_CORRECTION.where(sweep.condition)
        if corrections := await self.database.read_scalars(of_corrections, parameters):
            await self.database.write(stop_corrected, self.store, corrections)
        return await self._sweep(sweep, self._make_due, parameters)

    def _make_due(
        self, transaction: Transaction, deliveries: Sequence[Delivery]
    ) -> list[Delivery]:
        """Make deliveries due. One without its approval at its time waits as it is."""
        now, changes = self.runtime.now(), []
        pending = [item for item in deliveries if item.state is State.PENDING]
        unapproved = find_unapproved(self.store, transaction, pending)
        for delivery in deliveries:
            until = _next_approval_check(delivery, now)
            if delivery.id not in unapproved:
                changes.append(StateChange(before=delivery, event=BecameDue()))
            elif delivery.reason != AWAITING_APPROVAL:
                missing = ApprovalMissing(until=until)
                changes.append(StateChange(before=delivery, event=missing))
            else:  # it waits already: no step, and no audit entry, only to look again
                is_same = (
                    DELIVERY.c.id == delivery.id,
                    DELIVERY.c.version == delivery.version,
                )
                transaction.connection.execute(
                    update(DELIVERY).where(*is_same).values(next_action_at=until)
                )
        return self.store.transition_all(transaction, changes, MAINTENANCE)

    async def promote_requested(self, posts: Collection[PostId]) -> int:
        """Make due the deliveries that a person has just ordered to send now. Return the number.

        It makes no difference if the clock is confirmed or not.
        """
        requested = and_(
            DELIVERY.c.post.in_(list(posts)),
            DELIVERY.c.next_action_at <= self.runtime.now(),
        )
        return await self._promote(
            Sweep(and_(in_state(DELIVERY, State.PENDING), requested))
        )

    async def expire(self) -> int:
        """Expire deliveries past their expiry, too late, or superseded. Return the number.

        A later instant supersedes a delivery. Nothing expires while the clock is not confirmed.
        """
        now = self.runtime.now_if_confirmed()
        if now is None:
            return 0
        facts = {"now": now, "accounts": sorted(self.store.active_accounts)}
        number = await self._sweep(SUPERSEDED_INSTANTS, self._expire_superseded, facts)
        if self.store.approval_rules.is_active:
            unapproved = Expired(reason=NOT_APPROVED)
            number += await self._apply(LATE_UNAPPROVED, unapproved, facts)
        for reason, sweep in EXPIRED.items():
            number += await self._apply(sweep, Expired(reason=reason), facts)
        return number + await self._apply(PAST_EXPIRY, _expiry_event, facts)

    def _expire_superseded(
        self, transaction: Transaction, deliveries: Sequence[Delivery]
    ) -> list[Delivery]:
        """Expire deliveries that a later instant has superseded.

        Alert once for each post, however many of its instants and accounts were missed.
        """
        afters = self._transition(transaction, deliveries, Expired(reason=SUPERSEDED))
        expired = [after for after in afters if after.state in FINAL_STATES]
        firsts = {after.key.post: after.id for after in reversed(expired)}
        for post, number in Counter(after.key.post for after in expired).items():
            raise_alert(
                transaction,
                expired[0].updated_at,
                OCCURRENCES_MISSED,
                post,
                {"post": post, "number": str(number)},
                delivery=firsts[post],
            )
        return afters

    async def expire_leases(self) -> int:
        """Expire the leases of all workers that have run out. Return how many.

        This process's own leases run by the monotonic clock, all others by the wall clock, while
        that is confirmed.
        """
        store, now = self.store, self.runtime.now_if_confirmed()
        sweep = OWN_LEASES_OVER if now is None else LEASES_OVER
        own: dict[str, object] = {
            "worker": store.worker,
            "over": store.leased_ids(is_expired=True),
        }
        own |= (
            {}
            if now is None
            else {"now": now, "running": store.leased_ids(is_expired=False)}
        )
        end_leases = partial(self._end_leases, event_for=self.lease_expiry_event)
        return await self._sweep(sweep, end_leases, own)

    async def expire_own_leases(self) -> int:
        """Expire all leases of this worker's previous process at startup. Return the number.

        On SQLite, expire the leases of all workers. The process lock proves that the previous
        process is gone.
        """
        condition = (
            DELIVERY.c.worker == self.store.worker
            if self.database.is_shared
            else true()
        )
        number = await self._sweep(
            Sweep(and_(IS_LEASED, condition)),
            partial(self._end_leases, event_for=self._own_expiry_event),
            waits_for_lock=True,
        )
        if not self.store.call_record.reset():
            # a crash then leaves unknown outcomes, as a power cut does
            log.warning("call_record_unwritable")
        return number

    def _own_expiry_event(self, delivery: Delivery) -> LeaseExpired:
        return LeaseExpired(
            may_have_started=self.store.call_record.may_have_started(
                delivery.id, delivery.fencing_token
            )
        )

    def lease_expiry_event(self, delivery: Delivery) -> LeaseExpired | None:
        """Return the event for an expired lease; None if this process leased it during the run.

        The run is the present one. A process may not start a call after its lease has expired. So
        its call record proves the start of a call, or the lack of it. Of another process's lease
        the record proves nothing.
        """
        if self.store.holds_lease(delivery):
            return None
        lease = self.store.leases.get(delivery.id)
        if lease is None or lease.fencing_token != delivery.fencing_token:
            return LeaseExpired()
        return replace(
            self._own_expiry_event(delivery),
            has_worker_crashed=not lease.has_write_failed,
        )

    def _end_leases(
        self,
        transaction: Transaction,
        deliveries: Sequence[Delivery],
        event_for: Callable[[Delivery], LeaseExpired | None],
    ) -> list[Delivery]:
        """Expire leases, and end the attempts made under them.

        If several expire together that a worker has crashed with before, none of them is known to
        be the cause.
        """
        expired = [
            (delivery, event)
            for delivery in deliveries
            if (event := event_for(delivery)) is not None
        ]
        suspects = [item for item, _event in expired if item.worker_crashes]
        changes = [
            StateChange(
                before=delivery,
                event=replace(event, is_only_suspect=len(suspects) <= 1),
            )
            for delivery, event in expired
        ]
        unsent = [
            delivery
            for delivery, event in expired
            if delivery.state is State.SENDING and not event.may_have_started
        ]
        outcomes = {item.id: NotSent(reason="never_started") for item in unsent}
        ended = [
            (item.id, item.fencing_token, outcomes.get(item.id))
            for item, _event in expired
        ]
        self.store.finish_attempts(transaction, ended)
        afters = self.store.transition_all(transaction, changes, MAINTENANCE)
        revert_quota_cooldowns(self.store, transaction, unsent)
        return afters

    async def cancel_orphans(self) -> int:
        """Cancel due follow-ups of originals that will never be published. Return the number.

        Such an original is not published now either. Before that, the alerts about originals in
        doubt are brought up to date.
        """
        await self.update_alerts(find_doubt_changes, DOUBT_LOCK)
        return await self._sweep(ORPHANED, self._cancel_orphans)

    def _cancel_orphans(
        self, transaction: Transaction, deliveries: Sequence[Delivery]
    ) -> list[Delivery]:
        cancelled = Cancelled(reason="original_not_published")
        afters = self._transition(transaction, deliveries, cancelled)
        for after in afters:
            if after.state in FINAL_STATES:
                raise_delivery_alert(
                    transaction,
                    after.updated_at,
                    "cancelled.original_not_published",
                    after,
                )
        return afters

    async def hold_overdue(self) -> int:
        """Hold for a person deliveries too long in review, or unreadable. Return the number.

        Alerts are raised before that, once each. Most runs find neither, and write nothing. Each
        run handles at most MAINTENANCE_BATCH_SIZE of both. While the clock is not confirmed,
        nothing is overdue.
        """
        now = self.runtime.now_if_confirmed()
        if now is None:
            return 0
        timings = [
            Timing(),
            *(policy.timing for policy in self.store.policies.values()),
        ]
        limits = {
            "unknown_before": now - min(item.unreadable_hold_after for item in timings),
            "submitted_before": now
            - min(
                min(item.review_alert_after, item.review_hold_after) for item in timings
            ),
        }
        deliveries = await self.database.read(read_deliveries, MAY_BE_OVERDUE, limits)
        if not deliveries:
            return 0
        unreminded = await self.database.read(self.find_unreminded, deliveries, now)
        if unreminded:
            await self._remind(unreminded[:MAINTENANCE_BATCH_SIZE], now)
        overdue = [item.id for item in deliveries if self._hold_event_for(item, now)]
        if not overdue:
            return 0
        is_overdue = DELIVERY.c.id.in_(overdue[:MAINTENANCE_BATCH_SIZE])
        return await self._apply(
            Sweep(and_(IS_UNDER_CHECK, is_overdue)),
            partial(self._hold_event_for, now=now),
        )

    async def alert_unreached(self) -> int:
        """Alert people to urgent posts that have not reached a platform in URGENT_ALERT_DELAY.

        A post that is due at once counts as urgent. Return the number. Others are alerted to once
        they are later than `max_delay`. Nothing is late while the clock is not confirmed.
        """
        now = self.runtime.now_if_confirmed()
        if now is None:
            return 0
        limits = {"due_before": now - URGENT_ALERT_DELAY}
        new = await self.database.read(self.find_unreached, limits)
        if new:
            await self.raise_unreached_alerts(new[:MAINTENANCE_BATCH_SIZE], limits, now)
        return len(new)

    @staticmethod
    def find_unreached(
        connection: Connection, limits: Mapping[str, object]
    ) -> list[DeliveryId]:
        """Return the unreached deliveries without an open alert about that."""
        unreached = read_deliveries(connection, UNREACHED_URGENT, limits)
        if not unreached:
            return []
        is_open = (ALERT.c.code == CANNOT_SEND, ALERT.c.cleared_at.is_(None))
        alerted = set(connection.scalars(select(ALERT.c.subject).where(*is_open)))
        return [item.id for item in unreached if subject_of(item) not in alerted]

    @in_transaction
    def raise_unreached_alerts(
        self,
        transaction: Transaction,
        ids: Sequence[DeliveryId],
        limits: Mapping[str, object],
        now: datetime,
    ) -> None:
        if not try_lock(transaction, MAINTENANCE_LOCK):
            return
        query = UNREACHED_URGENT.where(DELIVERY.c.id.in_(ids))
        for delivery in read_deliveries(transaction.connection, query, limits):
            facts = {
                "reason": delivery.reason or "",
                "until": delivery.expires_at.isoformat(),
            }
            raise_delivery_alert_once(transaction, now, CANNOT_SEND, delivery, facts)

    def find_unreminded(
        self, connection: Connection, deliveries: Sequence[Delivery], now: datetime
    ) -> list[DeliveryId]:
        """Return the deliveries with a due alert that is not open yet."""
        reminders = {
            (code, subject_of(delivery)): delivery.id
            for delivery in deliveries
            if (code := self._reminder_for(delivery, now))
        }
        raised = select(ALERT.c.code, ALERT.c.subject).where(
            ALERT.c.cleared_at.is_(None),
            ALERT.c.code.in_({code for code, _subject in reminders}),
        )
        for code, subject in connection.execute(raised) if reminders else ():
            reminders.pop((code, subject), None)
        return list(reminders.values())

    @in_transaction
    def _remind(
        self, transaction: Transaction, ids: Sequence[DeliveryId], now: datetime
    ) -> None:
        if not try_lock(transaction, MAINTENANCE_LOCK):
            return
        query = DELIVERIES_UNDER_CHECK.where(DELIVERY.c.id.in_(ids))
        for delivery in read_deliveries(transaction.connection, query):
            if code := self._reminder_for(delivery, now):
                raise_delivery_alert_once(transaction, now, code, delivery)

    def _hold_event_for(self, delivery: Delivery, now: datetime) -> Event | None:
        timing = self.store.timing(delivery.account)
        if delivery.state is State.SUBMITTED and (task := delivery.manual_task):
            reason = find_hold_reason(task, delivery, timing, now)
            return Held(reason=reason) if reason else None
        if delivery.state is State.SUBMITTED:
            since = delivery.submitted_at or now
            return (
                Held(reason=HoldReason.REVIEW_TIMEOUT)
                if now >= since + timing.review_hold_after
                else None
            )
        since = (delivery.unknown_since or now) + timing.unreadable_hold_after
        # it was readable; only the last read, after the longest review, is missing
        if delivery.is_review_possible:
            since += timing.review_window
        return Held(reason=HoldReason.UNCHECKABLE) if now >= since else None

    def _reminder_for(self, delivery: Delivery, now: datetime) -> str | None:
        """Return the code of the due alert for a long review or an undone manual task."""
        if delivery.state is not State.SUBMITTED:
            return None
        if task := delivery.manual_task:
            reminder = (
                None
                if delivery.desired in DESIRED_NO_SEND
                else due_reminder(task, delivery.expires_at, now)
            )
            return reminder.value if reminder else None
        since = delivery.submitted_at or now
        return (
            "review_overdue"
            if now >= since + self.store.timing(delivery.account).review_alert_after
            else None
        )

    async def _apply(
        self,
        sweep: Sweep,
        event: Event | Callable[[Delivery], Event | None],
        parameters: Values = None,
    ) -> int:
        """Apply an event to the deliveries that a sweep finds. Return the number."""
        return await self._sweep(
            sweep, partial(self._transition, event=event), parameters
        )

    def _transition(
        self,
        transaction: Transaction,
        deliveries: Sequence[Delivery],
        event: Event | Callable[[Delivery], Event | None],
    ) -> list[Delivery]:
        changes = [
            StateChange(before=delivery, event=found)
            for delivery in deliveries
            if (found := event(delivery) if callable(event) else event) is not None
        ]
        return self.store.transition_all(transaction, changes, MAINTENANCE)

    async def _sweep(
        self,
        sweep: Sweep,
        change: ChangeDeliveries,
        parameters: Values = None,
        *,
        waits_for_lock: bool = False,
    ) -> int:
        """Change the deliveries that a sweep finds, in batches. Return the number.

        The ids are read first, by an index that fits. Most runs find nothing, and write nothing.
        """
        found = await self.database.read_scalars(sweep.ids, parameters)
        number = 0
        for batch in batches(found, MAINTENANCE_BATCH_SIZE):
            query = (
                select(DELIVERY)
                .where(DELIVERY.c.id.in_(batch), sweep.condition)
                .order_by(DELIVERY.c.id)
                .with_for_update(of=DELIVERY, skip_locked=not waits_for_lock)
            )
            number += await self._change_batch(
                query, parameters, change, waits_for_lock=waits_for_lock
            )
        return number

    @in_transaction
    def _change_batch(
        self,
        transaction: Transaction,
        query: Select[Any],
        parameters: Values,
        change: ChangeDeliveries,
        *,
        waits_for_lock: bool,
    ) -> int:
        """Change the deliveries that still match. Return the number.

        While another worker does maintenance, this one does nothing, unless `waits_for_lock`.
        Deliveries that another worker is changing are left for the next run. They may not match any
        more.
        """
        if not (waits_for_lock or try_lock(transaction, MAINTENANCE_LOCK)):
            return 0
        deliveries = read_deliveries(transaction.connection, query, parameters)
        return len(change(transaction, deliveries))


def _next_approval_check(delivery: Delivery, now: datetime) -> datetime:
    """Return the next check of an unapproved delivery, or its deadline if that is sooner.

    The deadline is the time when it is too late.
    """
    limits = (delivery.first_attempt_deadline, delivery.expires_at)
    future = [
        limit + timedelta.resolution
        for limit in limits
        if limit is not None and limit > now
    ]
    return min([now + APPROVAL_RECHECK_INTERVAL, *future])


def _expiry_event(delivery: Delivery) -> Expired:
    if delivery.reason == AWAITING_APPROVAL:
        return Expired(reason=NOT_APPROVED)
    return (
        Expired(reason="expired_retrying")
        if delivery.state is State.RETRYING
        else Expired()
    )
