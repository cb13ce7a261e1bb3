"""What every room of the store works with: the database, the terms of each account, and how a delivery is changed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, update

from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import (
    DESIRED_NO_SEND,
    Delivery,
    DesiredState,
    State,
    WorkerId,
    make_manual_timing,
    parse_manual_task,
)
from publisher.domain.events import Actor, Cancelled, Event, RetractionRequested, Role, event_code
from publisher.domain.lifecycle import advance
from publisher.domain.policy import AccountPolicy, Timing
from publisher.domain.rendered import DeliveryId
from publisher.domain.results import Submitted, Unknown
from publisher.runtime.clock import Runtime
from publisher.store.audit.append import (
    audit_entry,
    clear_alerts,
    finish_attempts,
    raise_delivery_alert,
    subject_of,
    write_entries,
)
from publisher.store.db.call_record import CallEnds, CallRecord
from publisher.store.db.database import ConcurrentUpdateError, Database, Transaction
from publisher.store.db.filters import in_state
from publisher.store.db.mappers import DELIVERY, CallResult, changed_columns

ALERTED_STATES = frozenset({State.HELD, State.FAILED, State.EXPIRED, State.REMOVED})
"""States whose entry is an alert."""
TEMPORARY_ALERT_STATES = frozenset({State.HELD, State.SUBMITTED, State.UNKNOWN, State.RETRACTING})
"""States whose alerts are over once they are left."""
BLOCKED_BY_UNKNOWN = "blocked_by_unknown"
"""Why a delivery waits while another one's doubt on its account could be pushed out of what can be read."""
CANNOT_SEND = "cannot_send"
"""The alert that a post is later than staff allowed, as no call of it finds a way to the platform."""
_OUTBOUND_STATES = frozenset({State.DUE, State.CLAIMED, State.SENDING, State.RETRYING})
SUPERSEDED = "superseded"
"""Why an instant of a repeating post expires that a later one has overtaken; all of them make one alert."""
_DUE_ON_ACCOUNT = (
    DELIVERY.c.login == bindparam("its_login"),
    DELIVERY.c.account == bindparam("its_account"),
    in_state(DELIVERY, State.DUE),
)
_BLOCKED_DELIVERIES = select(DELIVERY.c.id).where(*_DUE_ON_ACCOUNT, DELIVERY.c.reason == BLOCKED_BY_UNKNOWN).limit(1)
_UNBLOCK_ACCOUNT = (
    update(DELIVERY).where(*_DUE_ON_ACCOUNT, DELIVERY.c.reason == BLOCKED_BY_UNKNOWN).values(next_action_at=None)
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
"""Behind the one that a doubt keeps back the others of its account wait too: none that was in time is late for it."""
UPDATE_DELIVERY = update(DELIVERY).where(
    DELIVERY.c.id == bindparam("its_id"), DELIVERY.c.version == bindparam("its_version")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """A delivery as it was read, what happens to it, and the end of its lease, if it has one then."""

    before: Delivery
    event: Event
    lease_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLease:
    """A lease of this process: of which epoch, and until when by the clock that never jumps.

    `is_refused`: the database, or a file beside it, did not take what was to be written of it.
    """

    fencing_token: int
    until: float
    has_write_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UndatedRateLimit:
    """A platform's limit that came while the clock was in doubt; `until` is of the clock that never jumps."""

    login: LoginId
    until: float
    is_for_reads: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """One worker's access to the books."""

    database: Database
    policies: Mapping[AccountId, AccountPolicy]
    worker: WorkerId
    leases: dict[DeliveryId, LocalLease] = field(default_factory=dict)
    """What this process has in hand."""
    call_record: CallRecord = field(default_factory=CallRecord)
    call_ends: CallEnds = field(default_factory=CallEnds)
    undated_limits: list[UndatedRateLimit] = field(default_factory=list)
    """What is written as rests of logins once the clock is confirmed."""

    def record_undated_limit(self, login: LoginId, cooldown: timedelta, *, is_for_reads: bool) -> None:
        """Note a limit that cannot be dated, because the clock is in doubt."""
        until = self.runtime.monotonic() + cooldown.total_seconds()
        self.undated_limits.append(UndatedRateLimit(login=login, until=until, is_for_reads=is_for_reads))

    def rate_limited_logins(self) -> frozenset[LoginId]:
        """Name the logins whose reads are kept back by a limit that could not be dated yet."""
        now = self.runtime.monotonic()
        return frozenset(limit.login for limit in list(self.undated_limits) if limit.is_for_reads and limit.until > now)

    def start_lease(self, delivery: DeliveryId, fencing_token: int, duration: timedelta) -> None:
        """Note that the lease of a delivery runs for so long from now, whatever the wall clock does.

        Done in the transaction that begins the lease: no round may find it ended between commit and note.
        """
        self.leases[delivery] = LocalLease(
            fencing_token=fencing_token, until=self.runtime.monotonic() + duration.total_seconds()
        )

    def end_lease(self, delivery: DeliveryId, fencing_token: int) -> None:
        """Forget a lease that is done with; a later one of the same delivery stays."""
        if delivery in self.leases and self.leases[delivery].fencing_token == fencing_token:
            del self.leases[delivery]

    def mark_write_failed(self, delivery: DeliveryId, fencing_token: int) -> None:
        """Note that what kept a lease from being done with is no fault of the delivery's."""
        if delivery in self.leases and self.leases[delivery].fencing_token == fencing_token:
            self.leases[delivery] = replace(self.leases[delivery], has_write_failed=True)

    def holds_lease(self, delivery: Delivery) -> bool:
        """Whether the lease under which a delivery stands is this process's, and is not over."""
        lease = self.leases.get(delivery.id)
        return (
            lease is not None
            and lease.fencing_token == delivery.fencing_token
            and lease.until > self.runtime.monotonic()
        )

    def leased_ids(self, *, is_expired: bool) -> list[DeliveryId]:
        """Name what this process has in hand whose lease is over, or is not."""
        now = self.runtime.monotonic()
        return [delivery for delivery, lease in list(self.leases.items()) if (lease.until <= now) is is_expired]

    def finish_attempts(
        self, transaction: Transaction, ended: Sequence[tuple[DeliveryId, int, CallResult | None]]
    ) -> None:
        """Write down that calls are over, as `ledger.end_attempts` does, and let their settle times begin."""
        clocks = self.runtime.read_clocks()
        finish_attempts(transaction, clocks.at, ended, is_confirmed=self.runtime.is_clock_confirmed())
        for delivery, fencing_token, answer in ended:
            if answer is None or isinstance(answer, Unknown | Submitted):
                self.call_ends.record_own(delivery, fencing_token, clocks.monotonic_seconds)

    @property
    def runtime(self) -> Runtime:
        return self.database.runtime

    @property
    def active_accounts(self) -> list[AccountId]:
        """Name the accounts that the settings do not switch off."""
        return [key for key, terms in self.policies.items() if terms.account.mode is not Mode.OFF]

    def timing(self, account: AccountId) -> Timing:
        """Give an account's waits; those of no platform in particular when the account is not in the settings."""
        terms = self.policies.get(account)
        return terms.timing if terms else Timing()

    def _timing_for(self, change: StateChange) -> Timing:
        timing, event = self.timing(change.before.account), change.event
        is_task = isinstance(event, Submitted) and parse_manual_task(event.ticket) is not None
        return make_manual_timing(timing) if is_task else timing

    def transition(
        self,
        transaction: Transaction,
        before: Delivery,
        event: Event,
        by: Actor,
        *,
        lease_until: datetime | None = None,
    ) -> Delivery:
        """Bring an event to a delivery, as `change_all` does."""
        return self.transition_all(transaction, [StateChange(before=before, event=event, lease_until=lease_until)], by)[
            0
        ]

    def transition_all(self, transaction: Transaction, changes: Sequence[StateChange], by: Actor) -> list[Delivery]:
        """Bring each delivery its event; write what `advance()` returned, the audit entries and the alerts.

        Raises IllegalStepError where the table has no such step, OvertakenError when a row has moved on.
        """
        now = self.runtime.now()
        afters = [
            advance(change.before, change.event, by=by, now=now, timing=self._timing_for(change)) for change in changes
        ]
        _update_rows(transaction, changes, afters, self.worker)
        write_entries(
            transaction, [_audit_entry(change, after, by) for change, after in zip(changes, afters, strict=True)]
        )
        for change, after in zip(changes, afters, strict=True):
            _write_alerts(transaction, change.before, after, by)
        _resume_blocked(
            transaction, [change.before for change in changes if _is_unresolved(change.before)], afters, now
        )
        return afters

    def transition_through(
        self, transaction: Transaction, row: Delivery, start: Delivery, steps: Sequence[tuple[Event, Actor]]
    ) -> Delivery:
        """Take a delivery several steps at once, from `start`: each has its audit entry, its row is written once.

        Raises what `change_all` raises.
        """
        after, entries = start, []
        for event, by in steps:
            change = StateChange(before=after, event=event)
            after = advance(after, event, by=by, now=self.runtime.now(), timing=self._timing_for(change))
            entries.append(_audit_entry(change, after, by))
        key = {"its_id": row.id, "its_version": row.version}
        columns = {**changed_columns(row, after), "lease_until": None, "worker": None}
        if transaction.connection.execute(UPDATE_DELIVERY, {**key, **columns}).rowcount != 1:
            raise ConcurrentUpdateError(row.id)
        write_entries(transaction, entries)
        return after


def _update_rows(
    transaction: Transaction, changes: Sequence[StateChange], afters: Sequence[Delivery], worker: WorkerId
) -> None:
    """Write the columns that differ, in one statement for all rows of which the same ones do."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for change, after in sorted(zip(changes, afters, strict=True), key=lambda pair: pair[1].id):  # as others lock them
        columns = changed_columns(change.before, after)
        if after.state is not change.before.state:  # what is only remembered leaves the lease as it is
            columns["lease_until"] = change.lease_until
            columns["worker"] = worker if change.lease_until is not None else None
        row = {"its_id": after.id, "its_version": change.before.version, **columns}
        alike[tuple(columns)].append(row)
    for rows in alike.values():
        if transaction.connection.execute(UPDATE_DELIVERY, rows).rowcount != len(rows):
            raise ConcurrentUpdateError(sorted(row["its_id"] for row in rows))


def _audit_entry(change: StateChange, after: Delivery, by: Actor) -> dict[str, object]:
    event = change.event  # an order has its own reason, whatever kept the delivery back before
    reason = event.reason if isinstance(event, Cancelled | RetractionRequested) else after.reason
    detail = {
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
    """Whether it is still to be found in its account's list, for what it is or to be taken down."""
    is_unseen = delivery.state is State.RETRACTING and delivery.receipt is None
    return delivery.state is State.UNKNOWN or is_unseen


def _resume_blocked(
    transaction: Transaction, resolved: Sequence[Delivery], afters: Sequence[Delivery], now: datetime
) -> None:
    """Let what waited for a doubt's end be tried again, whatever else may keep it back."""
    still = {after.id for after in afters if _is_unresolved(after)}
    for login, account in sorted({(doubt.login, doubt.account) for doubt in resolved if doubt.id not in still}):
        its = {"its_login": login, "its_account": account}
        if transaction.connection.execute(_BLOCKED_DELIVERIES, its).first() is not None:
            extend_blocked_deadlines(transaction, login, account, now)
            transaction.connection.execute(_UNBLOCK_ACCOUNT, its)


def extend_blocked_deadlines(transaction: Transaction, login: LoginId, account: AccountId, now: datetime) -> None:
    """Give what waits on an account behind a doubt its whole time once more, as far as it was in time until now."""
    transaction.connection.execute(_EXTEND_DEADLINES, {"its_login": login, "its_account": account, "now": now})


def _write_alerts(transaction: Transaction, before: Delivery, after: Delivery, by: Actor) -> None:
    """Clear the alerts that a step ends, and write the one that it begins."""
    if before.state is after.state:
        return
    is_freed = before.reason == BLOCKED_BY_UNKNOWN and after.state not in {State.DUE, State.CLAIMED}
    if before.state in TEMPORARY_ALERT_STATES or is_freed:
        clear_alerts(transaction, subject_of(after), after.updated_at)
    elif before.failures and before.state in _OUTBOUND_STATES and after.state not in _OUTBOUND_STATES:
        clear_alerts(transaction, subject_of(after), after.updated_at, CANNOT_SEND)
    code = _alert_code(after, by)
    if code is not None:
        raise_delivery_alert(transaction, after.updated_at, code, after, {"reason": after.reason or ""})


def _alert_code(after: Delivery, by: Actor) -> str | None:
    if after.state in ALERTED_STATES and by.role is not Role.PERSON:
        return None if after.reason == SUPERSEDED else f"{after.state}.{after.reason}"
    if after.state is State.RETRACTING:
        return "retracting"
    if after.state is State.PUBLISHED and after.desired in DESIRED_NO_SEND:
        return "published_after_cancellation"
    if after.state is State.PUBLISHED and after.desired is DesiredState.EDITED:
        return "published_after_edit"
    return None
