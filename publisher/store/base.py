"""The shared base of the store: the database, the account policies and the state changes."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, select, update

from publisher.domain.account import AccountId, AccountPolicy, LoginId, Mode, Timing
from publisher.domain.approval import NO_APPROVALS, ApprovalRules
from publisher.domain.delivery import (
    DESIRED_NO_SEND,
    RESTORABLE_STATES,
    Actor,
    Cancelled,
    Delivery,
    DesiredState,
    Event,
    Held,
    Lease,
    RetractionRequested,
    Role,
    State,
    WorkerId,
    event_code,
    make_manual_timing,
)
from publisher.domain.lifecycle import advance
from publisher.domain.post import ONCE_OCCURRENCE, DeliveryId, format_delivery_name
from publisher.domain.results import RESULT_CODES, Submitted, Unknown
from publisher.runtime.clock import Runtime
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import (
    ConcurrentUpdateError,
    Database,
    Transaction,
    execute_rows,
    in_transaction,
    try_lock,
)
from publisher.store.db.filters import in_state
from publisher.store.db.intent_journal import CallKey, CallRecord
from publisher.store.db.rows import (
    AlertContent,
    apply_alert_changes,
    audit_entry,
    clear_alerts,
    clear_outcome_alerts,
    find_alert_changes,
    find_outdated_facts,
    raise_delivery_alert,
    subject_of,
    update_facts,
    write_entries,
)
from publisher.store.db.tables import (
    ATTEMPT,
    DELIVERY,
    CallResult,
    changed_columns,
    dump_result,
)

ALERTED_STATES = frozenset({State.HELD, State.FAILED, State.EXPIRED, State.REMOVED})
"""States that raise an alert when a delivery enters them."""
TEMPORARY_ALERT_STATES = frozenset(
    {State.HELD, State.SUBMITTED, State.UNKNOWN, State.RETRACTING}
)
"""States with alerts that are cleared when a delivery leaves the state.

The alerts of an end state that is left are cleared too.
"""
HEARTBEAT_TIMEOUT = timedelta(seconds=15)
"""The longest time since the last heartbeat of a running daemon."""
FORGOTTEN_AFTER = timedelta(days=30)
"""After this without a heartbeat a host that never came back counts as removed."""
BLOCKED_BY_UNKNOWN = "blocked_by_unknown"
"""The code of a delivery that waits because of another one with an unknown outcome.

It could push the other delivery beyond the end of its account's list.
"""
CANNOT_SEND = "cannot_send"
"""The alert that a post is later than `max_delay`, because no call of it reaches the platform."""
_OUTBOUND_STATES = frozenset({State.DUE, State.CLAIMED, State.SENDING, State.RETRYING})
SUPERSEDED = "superseded"
"""The code of a recurring post's instant that expires when a later one is due.

All of these instants together raise one alert.
"""
CALL_END_RETENTION_SECONDS = 86400.0
"""When the end of a call is dropped from memory: every visibility window is over by then."""
_DUE_ON_ACCOUNT = (
    DELIVERY.c.login == bindparam("its_login"),
    DELIVERY.c.account == bindparam("its_account"),
    in_state(DELIVERY, State.DUE),
)
_BLOCKED_DELIVERIES = (
    select(DELIVERY.c.id)
    .where(*_DUE_ON_ACCOUNT, DELIVERY.c.reason == BLOCKED_BY_UNKNOWN)
    .limit(1)
)
_UNBLOCK_ACCOUNT = (
    update(DELIVERY)
    .where(*_DUE_ON_ACCOUNT, DELIVERY.c.reason == BLOCKED_BY_UNKNOWN)
    .values(next_action_at=None)
)
_NOW = bindparam("now", type_=DELIVERY.c.due_at.type)
_LATEST_DEADLINE = _NOW + DELIVERY.c.max_delay
_EXTEND_DEADLINES = (
    update(DELIVERY)
    .where(
        *_DUE_ON_ACCOUNT,
        DELIVERY.c.first_attempt_deadline >= _NOW,
        DELIVERY.c.first_attempt_deadline < _LATEST_DEADLINE,
    )
    .values(first_attempt_deadline=_LATEST_DEADLINE)
)
"""The update that extends the deadlines of an account.

