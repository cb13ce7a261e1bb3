"""Changes by time alone: deliveries become due or expire, leases expire, checks are held.

The held checks are the overdue ones.
"""

import asyncio
import json
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
    exists,
    or_,
    select,
    true,
    update,
)

from publisher.domain.account import Timing
from publisher.domain.approval import (
    AFTER_REVIEW_PERIOD,
    AWAITING_APPROVAL,
    NOT_APPROVED,
    REMINDER_LEAD,
    choose_reminder_lead,
)
from publisher.domain.delivery import (
    CHECKED_STATES,
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
from publisher.domain.post import PostId
from publisher.domain.results import HoldReason, NotSent
from publisher.runtime.clock import MAX_TIMESTAMP_SKEW, ClockTrust
from publisher.runtime.logs import log
from publisher.store.approvals.guard import (
    AFTER_REVIEW_DUE,
    AFTER_REVIEW_OVERDUE,
    APPROVAL_NEEDED,
    APPROVAL_RECHECK_INTERVAL,
    alert_facts,
    find_unapproved,
    name_occurrence,
    read_approval_statuses,
    read_texts,
)
from publisher.store.base import SUPERSEDED, BaseStore, StateChange, StorePart
from publisher.store.database_identity import can_plan
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import Transaction, try_lock
from publisher.store.db.filters import (
    in_open_state,
    in_state,
)
from publisher.store.db.rows import (
    apply_alert_changes,
    batches,
    clear_alerts,
    raise_alert,
    raise_delivery_alert,
    raise_delivery_alert_once,
    subject_of,
)
from publisher.store.db.tables import ATTEMPT, DELIVERY, READBACK, read_deliveries
from publisher.store.deliveries.cancellations import find_doubt_changes, stop_corrected
from publisher.store.deliveries.cooldowns import (
    redate_cooldowns,
    revert_quota_cooldowns,
)
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
    Sweep,
)

MAINTENANCE_BATCH_SIZE = 200
MAX_PROMOTED = 1000
"""The maximum number of deliveries that one run makes due.

It is more than are sent until the next run, so that none waits for it.
"""
MAINTENANCE_LOCK = "maintenance"
APPROVAL_REMINDER_SECONDS = 30.0
"""How often is looked for posts that are due soon and still need an approval."""
_CALLED_STATES = sorted(
    frozenset(State) - {State.PENDING, State.PUBLISHED, State.CANCELLED, State.EXPIRED}
)
"""States in which a call may have been made, and another may follow."""
_TIMED_STATES = CHECKED_STATES | {State.RETRYING}
"""States with a `next_action_at` counted from the instant at which it was written."""


def misdated_deliveries(latest_possible: datetime) -> Select[Any]:
    """Return the query of the called deliveries possibly dated by an unconfirmed clock.

    It includes the last attempt of each.
    """
    is_undated = and_(
        ATTEMPT.c.ended_at.is_not(None),
        ~ATTEMPT.c.is_end_confirmed,
        or_(in_state(DELIVERY, *CHECKED_STATES), ATTEMPT.c.ended_at > latest_possible),
    )
    was_read_ahead = exists().where(
        READBACK.c.delivery == DELIVERY.c.id, READBACK.c.at > latest_possible
    )
    return (
        select(
            DELIVERY,
            ATTEMPT.c.id.label("its_attempt"),
            ATTEMPT.c.fencing_token.label("its_fencing_token"),
        )
        .add_columns(is_undated.label("is_undated"))
        .join(
            ATTEMPT,
            and_(
                ATTEMPT.c.delivery == DELIVERY.c.id,
                ATTEMPT.c.number == DELIVERY.c.attempts,
            ),
        )
        .where(in_open_state(DELIVERY, *_CALLED_STATES), DELIVERY.c.attempts > 0)
        .where(or_(DELIVERY.c.updated_at > latest_possible, is_undated, was_read_ahead))
    )


