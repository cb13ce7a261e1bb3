"""Actions of people that reach beyond one delivery: pauses, cancellations, modes; and the heartbeats of daemons."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, case, delete, insert, literal, or_, select, update

from publisher.domain.account import AccountId, LoginId, Mode
from publisher.domain.delivery import (
    MAINTENANCE,
    WAITING_STATES,
    Actor,
    Delivery,
    Expired,
    Resolved,
    RetractionRequested,
    State,
)
from publisher.domain.post import ONCE_OCCURRENCE, DeliveryId, Post, PostId, make_occurrence
from publisher.domain.reports import is_not_started
from publisher.runtime.clock import ClockReading
from publisher.store.audit.append import clear_alerts, lock_planning, pause_account, write_audit
from publisher.store.db.database import Transaction
from publisher.store.db.filters import in_state, is_in_scope
from publisher.store.db.tables import (
    AUDIT,
    DELIVERY,
    MODE_OVERRIDE,
    PAUSE,
    POST,
    WORKER,
    WORKER_STATE,
    load_post,
    to_delivery,
)
from publisher.store.plan.posts import AuditAction, cancel_matching
from publisher.store.recovery.recover import (
    clear_acceptance,
    is_original_database,
    recover_lost_attempts,
    set_worker_state,
)
from publisher.store.store import StateChange, Store
from publisher.store.system_alerts import ACCOUNT_JOBS, CLOCK_SUBJECT_PREFIX, subject_of_job

SCOPE_ALL = "all"
MAYBE_PUBLISHED_STATES = [State.PUBLISHED, State.SUBMITTED, State.UNKNOWN, State.HELD, State.SENDING]
"""States in which a retraction has something to delete, or may have."""


class OperatorActions:
    """The actions of named people, each with its audit entry in the same transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def pause(self, scope: str, by: Actor, reason: str) -> None:
        """Stop new calls in a scope: `all`, `platform:P`, `account:A` or `post:P`."""

        def write_pause(transaction: Transaction) -> None:
            now = self.store.runtime.now()
            transaction.connection.execute(delete(PAUSE).where(PAUSE.c.scope == scope))
            transaction.connection.execute(insert(PAUSE).values(scope=scope, at=now, by=by.name, reason=reason))
            write_audit(transaction, now, by, event="paused", subject=scope, detail={"reason": reason})

        await self.store.database.write(write_pause)

    async def pause_account(self, account: AccountId, by: Actor, reason: str) -> None:
        """Pause an account that cannot work, with an alert; do nothing if it is paused already."""
        await self.store.database.write(
            lambda transaction: pause_account(transaction, account, at=self.store.runtime.now(), by=by, reason=reason)
        )

    async def resume(self, scope: str, by: Actor) -> bool:
        """Lift a pause and clear its alert. Returns True if there was one.

        Deliveries that only the pause delayed beyond their allowed delay expire. Time in which their login was busy
        does not excuse them.
        """

        def lift_pause(transaction: Transaction) -> bool:
            now, connection = self.store.runtime.now(), transaction.connection
            since = connection.scalar(select(PAUSE.c.at).where(PAUSE.c.scope == scope))
            if since is not None:
                paused_at = literal(since, DELIVERY.c.due_at.type)
                delayed_since = case((DELIVERY.c.due_at > paused_at, DELIVERY.c.due_at), else_=paused_at)
                late = select(DELIVERY).where(
                    in_state(DELIVERY, State.DUE, State.RETRYING),
                    is_in_scope(DELIVERY, scope),
                    DELIVERY.c.first_attempt_deadline.is_not(None),
                    delayed_since + DELIVERY.c.max_delay < literal(now, DELIVERY.c.due_at.type),
                )
                rows = connection.execute(late.with_for_update()).mappings()
                changes = [StateChange(before=to_delivery(row), event=Expired(reason="too_late")) for row in rows.all()]
                self.store.transition_all(transaction, changes, MAINTENANCE)
            result = connection.execute(delete(PAUSE).where(PAUSE.c.scope == scope))
            if scope == SCOPE_ALL:
                clear_acceptance(connection)
            clear_alerts(transaction, scope, now)
            write_audit(transaction, now, by, event="resumed", subject=scope)
            return bool(result.rowcount)

        return await self.store.database.write(lift_pause)

    async def cancel_post(self, post: PostId, by: Actor, reason: str) -> int:
        """Cancel every delivery of a post that is not published, now and in future. Returns how many it concerned."""

        def cancel(transaction: Transaction) -> int:
            lock_planning(transaction)
            transaction.connection.execute(update(POST).where(POST.c.id == post).values(is_cancelled=True))
            now, detail = self.store.runtime.now(), {"reason": reason}
            write_audit(transaction, now, by, event="cancelled", subject=post, detail=detail)
            return cancel_matching(self.store, transaction, {"post": post}, by, reason="cancelled_by_person")

        return await self.store.database.write(cancel)

    async def retract(self, post: PostId, account: AccountId | None, by: Actor, reason: str) -> list[Delivery]:
        """Order the deletion of what is published or may be, and cancel the rest. Returns what is to be deleted."""
        target = {"post": post} | ({"account": account} if account else {})

        def request_retraction(transaction: Transaction) -> list[Delivery]:
            connection = transaction.connection
            lock_planning(transaction)
            if account is None:
                connection.execute(update(POST).where(POST.c.id == post).values(is_cancelled=True))
            now = self.store.runtime.now()
            write_audit(transaction, now, by, event="retraction_requested", subject=post, detail={"reason": reason})
            conditions = [DELIVERY.c[column] == value for column, value in target.items()]
            # locked first: nothing may become published between the two queries below and be cancelled instead
            connection.execute(select(DELIVERY.c.id).where(*conditions).order_by(DELIVERY.c.id).with_for_update())
            may_be_published = or_(
                DELIVERY.c.state.in_([state.value for state in MAYBE_PUBLISHED_STATES]),
                and_(in_state(DELIVERY, *WAITING_STATES), DELIVERY.c.parts_done > 0),
            )
            rows = connection.execute(select(DELIVERY).where(*conditions, may_be_published)).mappings().all()
            request = RetractionRequested(reason=reason)
            retracted = [self.store.transition(transaction, to_delivery(row), request, by) for row in rows]
            cancel_matching(self.store, transaction, target, by, reason="cancelled_by_person")
            return retracted

        return await self.store.database.write(request_retraction)

    async def send_now(self, post: PostId, by: Actor) -> int:
        """Make a planned one-off post due now; its validity starts now too. Returns how many deliveries it concerns."""

        def make_due(transaction: Transaction) -> int:
            now = self.store.runtime.now()
            body = transaction.connection.scalars(select(POST.c.body).where(POST.c.id == post)).one()
            expires_at = make_occurrence(load_post(body), ONCE_OCCURRENCE, now).expires_at
            result = transaction.connection.execute(
                update(DELIVERY)
                .where(DELIVERY.c.post == post, DELIVERY.c.state == State.PENDING.value)
                .values(
                    due_at=now,
                    next_action_at=now,
                    expires_at=expires_at,
                    updated_at=now,
                    first_attempt_deadline=literal(now, DELIVERY.c.due_at.type) + DELIVERY.c.max_delay,
                    version=DELIVERY.c.version + 1,
                )
            )
            write_audit(transaction, now, by, event="send_requested", subject=post)
            return result.rowcount

        return await self.store.database.write(make_due)

    async def prioritize(self, deliveries: Sequence[DeliveryId], post: Post, actions: Sequence[AuditAction]) -> None:
        """Make a correction's waiting deliveries urgent and due now; the validity of all starts now too."""

        def make_urgent(transaction: Transaction) -> None:
            now = self.store.runtime.now()
            expires_at = make_occurrence(post, ONCE_OCCURRENCE, now).expires_at
            has_called = DELIVERY.c.first_attempt_deadline.is_(None)
            values = {
                "is_urgent": True,
                "expires_at": expires_at,
                "max_delay": expires_at - now,  # the original may stay unknown for longer than most posts may be late
                "first_attempt_deadline": case((has_called, None), else_=literal(expires_at, DELIVERY.c.due_at.type)),
                "updated_at": now,
                "version": DELIVERY.c.version + 1,
            }
            corrections = update(DELIVERY).where(DELIVERY.c.id.in_(deliveries))
            due = corrections.where(DELIVERY.c.state.in_([State.DUE.value, State.RETRYING.value]))
            pending = corrections.where(DELIVERY.c.state == State.PENDING.value)
            transaction.connection.execute(due.values(values))
            transaction.connection.execute(pending.values(**values, due_at=now, next_action_at=now))
            for action in actions:
                write_audit(
                    transaction, now, action.by, event=action.event, subject=action.subject, detail=action.detail
                )

        await self.store.database.write(make_urgent)

    async def confirm_clock(self, by: Actor) -> ClockReading:
        """Confirm this machine's clock as it is now, so that a daemon that distrusts it continues."""
        reading, subject = self.store.runtime.read_clocks(), f"{CLOCK_SUBJECT_PREFIX}{self.store.worker}"

        def write_reading(transaction: Transaction) -> None:
            set_worker_state(
                transaction.connection, self.store.worker, clock_at=reading.at, clock_ticks=reading.monotonic_seconds
            )
            detail = {"at": reading.at.isoformat()}
            write_audit(transaction, reading.at, by, event="clock_confirmed", subject=subject, detail=detail)

        await self.store.database.write(write_reading)
        return reading

    async def confirmed_clock_reading(self) -> ClockReading | None:
        """Return the reading of this machine's clocks that a person confirmed last, if any."""
        query = select(WORKER_STATE.c.clock_at, WORKER_STATE.c.clock_ticks).where(
            WORKER_STATE.c.worker == self.store.worker, WORKER_STATE.c.clock_at.is_not(None)
        )
        row = await self.store.database.read(lambda connection: connection.execute(query).one_or_none())
        return ClockReading(at=row.clock_at, monotonic_seconds=row.clock_ticks) if row else None

    async def record_action(self, event: str, subject: str, by: Actor, detail: Mapping[str, str]) -> None:
        """Write an audit entry for an action that other modules carry out."""
        await self.store.database.write(
            lambda transaction: write_audit(
                transaction, self.store.runtime.now(), by, event=event, subject=subject, detail=detail
            )
        )

    async def register_worker(self) -> bool:
        """Record the start of this daemon. Returns False, and writes nothing, if the database was replaced."""
        return await self._write_heartbeat(is_start=True)

    async def heartbeat(self) -> bool:
        """Record that this daemon is alive. Returns False, and writes nothing, if the database was replaced."""
        return await self._write_heartbeat(is_start=False)

    async def _write_heartbeat(self, *, is_start: bool) -> bool:
        def write_worker(transaction: Transaction) -> bool:
            now, connection = self.store.runtime.now(), transaction.connection
            if not is_original_database(self.store.database, connection):
                return False
            process = {"host": socket.gethostname(), "pid": os.getpid(), "started_at": now}
            alive = {"heartbeat_at": now, "stopped_at": None}
            values = {**process, **alive} if is_start else alive
            result = connection.execute(update(WORKER).where(WORKER.c.id == self.store.worker).values(values))
            if result.rowcount == 0:
                connection.execute(insert(WORKER).values(id=self.store.worker, **process, **alive))
            return True

        return await self.store.database.write(write_worker)

    async def deregister_worker(self) -> None:
        """Record the orderly stop of this daemon; a replaced database keeps what it says of it."""

        def write_stop(transaction: Transaction) -> None:
            now = self.store.runtime.now()
            if not is_original_database(self.store.database, transaction.connection):
                return
            # once it has stopped, no other worker waits for its journal any more
            recover_lost_attempts(self.store, transaction)
            stopped = update(WORKER).where(WORKER.c.id == self.store.worker).values(stopped_at=now, heartbeat_at=now)
            transaction.connection.execute(stopped)

        await self.store.database.write(write_stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeOverride:
    """A mode that replaces the one of the settings, who set it, and why."""

    account: AccountId
    mode: Mode
    at: datetime
    by: str
    reason: str


def active_modes(store: Store, connection: Connection) -> Mapping[AccountId, Mode]:
    """Return each account's mode: the override if there is one, else the mode of the settings."""
    rows = connection.execute(select(MODE_OVERRIDE.c.account, MODE_OVERRIDE.c.mode))
    overrides = {row.account: Mode(row.mode) for row in rows}
    return {account: overrides.get(account, policy.account.mode) for account, policy in store.policies.items()}


class ModeOverrides:
    """The modes set at run time. Every intent reads them, so an override takes effect with the next call."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def set_override(self, account: AccountId, mode: Mode | None, by: Actor, reason: str) -> None:
        """Set an account's mode from now on; None returns it to the mode of the settings."""

        def write_mode(transaction: Transaction) -> None:
            now = self.store.runtime.now()
            transaction.connection.execute(delete(MODE_OVERRIDE).where(MODE_OVERRIDE.c.account == account))
            if mode is not None:
                row = {"account": account, "mode": mode.value, "at": now, "by": by.name, "reason": reason}
                transaction.connection.execute(insert(MODE_OVERRIDE).values(row))
            detail = {"mode": mode.value if mode else "settings", "reason": reason}
            write_audit(transaction, now, by, event="mode_changed", subject=f"account:{account}", detail=detail)

        await self.store.database.write(write_mode)

    async def list_overrides(self) -> Sequence[ModeOverride]:
        """Return the overrides in force, oldest first."""
        query = select(MODE_OVERRIDE).order_by(MODE_OVERRIDE.c.at)
        rows = await self.store.database.read(lambda connection: connection.execute(query).mappings().all())
        return [
            ModeOverride(**{**row, "account": AccountId(row["account"]), "mode": Mode(row["mode"])}) for row in rows
        ]


class Offboarding:
    """The steps of offboarding an account. Every method is one transaction and idempotent."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def cancel_waiting(self, account: AccountId, by: Actor, reason: str) -> int:
        """Cancel what waits on an account; no unknown delivery will return to waiting. Returns how many end."""

        def cancel(transaction: Transaction) -> int:
            lock_planning(transaction)
            rows = transaction.connection.execute(select(DELIVERY).where(DELIVERY.c.account == account)).mappings()
            waiting = [delivery for delivery in map(to_delivery, rows) if is_not_started(delivery)]
            resolution = Resolved(to=State.CANCELLED, reason=reason)
            changes = [StateChange(before=one, event=resolution) for one in waiting if one.state is State.HELD]
            self.store.transition_all(transaction, changes, by)
            cancel_matching(self.store, transaction, {"account": account}, by, reason="account_offboarded")
            return len(waiting)

        return await self.store.database.write(cancel)

    async def begin(self, account: AccountId, login: LoginId, by: Actor, reason: str) -> None:
        """Record that an account's offboarding was requested, and which login it had."""
        detail = {"login": login, "reason": reason}
        await self.store.database.write(
            lambda transaction: self._record(transaction, account, "offboarding_requested", by, detail)
        )

    async def finish(self, account: AccountId, login: LoginId, by: Actor, *, is_shared: bool) -> None:
        """Record that nothing is left to do for an account, and clear its alerts; those of a shared login stay."""

        def finish_offboarding(transaction: Transaction) -> None:
            subjects = [f"account:{account}", f"account:{account}/by-hand", *([] if is_shared else [f"login:{login}"])]
            subjects += (subject_of_job(job, account) for job in ACCOUNT_JOBS)
            for subject in subjects:
                clear_alerts(transaction, subject, self.store.runtime.now())
            self._record(transaction, account, "offboarded", by, {"login": login})

        await self.store.database.write(finish_offboarding)

    def _record(
        self, transaction: Transaction, account: AccountId, event: str, by: Actor, detail: Mapping[str, str]
    ) -> None:
        """Write an audit entry, unless the newest one about the account already has this event or `offboarded`."""
        subject = f"account:{account}"
        newest = select(AUDIT.c.event).where(AUDIT.c.subject == subject).order_by(AUDIT.c.id.desc()).limit(1)
        if transaction.connection.scalar(newest) not in {event, "offboarded"}:
            write_audit(transaction, self.store.runtime.now(), by, event=event, subject=subject, detail=detail)