A blocked delivery delays the others of its account too. No delivery that was in time becomes late
by it.
"""
UPDATE_DELIVERY = update(DELIVERY).where(
    DELIVERY.c.id == bindparam("its_id"), DELIVERY.c.version == bindparam("its_version")
)


_END_ATTEMPT = (
    update(ATTEMPT)
    .where(
        ATTEMPT.c.delivery == bindparam("of_delivery"),
        ATTEMPT.c.fencing_token == bindparam("of_fencing_token"),
    )
    .values(
        ended_at=func.coalesce(
            ATTEMPT.c.ended_at, bindparam("end", type_=ATTEMPT.c.ended_at.type)
        ),
        is_end_confirmed=case(
            (ATTEMPT.c.ended_at.is_(None), bindparam("confirmed")),
            else_=ATTEMPT.c.is_end_confirmed,
        ),
    )
)
_HAS_PROOF = and_(
    ATTEMPT.c.outcome.is_not(None), bindparam("kind") == RESULT_CODES[Unknown]
)
"""True if the stored proof stays.

A call that provably never began may end as Unknown when it gives up later.
"""
_END_WITH_OUTCOME = _END_ATTEMPT.values(
    outcome=case((_HAS_PROOF, ATTEMPT.c.outcome), else_=bindparam("kind")),
    detail=case((_HAS_PROOF, ATTEMPT.c.detail), else_=bindparam("facts")),
)


def name_host(worker: str, host: str, hosts: Sequence[str]) -> str:
    """Return a daemon's host for people; with its workspace, if two daemons have hosts so named."""
    return worker if hosts.count(host) > 1 else host


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """A delivery as it was read, the event to apply, and the lease end after it, if any."""

    before: Delivery
    event: Event
    lease_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLease:
    """A lease of this process; `until` is in monotonic seconds.

    `has_write_failed`: the database, the journal or the call record could not be written while it
    ran, or its claim is not known to be committed.
    """

    fencing_token: int
    until: float
    has_write_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UndatedRateLimit:
    """A platform's rate limit that came while the clock was unconfirmed.

    `until` is in monotonic seconds.
    """

    login: LoginId
    until: float
    is_for_reads: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnd:
    """The end of a call, known since a time in monotonic seconds.

    It also says if this process ended the call.
    """

    known_since_ticks: float
    is_own: bool