def compare_approval_alerts(
    store: BaseStore, connection: Connection, now: datetime
) -> tuple[Mapping[str, Mapping[str, str]], set[str]]:
    """Return the facts of each required missing-approval alert, by subject, and the open ones."""
    is_near = or_(
        DELIVERY.c.next_action_at <= now + REMINDER_LEAD,
        DELIVERY.c.due_at <= now + REMINDER_LEAD,
    )
    near = read_deliveries(
        connection, select(DELIVERY).where(in_state(DELIVERY, State.PENDING), is_near)
    )
    found = [item for item in near if store.approval_rules.chain_for(item.kind)]
    waiting = {(item.key, item.kind) for item in found}
    chained = {item.key: item for item in reversed(found)}
    texts = read_texts(connection, chained)
    wanted = {}
    for (key, kind), status in read_approval_statuses(
        store, connection, chained
    ).items():
        due_at = chained[key].due_at
        text = texts.get((key, status.fingerprint))
        lead = choose_reminder_lead(due_at, text.at if text is not None else None)
        # what was sent as another kind, before an edit, waits for nobody
        if (key, kind) in waiting and not status.is_approved and now >= due_at - lead:
            stages = "、".join(missing.stage.name for missing in status.missing)
            wanted[name_occurrence(key)] = {
                **alert_facts(key),
                "due": due_at.isoformat(),
                "stages": stages,
            }
    open_alerts = select(ALERT.c.subject).where(
        ALERT.c.code == APPROVAL_NEEDED, ALERT.c.cleared_at.is_(None)
    )
    return wanted, set(connection.scalars(open_alerts))