@dataclass(slots=True)
class CallEnds:
    """The ends of calls that this process knows."""

    _ends: dict[CallKey, CallEnd] = field(default_factory=dict)

    def record_own(
        self, delivery: DeliveryId, fencing_token: int, ticks: float
    ) -> None:
        """Record that this process has just ended a call. A later end of the call replaces it."""
        self._record(
            delivery, fencing_token, CallEnd(known_since_ticks=ticks, is_own=True)
        )

    def get_end(
        self, delivery: DeliveryId, fencing_token: int, ticks: float
    ) -> CallEnd:
        """Return the end of a call that is over. If it is new here, it is known since `ticks`."""
        if (delivery, fencing_token) not in self._ends:
            self._record(
                delivery, fencing_token, CallEnd(known_since_ticks=ticks, is_own=False)
            )
        return self._ends[delivery, fencing_token]

    def _record(self, delivery: DeliveryId, fencing_token: int, end: CallEnd) -> None:
        self._ends.pop((delivery, fencing_token), None)
        while (
            self._ends
            and next(iter(self._ends.values())).known_since_ticks
            < end.known_since_ticks - CALL_END_RETENTION_SECONDS
        ):
            del self._ends[next(iter(self._ends))]
        self._ends[delivery, fencing_token] = end


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseStore:
    """One worker's access to the database, its own leases, and its knowledge of its calls."""

    database: Database
    policies: Mapping[AccountId, AccountPolicy]
    worker: WorkerId
    leases: dict[DeliveryId, LocalLease] = field(default_factory=dict)
    call_record: CallRecord = field(default_factory=CallRecord)
    call_ends: CallEnds = field(default_factory=CallEnds)
    undated_limits: list[UndatedRateLimit] = field(default_factory=list)
    """Written as cooldowns of logins once the clock is confirmed."""
    unrecorded_reads: dict[DeliveryId, float] = field(default_factory=dict)
    """The monotonic time until which a delivery is not read, as its last result was not stored."""
    approval_rules: ApprovalRules = NO_APPROVALS

    def record_undated_limit(
        self, login: LoginId, duration: timedelta, *, is_for_reads: bool
    ) -> None:
        """Remember a rate limit that cannot be dated, because the clock is not confirmed."""
        until = self.runtime.monotonic() + duration.total_seconds()
        self.undated_limits.append(
            UndatedRateLimit(login=login, until=until, is_for_reads=is_for_reads)
        )

    def postpone_read(self, delivery: DeliveryId, duration: timedelta) -> None:
        """Keep a delivery from being read for a time, whatever the database says of it."""
        until = self.runtime.monotonic() + duration.total_seconds()
        self.unrecorded_reads[delivery] = until

    def postponed_reads(self) -> frozenset[DeliveryId]:
        """Return the deliveries that are not read now, and forget the others."""
        now = self.runtime.monotonic()
        for delivery, until in list(self.unrecorded_reads.items()):
            if until <= now:
                del self.unrecorded_reads[delivery]
        return frozenset(self.unrecorded_reads)

    def rate_limited_logins(self) -> frozenset[LoginId]:
        """Return the logins with reads blocked by a rate limit that could not be dated yet."""
        now = self.runtime.monotonic()
        return frozenset(
            limit.login
            for limit in list(self.undated_limits)
            if limit.is_for_reads and limit.until > now
        )

    def start_lease(
        self, delivery: DeliveryId, fencing_token: int, duration: timedelta
    ) -> None:
        """Start the local lease of a delivery, timed by the monotonic clock.

        Call it in the transaction that begins the lease. Maintenance must not see the row without
        the local lease.
        """
        until = self.runtime.monotonic() + duration.total_seconds()
        self.leases[delivery] = LocalLease(fencing_token=fencing_token, until=until)

    def end_lease(self, lease: Lease) -> None:
        """Drop a local lease; a later lease of the same delivery stays."""
        local = self.leases.get(lease.delivery)
        if local is not None and local.fencing_token == lease.fencing_token:
            del self.leases[lease.delivery]

    def mark_lease(self, lease: Lease, *, has_write_failed: bool) -> None:
        """Mark a local lease if a write has failed. The delivery is not at fault."""
        local = self.leases.get(lease.delivery)
        if local is not None and local.fencing_token == lease.fencing_token:
            self.leases[lease.delivery] = replace(
                local, has_write_failed=has_write_failed
            )

    def holds_lease(self, delivery: Delivery) -> bool:
        """Return True if the delivery's lease is this process's and has not expired."""
        lease = self.leases.get(delivery.id)
        return (
            lease is not None
            and lease.fencing_token == delivery.fencing_token
            and lease.until > self.runtime.monotonic()
        )

    def leased_ids(self, *, is_expired: bool) -> list[DeliveryId]:
        """Return the deliveries with a local lease that has expired, or has not."""
        now = self.runtime.monotonic()
        return [
            delivery
            for delivery, lease in list(self.leases.items())
            if (lease.until <= now) is is_expired
        ]

    def finish_attempts(
        self,
        transaction: Transaction,
        ended: Sequence[tuple[DeliveryId, int, CallResult | None]],
    ) -> None:
        """Record the end of calls, with the result if known. The first end of each call counts.

        A delivery and a fencing token name a call. If its outcome is open, its visibility window
        starts now.
        """
        clocks, is_proven = self.runtime.read_clocks(), self.runtime.is_clock_proven()
        with_result, without_result = [], []
        for delivery, fencing_token, result in ended:
            row = {
                "of_delivery": delivery,
                "of_fencing_token": fencing_token,
                "end": clocks.at,
                "confirmed": is_proven,
            }
            if result is None:
                without_result.append(row)
            else:
                dumped = dump_result(result)
                with_result.append(
                    {**row, "kind": dumped["kind"], "facts": dumped["detail"]}
                )
        for statement, rows in (
            (_END_WITH_OUTCOME, with_result),
            (_END_ATTEMPT, without_result),
        ):
            if rows:
                execute_rows(transaction.connection, statement, rows)
        for delivery, fencing_token, result in ended:
            if result is None or isinstance(result, Unknown | Submitted):
                self.call_ends.record_own(
                    delivery, fencing_token, clocks.monotonic_seconds
                )

    @property
    def runtime(self) -> Runtime:
        return self.database.runtime

    @property
    def active_accounts(self) -> list[AccountId]:
        """Return the accounts that the settings do not switch off."""
        return [
            key
            for key, policy in self.policies.items()
            if policy.account.mode is not Mode.OFF
        ]

    def timing(self, account: AccountId) -> Timing:
        """Return an account's timing; the defaults if the account is not in the settings."""
        policy = self.policies.get(account)
        return policy.timing if policy else Timing()

    def _timing_for(self, change: StateChange) -> Timing:
        timing, event = self.timing(change.before.account), change.event
        is_task = isinstance(event, Submitted) and event.ticket.manual_task is not None
        return make_manual_timing(timing) if is_task else timing

    def transition(
        self, transaction: Transaction, before: Delivery, event: Event, by: Actor
    ) -> Delivery:
        """Apply an event to a delivery, as `transition_all` does."""
        return self.transition_all(
            transaction, [StateChange(before=before, event=event)], by
        )[0]

    def transition_all(
        self, transaction: Transaction, changes: Sequence[StateChange], by: Actor
    ) -> list[Delivery]:
        """Apply each delivery's event, and write the `advance()` result, audit entries and alerts.

        Raises IllegalTransitionError if the table has no such step. Raises ConcurrentUpdateError if
        a row has changed.
        """
        now = self.runtime.now()
        afters = [
            advance(
                change.before,
                change.event,
                by=by,
                now=now,
                timing=self._timing_for(change),
            )
            for change in changes
        ]
        pairs = list(zip(changes, afters, strict=True))
        rows_by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        # all workers lock rows in this order
        for change, after in sorted(pairs, key=lambda pair: pair[1].id):
            columns = changed_columns(change.before, after)
            # what is only remembered leaves the lease as it is
            if after.state is not change.before.state:
                columns["lease_until"] = change.lease_until
                columns["worker"] = (
                    self.worker if change.lease_until is not None else None
                )
            row = {"its_id": after.id, "its_version": change.before.version, **columns}
            rows_by_columns[tuple(columns)].append(row)
        # one statement for all rows in which the same columns change
        for rows in rows_by_columns.values():
            if execute_rows(transaction.connection, UPDATE_DELIVERY, rows) != len(rows):
                raise ConcurrentUpdateError(sorted(row["its_id"] for row in rows))
        write_entries(
            transaction, [_audit_entry(change, after, by) for change, after in pairs]
        )
        for change, after in pairs:
            _write_alerts(transaction, change, after, by)
        published = [
            after for _change, after in pairs if after.state is State.PUBLISHED
        ]
        if published:
            # of a repeating post the other instants keep their alerts; what a resend replaces is a
            # one-off
            replaced = {
                format_delivery_name(after.key.post, ONCE_OCCURRENCE, after.account)
                for after in published
            }
            names = sorted(replaced | set(map(subject_of, published)))
            clear_outcome_alerts(transaction, now, ALERT.c.subject.in_(names))
        resolved = {
            (after.login, after.account)
            for change, after in pairs
            if _is_unresolved(change.before) and not _is_unresolved(after)
        }
        # what the unknown outcome has blocked may be tried again
        for login, account in sorted(resolved):
            on_account = {"its_login": login, "its_account": account}
            if (
                transaction.connection.execute(_BLOCKED_DELIVERIES, on_account).first()
                is not None
            ):
                extend_blocked_deadlines(transaction, login, account, now)
                transaction.connection.execute(_UNBLOCK_ACCOUNT, on_account)
        return afters

    def transition_through(
        self,
        transaction: Transaction,
        row: Delivery,
        start: Delivery,
        steps: Sequence[tuple[Event, Actor]],
    ) -> Delivery:
        """Apply several events to a delivery from `start`: one audit entry each, but one row write.

        Raises the errors of `transition_all`.
        """
        after, entries = start, []
        for event, by in steps:
            change = StateChange(before=after, event=event)
            after = advance(
                after,
                event,
                by=by,
                now=self.runtime.now(),
                timing=self._timing_for(change),
            )
            entries.append(_audit_entry(change, after, by))
        key = {"its_id": row.id, "its_version": row.version}
        columns = {**changed_columns(row, after), "lease_until": None, "worker": None}
        if (
            transaction.connection.execute(UPDATE_DELIVERY, {**key, **columns}).rowcount
            != 1
        ):
            raise ConcurrentUpdateError(row.id)
        write_entries(transaction, entries)
        return after


FindAlertChanges = Callable[[Connection], Mapping[str, AlertContent | None]]
"""Return the content that the alert of each subject must get, or None to clear it."""


class StorePart:
    """A part of the store, such as its outbox.

    A method with `@in_transaction` is one transaction, and is awaited.
    """

    def __init__(self, store: BaseStore) -> None:
        self.store = store
        self.database = store.database
        self.runtime = store.runtime

    async def update_alerts(
        self, find_changes: FindAlertChanges, lock: str | None = None
    ) -> int:
        """Raise and clear the alerts that must change, and return their number.

        Most calls find none, and write nothing. Nor does one while another worker holds the lock.
        """
        if not await self.database.read(find_changes):
            return 0
        return await self._apply_alert_changes(find_changes, lock)

    async def keep_host_alerts(
        self, code: str, wanted: Mapping[str, Mapping[str, str]]
    ) -> int:
        """Keep one alert of a code for each named matter of this host. Return the number changed.

        An open one is raised again only if the `since` of its facts differs. Its other facts follow
        the present ones, without a notice.
        """
        host = self.store.worker.partition(":")[0]
        prefix = f"{code}:{self.store.worker}:"
        contents: dict[str, AlertContent] = {
            f"{prefix}{name}": (code, {"host": host, **facts})
            for name, facts in wanted.items()
        }

        def find_changes(connection: Connection) -> Mapping[str, AlertContent | None]:
            changes = find_alert_changes(connection, [code], contents)
            return {
                subject: content
                for subject, content in changes.items()
                if subject.startswith(prefix)
            }

        changed = await self.update_alerts(find_changes)
        if await self.database.read(find_outdated_facts, contents):
            await self.database.write(update_facts, contents)
        return changed

    @in_transaction
    def _apply_alert_changes(
        self, transaction: Transaction, find_changes: FindAlertChanges, lock: str | None
    ) -> int:
        if lock and not try_lock(transaction, lock):
            return 0
        changes = find_changes(transaction.connection)
        apply_alert_changes(transaction, self.runtime.now(), changes)
        return len(changes)