class Maintenance(StorePart):
    """The maintenance job and its periodic writes.

    Each may be repeated, by any worker, at any time.
    """

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self._redated_trust: ClockTrust | None = None
        self._lock = asyncio.Lock()
        self._next_reminders = float("-inf")

    async def has_work(self, within: timedelta) -> bool:
        """Return True if a delivery is being sent, or needs a job of the daemon within `within`.

        Hosts that share a database always have work. Each must prove that its journal has no more
        than the database.
        """
        if self.database.is_shared:
            return True
        soon = {"soon": self.runtime.now() + within}
        return bool(
            await self.database.read(
                lambda connection: connection.scalar(HAS_WORK, soon)
            )
        )

    async def run(self) -> None:
        """Run all of it once. While the clock is unconfirmed, handle only this process's leases."""
        async with self._lock:
            if number := await self.correct_timestamps():
                log.warning("times_corrected", deliveries=number)
            await self.expire_leases()
            if await can_plan(self.database):
                await self.expire()
                await self.cancel_orphans()
            await self.promote_due()
            await self.remind_of_approvals()
            await self.hold_overdue()

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

    async def _promote(
        self, sweep: Sweep, parameters: Mapping[str, object] | None = None
    ) -> int:
        """Make matching deliveries due. One without its approval at its time waits as it is.

        Before that, the posts that due corrections correct are stopped.
        """
        of_corrections = IS_CORRECTION.where(sweep.condition)
        if corrections := await self.database.read(
            lambda one: one.scalars(of_corrections, parameters).all()
        ):
            await self.database.write(
                lambda transaction: stop_corrected(self.store, transaction, corrections)
            )
        if not self.store.approval_rules.is_active:
            return await self._apply_to_matching(
                sweep, BecameDue(), parameters=parameters
            )

        def decide(
            transaction: Transaction, deliveries: Sequence[Delivery]
        ) -> list[StateChange]:
            now = self.runtime.now()
            pending = [
                delivery for delivery in deliveries if delivery.state is State.PENDING
            ]
            unapproved = find_unapproved(self.store, transaction, pending)
            changes = []
            for delivery in deliveries:
                if delivery.id not in unapproved:
                    changes.append(StateChange(before=delivery, event=BecameDue()))
                    continue
                until = _next_approval_check(delivery, now)
                if delivery.reason != AWAITING_APPROVAL:
                    changes.append(
                        StateChange(before=delivery, event=ApprovalMissing(until=until))
                    )
                else:  # it waits already: no step, and no audit entry, only to look again
                    is_same = (
                        DELIVERY.c.id == delivery.id,
                        DELIVERY.c.version == delivery.version,
                    )
                    transaction.connection.execute(
                        update(DELIVERY).where(*is_same).values(next_action_at=until)
                    )
            return changes

        return await self._apply_to_matching(
            sweep, decide=decide, parameters=parameters
        )

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

        def alert_missed(transaction: Transaction, expired: Sequence[Delivery]) -> None:
            """Alert once for each post, however many of its instants and accounts were missed."""
            for post, number in Counter(
                delivery.key.post for delivery in expired
            ).items():
                facts = {"post": post, "number": str(number)}
                raise_alert(
                    transaction,
                    expired[0].updated_at,
                    "occurrences_missed",
                    post,
                    facts,
                )

        facts = {"now": now, "accounts": sorted(self.store.active_accounts)}
        number = await self._apply_to_matching(
            SUPERSEDED_INSTANTS,
            Expired(reason=SUPERSEDED),
            alert=alert_missed,
            parameters=facts,
        )
        if self.store.approval_rules.is_active:
            number += await self._apply_to_matching(
                LATE_UNAPPROVED, Expired(reason=NOT_APPROVED), parameters=facts
            )
        for reason, sweep in EXPIRED.items():
            number += await self._apply_to_matching(
                sweep, Expired(reason=reason), parameters=facts
            )
        return number + await self._apply_to_matching(
            PAST_EXPIRY, _expiry_event, parameters=facts
        )

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
        return await self._apply_to_matching(
            sweep, self.lease_expiry_event, ends_attempts=True, parameters=own
        )

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
        number = await self._apply_to_matching(
            Sweep(and_(IS_LEASED, condition)),
            self._own_expiry_event,
            ends_attempts=True,
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

    async def correct_timestamps(self) -> int:
        """Correct the times dated by an unconfirmed clock, once it is confirmed. Return the number.

        The number is of deliveries. Otherwise an unknown outcome would be read again only in hours,
        if the clock was ahead. If the clock was behind, the outcome would go to a person at once. A
        worker with a correct clock may have written a delivery since. Then the date of one of its
        readbacks still shows it.
        """
        trust, undated_limits = self.runtime.clock_trust, self.store.undated_limits
        if not trust.is_confirmed or (
            trust is self._redated_trust and not undated_limits
        ):
            return 0

        def redate(transaction: Transaction) -> int:
            clocks = self.runtime.read_clocks()
            redate_cooldowns(self.store, transaction, clocks)
            latest_possible = clocks.at + MAX_TIMESTAMP_SKEW
            rows = (
                transaction.connection.execute(misdated_deliveries(latest_possible))
                .mappings()
                .all()
            )
            # after a worker crash what is due was spread out: by a clock that was ahead it would
            # wait for hours
            was_spread = and_(
                DELIVERY.c.updated_at > latest_possible,
                DELIVERY.c.next_action_at > DELIVERY.c.due_at,
            )
            number = transaction.connection.execute(
                update(DELIVERY)
                .where(in_state(DELIVERY, State.DUE), was_spread)
                .values(next_action_at=DELIVERY.c.due_at, updated_at=clocks.at)
            ).rowcount
            for row in rows:
                latest = clocks.at
                if row["is_undated"]:
                    end = self.store.call_ends.get_end(
                        row["id"], row["its_fencing_token"], clocks.monotonic_seconds
                    )
                    latest -= timedelta(
                        seconds=clocks.monotonic_seconds - end.known_since_ticks
                    )
                    ended = {"ended_at": latest, "is_end_confirmed": trust.is_proven}
                    transaction.connection.execute(
                        update(ATTEMPT)
                        .where(ATTEMPT.c.id == row["its_attempt"])
                        .values(ended)
                    )
                begun = {
                    name: row[name]
                    for name in ("unknown_since", "submitted_at")
                    if row[name] is not None
                }
                begun = {
                    name: latest if row["is_undated"] else min(at, latest)
                    for name, at in begun.items()
                }
                next_action = (
                    {"next_action_at": clocks.at}
                    if row["state"] in _TIMED_STATES
                    else {}
                )
                values = {"updated_at": clocks.at, **next_action, **begun}
                transaction.connection.execute(
                    update(DELIVERY).where(DELIVERY.c.id == row["id"]).values(values)
                )
            return number + len(rows)

        limits_before = len(undated_limits)
        number = await self.database.write(redate)
        self._redated_trust = trust
        del undated_limits[:limits_before]
        return number

    async def cancel_orphans(self) -> int:
        """Cancel due follow-ups of originals that will never be published. Return the number.

        Such an original is not published now either. Before that, the alerts about originals in
        doubt are brought up to date.
        """
        if await self.database.read(find_doubt_changes):
            now = self.runtime.now()
            await self.database.write(
                lambda transaction: apply_alert_changes(
                    transaction, now, find_doubt_changes(transaction.connection)
                )
            )

        def alert_orphans(
            transaction: Transaction, cancelled: Sequence[Delivery]
        ) -> None:
            for delivery in cancelled:
                raise_delivery_alert(
                    transaction,
                    delivery.updated_at,
                    "cancelled.original_not_published",
                    delivery,
                )

        return await self._apply_to_matching(
            ORPHANED, Cancelled(reason="original_not_published"), alert=alert_orphans
        )

    async def remind_of_approvals(self) -> int:
        """Keep one alert for each unapproved occurrence that is due soon. Return the new count.

        An occurrence that is due already has one too. A text filed within REMINDER_LEAD of its time
        is reported only LAST_REMINDER_LEAD before it. Nothing is asked if no post needs an
        approval. Otherwise it is asked once in APPROVAL_REMINDER_SECONDS.
        """
        now, ticks = self.runtime.now_if_confirmed(), self.runtime.monotonic()
        if (
            now is None
            or not self.store.approval_rules.is_active
            or ticks < self._next_reminders
        ):
            return 0
        self._next_reminders = ticks + APPROVAL_REMINDER_SECONDS
        await self._remind_of_after_reviews(now)
        wanted, found = await self.database.read(
            lambda connection: compare_approval_alerts(self.store, connection, now)
        )

        def update_alerts(transaction: Transaction) -> int:
            if not try_lock(transaction, MAINTENANCE_LOCK):
                return 0
            wanted, found = compare_approval_alerts(
                self.store, transaction.connection, now
            )
            for subject in found - set(wanted):
                clear_alerts(transaction, subject, now, APPROVAL_NEEDED)
            for subject in sorted(set(wanted) - found):
                raise_alert(transaction, now, APPROVAL_NEEDED, subject, wanted[subject])
            return len(set(wanted) - found)

        return await self.database.write(update_alerts) if set(wanted) != found else 0

    async def _remind_of_after_reviews(self, now: datetime) -> None:
        """Alert once more about emergency releases that should have been approved by now."""
        again = ALERT.alias("again")
        is_reminded = exists().where(
            again.c.subject == ALERT.c.subject,
            again.c.code == AFTER_REVIEW_OVERDUE,
            again.c.cleared_at.is_(None),
        )
        overdue = select(ALERT.c.subject, ALERT.c.facts).where(
            ALERT.c.code == AFTER_REVIEW_DUE,
            ALERT.c.cleared_at.is_(None),
            ALERT.c.dismissed_at.is_(None),
            ALERT.c.at <= now - AFTER_REVIEW_PERIOD,
            ~is_reminded,
        )

        def raise_overdue(transaction: Transaction) -> None:
            if try_lock(transaction, MAINTENANCE_LOCK):
                for row in transaction.connection.execute(overdue).all():
                    raise_alert(
                        transaction,
                        now,
                        AFTER_REVIEW_OVERDUE,
                        row.subject,
                        json.loads(row.facts),
                    )

        if (
            await self.database.read(
                lambda connection: connection.execute(overdue).first()
            )
            is not None
        ):
            await self.database.write(raise_overdue)

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
        unknown_before = now - min(timing.unreadable_hold_after for timing in timings)
        submitted_before = now - min(
            min(timing.review_alert_after, timing.review_hold_after)
            for timing in timings
        )
        before = {
            "unknown_before": unknown_before,
            "submitted_before": submitted_before,
        }
        deliveries = await self.database.read(
            lambda connection: read_deliveries(connection, MAY_BE_OVERDUE, before)
        )
        reminders = {
            (code, subject_of(delivery)): delivery.id
            for delivery in deliveries
            if (code := self._reminder_for(delivery, now))
        }
        if reminders:
            raised = select(ALERT.c.code, ALERT.c.subject).where(
                ALERT.c.cleared_at.is_(None),
                ALERT.c.code.in_({code for code, _subject in reminders}),
            )
            for code, subject in await self.database.read(
                lambda connection: connection.execute(raised).all()
            ):
                reminders.pop((code, subject), None)
        unreminded = list(reminders.values())[:MAINTENANCE_BATCH_SIZE]

        def raise_reminders(transaction: Transaction) -> None:
            if not try_lock(transaction, MAINTENANCE_LOCK):
                return
            query = DELIVERIES_UNDER_CHECK.where(DELIVERY.c.id.in_(unreminded))
            for delivery in read_deliveries(transaction.connection, query):
                if code := self._reminder_for(delivery, now):
                    raise_delivery_alert_once(transaction, now, code, delivery)

        if unreminded:
            await self.database.write(raise_reminders)
        overdue = [item.id for item in deliveries if self._hold_event_for(item, now)][
            :MAINTENANCE_BATCH_SIZE
        ]
        if not overdue:
            return 0
        return await self._apply_to_matching(
            Sweep(and_(IS_UNDER_CHECK, DELIVERY.c.id.in_(overdue))),
            lambda delivery: self._hold_event_for(delivery, now),
        )

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

    async def _apply_to_matching(  # noqa: PLR0913 # the options of one maintenance write
        self,
        sweep: Sweep,
        event_for: Event | Callable[[Delivery], Event | None] | None = None,
        *,
        decide: Callable[[Transaction, Sequence[Delivery]], list[StateChange]]
        | None = None,
        ends_attempts: bool = False,
        waits_for_lock: bool = False,
        alert: Callable[[Transaction, Sequence[Delivery]], None] | None = None,
        parameters: Mapping[str, object] | None = None,
    ) -> int:
        """Apply an event to all matching deliveries, in batches. Return the number.

        With `decide` the events of a batch are decided together, in its transaction.

        The ids are read first, by an index that fits. Most runs find nothing, and write nothing.
        While another worker does maintenance, this one does nothing, unless `waits_for_lock`.
        Deliveries that another worker is changing are left for the next run. They may not match any
        more.
        """
        found = await self.database.read(
            lambda connection: connection.scalars(sweep.ids, parameters).all()
        )

        def apply_events(transaction: Transaction, batch: Sequence[int]) -> int:
            if not (waits_for_lock or try_lock(transaction, MAINTENANCE_LOCK)):
                return 0
            query = (
                select(DELIVERY)
                .where(DELIVERY.c.id.in_(batch), sweep.condition)
                .order_by(DELIVERY.c.id)
            )
            query = query.with_for_update(of=DELIVERY, skip_locked=not waits_for_lock)
            deliveries = read_deliveries(transaction.connection, query, parameters)
            changes = decide(transaction, deliveries) if decide else []
            changes += [
                StateChange(before=delivery, event=event)
                for delivery in deliveries
                if (event := event_for(delivery) if callable(event_for) else event_for)
                is not None
            ]
            unsent = [
                change.before
                for change in changes
                if change.before.state is State.SENDING
                and isinstance(change.event, LeaseExpired)
                and not change.event.may_have_started
            ]
            if ends_attempts:
                changes = _mark_suspects(changes)
                outcomes = {
                    delivery.id: NotSent(reason="never_started") for delivery in unsent
                }
                ended = [
                    (
                        change.before.id,
                        change.before.fencing_token,
                        outcomes.get(change.before.id),
                    )
                    for change in changes
                ]
                self.store.finish_attempts(transaction, ended)
            afters = self.store.transition_all(transaction, changes, MAINTENANCE)
            revert_quota_cooldowns(self.store, transaction, unsent)
            if alert:
                alert(
                    transaction,
                    [after for after in afters if after.state in FINAL_STATES],
                )
            return len(changes)

        changed = 0
        for batch in batches(found, MAINTENANCE_BATCH_SIZE):
            changed += await self.database.write(partial(apply_events, batch=batch))
        return changed


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


def _mark_suspects(changes: Sequence[StateChange]) -> list[StateChange]:
    """Mark each expired lease as the only suspect, or not.

    If several expire together that a worker has crashed with before, none of them is known to be
    the cause.
    """
    is_only_suspect = sum(change.before.worker_crashes > 0 for change in changes) <= 1
    return [
        replace(change, event=replace(change.event, is_only_suspect=is_only_suspect))
        if isinstance(change.event, LeaseExpired)
        else change
        for change in changes
    ]