def _audit_entry(change: StateChange, after: Delivery, by: Actor) -> dict[str, object]:
    # a person's order has its own reason, not the one that blocked the delivery before
    event = change.event
    reason = (
        event.reason
        if isinstance(event, Cancelled | RetractionRequested)
        else after.reason
    )
    facts = event.facts if isinstance(event, Held) else {}
    detail = {
        **facts,
        "version": after.version,
        "attempt": after.attempts,
        "fencing_token": after.fencing_token,
        "reason": reason,
    }
    return audit_entry(
        after.updated_at,
        by,
        event=event_code(event),
        subject=subject_of(after),
        before=change.before.state,
        after=after.state,
        detail=detail,
    )


def _is_unresolved(delivery: Delivery) -> bool:
    """True if a delivery must still be found in its account's list.

    It is found there to learn its outcome or to delete it.
    """
    is_unseen = delivery.state is State.RETRACTING and delivery.receipt is None
    return is_unseen or (
        delivery.state is State.UNKNOWN and not delivery.is_review_possible
    )


def extend_blocked_deadlines(
    transaction: Transaction, login: LoginId, account: AccountId, now: datetime
) -> None:
    """Restart `max_delay` for deliveries blocked by an unknown outcome, if they were in time."""
    transaction.connection.execute(
        _EXTEND_DEADLINES, {"its_login": login, "its_account": account, "now": now}
    )


def _write_alerts(
    transaction: Transaction, change: StateChange, after: Delivery, by: Actor
) -> None:
    """Clear the alerts that a step ends, and raise the one that it calls for."""
    before = change.before
    if before.state is after.state:
        return
    is_unblocked = before.reason == BLOCKED_BY_UNKNOWN and after.state not in {
        State.DUE,
        State.CLAIMED,
    }
    if before.state in TEMPORARY_ALERT_STATES | RESTORABLE_STATES or is_unblocked:
        clear_alerts(transaction, subject_of(after), after.updated_at)
    elif (
        before.failures
        and before.state in _OUTBOUND_STATES
        and after.state not in _OUTBOUND_STATES
    ):
        clear_alerts(transaction, subject_of(after), after.updated_at, CANNOT_SEND)
    code = None
    if after.state in ALERTED_STATES and by.role is not Role.PERSON:
        code = None if after.reason == SUPERSEDED else f"{after.state}.{after.reason}"
    elif after.state is State.RETRACTING:
        code = "retracting"
    elif after.state is State.PUBLISHED and after.desired in DESIRED_NO_SEND - {
        DesiredState.CORRECTED
    }:
        code = "published_after_cancellation"
    elif after.state is State.PUBLISHED and after.desired is DesiredState.EDITED:
        code = "published_after_edit"
    if code is not None:
        facts = change.event.facts if isinstance(change.event, Held) else {}
        raise_delivery_alert(
            transaction,
            after.updated_at,
            code,
            after,
            {**facts, "reason": after.reason or ""},
        )
