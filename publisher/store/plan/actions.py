"""What people order beyond one delivery: pauses, withdrawals; and a daemon's signs of life."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, case, delete, insert, literal, or_, select, update

from publisher.domain.account import AccountId, Mode
from publisher.domain.delivery import WAITING_STATES, Delivery, State
from publisher.domain.events import MAINTENANCE, Actor, Expired, RetractionRequested
from publisher.domain.post import ONCE_OCCURRENCE, Post, PostId, make_occurrence
from publisher.domain.rendered import DeliveryId
from publisher.runtime.clock import ClockReading
from publisher.store.audit.append import clear_alerts, lock_planning, pause_account, write_audit
from publisher.store.db.database import Transaction
from publisher.store.db.filters import in_state, is_in_scope
from publisher.store.db.mappers import (
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
from publisher.store.recovery.identity import clear_acceptance, is_original_database, set_worker_state
from publisher.store.recovery.recover import recover_lost_attempts
from publisher.store.store import StateChange, Store

SCOPE_ALL = "all"
CLOCK_SUBJECT_PREFIX = "clock:"
"""Begins the subject of what is said of a worker's clock."""
MAYBE_PUBLISHED_STATES = [State.PUBLISHED, State.SUBMITTED, State.UNKNOWN, State.HELD, State.SENDING]
"""Where a retraction has something to take down, or may have."""
_HAS_PUBLISHED_PARTS = and_(in_state(DELIVERY, *WAITING_STATES), DELIVERY.c.parts_done > 0)


class OperatorActions:
    """The acts of named people, each with its audit entry in the same transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def pause(self, scope: str, by: Actor, reason: str) -> None:
        """Let no call start in a scope: `all`, `platform:P`, `account:A` or `post:P`."""

        def operation(transaction: Transaction) -> None:
            now = self.store.runtime.now()
            transaction.connection.execute(delete(PAUSE).where(PAUSE.c.scope == scope))
            transaction.connection.execute(insert(PAUSE).values(scope=scope, at=now, by=by.name, reason=reason))
            write_audit(transaction, now, by, event="paused", subject=scope, detail={"reason": reason})

        await self.store.database.write(operation)

    async def pause_account(self, account: AccountId, by: Actor, reason: str) -> None:
        """Pause an account that cannot work, with an alert; nothing happens when it is paused already."""

        def operation(transaction: Transaction) -> None:
            pause_account(transaction, account, at=self.store.runtime.now(), by=by, reason=reason)

        await self.store.database.write(operation)

    async def resume(self, scope: str, by: Actor) -> bool:
        """Lift a pause and clear its alert. Returns whether there was one."""

        def operation(transaction: Transaction) -> bool:
            now = self.store.runtime.now()
            self._expire_paused(transaction, scope, now)
            done = transaction.connection.execute(delete(PAUSE).where(PAUSE.c.scope == scope))
            if scope == SCOPE_ALL:
                clear_acceptance(transaction.connection)
            clear_alerts(transaction, scope, now)
            write_audit(transaction, now, by, event="resumed", subject=scope)
            return bool(done.rowcount)

        return await self.store.database.write(operation)

    def _expire_paused(self, transaction: Transaction, scope: str, now: datetime) -> None:
        """End what a pause alone kept back for longer than it may be late: a busy login is no excuse for that time."""
        since = transaction.connection.scalar(select(PAUSE.c.at).where(PAUSE.c.scope == scope))
        if since is None:
            return
        paused_at = literal(since, DELIVERY.c.due_at.type)
        began = case((DELIVERY.c.due_at > paused_at, DELIVERY.c.due_at), else_=paused_at)
        late = select(DELIVERY).where(
            in_state(DELIVERY, State.DUE, State.RETRYING),
            is_in_scope(DELIVERY, scope),
            DELIVERY.c.first_attempt_deadline.is_not(None),
            began + DELIVERY.c.max_delay < literal(now, DELIVERY.c.due_at.type),
        )
        rows = transaction.connection.execute(late.with_for_update()).mappings()
        changes = [StateChange(before=to_delivery(row), event=Expired(reason="too_late")) for row in rows.all()]
        self.store.transition_all(transaction, changes, MAINTENANCE)

    async def cancel_post(self, post: PostId, by: Actor, reason: str) -> int:
        """Cancel all of a post that is not live, now and later. Returns how many deliveries it concerned."""

        def operation(transaction: Transaction) -> int:
            lock_planning(transaction)
            transaction.connection.execute(update(POST).where(POST.c.id == post).values(is_cancelled=True))
            detail = {"reason": reason}
            write_audit(transaction, self.store.runtime.now(), by, event="cancelled", subject=post, detail=detail)
            return cancel_matching(self.store, transaction, {"post": post}, by, reason="cancelled_by_person")

        return await self.store.database.write(operation)

    async def retract(self, post: PostId, account: AccountId | None, by: Actor, reason: str) -> list[Delivery]:
        """Order down what is live or may be, and cancel the rest. Returns what is to be taken down."""
        target = {"post": post} | ({"account": account} if account else {})

        def operation(transaction: Transaction) -> list[Delivery]:
            lock_planning(transaction)
            if account is None:
                transaction.connection.execute(update(POST).where(POST.c.id == post).values(is_cancelled=True))
            now = self.store.runtime.now()
            write_audit(transaction, now, by, event="retraction_requested", subject=post, detail={"reason": reason})
            conditions = [DELIVERY.c[column] == value for column, value in target.items()]
            locked = select(DELIVERY.c.id).where(*conditions).order_by(DELIVERY.c.id).with_for_update()
            transaction.connection.execute(locked)  # what is not there yet must not get there before it is withdrawn
            is_there = or_(
                DELIVERY.c.state.in_([state.value for state in MAYBE_PUBLISHED_STATES]), _HAS_PUBLISHED_PARTS
            )
            rows = transaction.connection.execute(select(DELIVERY).where(*conditions, is_there))
            ordered = [
                self.store.transition(transaction, to_delivery(row), RetractionRequested(reason=reason), by)
                for row in rows.mappings().all()
            ]
            cancel_matching(self.store, transaction, target, by, reason="cancelled_by_person")
            return ordered

        return await self.store.database.write(operation)

    async def send_now(self, post: PostId, by: Actor) -> int:
        """Make a filed one-off post due at once. Returns how many deliveries it concerned."""

        def operation(transaction: Transaction) -> int:
            now = self.store.runtime.now()
            body = transaction.connection.scalars(select(POST.c.body).where(POST.c.id == post)).one()
            expires_at = make_occurrence(
                load_post(body), ONCE_OCCURRENCE, now
            ).expires_at  # it holds true from now, not from then
            values = {"due_at": now, "next_action_at": now, "expires_at": expires_at, "updated_at": now}
            last_first_call_at = literal(now, DELIVERY.c.due_at.type) + DELIVERY.c.max_delay
            done = transaction.connection.execute(
                update(DELIVERY)
                .where(DELIVERY.c.post == post, DELIVERY.c.state == State.PENDING.value)
                .values(**values, first_attempt_deadline=last_first_call_at, version=DELIVERY.c.version + 1)
            )
            write_audit(transaction, now, by, event="send_requested", subject=post)
            return done.rowcount

        return await self.store.database.write(operation)

    async def prioritize(self, deliveries: Sequence[DeliveryId], post: Post, actions: Sequence[AuditAction]) -> None:
        """Let a correction's waiting deliveries go at once, before all else, for as long as it holds true."""

        def operation(transaction: Transaction) -> None:
            now = self.store.runtime.now()
            expires_at = make_occurrence(post, ONCE_OCCURRENCE, now).expires_at
            has_called = DELIVERY.c.first_attempt_deadline.is_(None)
            values = {
                "is_urgent": True,
                "expires_at": expires_at,
                "max_delay": expires_at - now,  # a doubt about the original may take longer than most posts may
                "first_attempt_deadline": case((has_called, None), else_=literal(expires_at, DELIVERY.c.due_at.type)),
                "updated_at": now,
                "version": DELIVERY.c.version + 1,
            }
            mine = DELIVERY.c.id.in_(deliveries)
            pending = and_(mine, DELIVERY.c.state == State.PENDING.value)
            waiting = and_(mine, DELIVERY.c.state.in_([State.DUE.value, State.RETRYING.value]))
            transaction.connection.execute(update(DELIVERY).where(waiting).values(values))
            transaction.connection.execute(
                update(DELIVERY).where(pending).values(**values, due_at=now, next_action_at=now)
            )
            for act in actions:
                write_audit(transaction, now, act.by, event=act.event, subject=act.subject, detail=act.detail)

        await self.store.database.write(operation)

    async def confirm_clock(self, by: Actor) -> ClockReading:
        """Vouch for this machine's clock as it stands now; a daemon that doubts it goes on. Returns what it shows."""
        reading, key = self.store.runtime.read_clocks(), f"{CLOCK_SUBJECT_PREFIX}{self.store.worker}"

        def operation(transaction: Transaction) -> None:
            set_worker_state(
                transaction.connection, self.store.worker, clock_at=reading.at, clock_ticks=reading.monotonic_seconds
            )
            detail = {"at": reading.at.isoformat()}
            write_audit(transaction, reading.at, by, event="clock_confirmed", subject=key, detail=detail)

        await self.store.database.write(operation)
        return reading

    async def confirmed_clock_reading(self) -> ClockReading | None:
        """Return the reading of this machine's clocks that a person vouched for last, if any."""
        query = select(WORKER_STATE.c.clock_at, WORKER_STATE.c.clock_ticks)
        mine = query.where(WORKER_STATE.c.worker == self.store.worker, WORKER_STATE.c.clock_at.is_not(None))
        row = await self.store.database.read(lambda connection: connection.execute(mine).one_or_none())
        return ClockReading(at=row.clock_at, monotonic_seconds=row.clock_ticks) if row else None

    async def record_action(self, event: str, subject: str, by: Actor, detail: Mapping[str, str]) -> None:
        """Write down who gave an order that other rooms carry out."""

        def operation(transaction: Transaction) -> None:
            write_audit(transaction, self.store.runtime.now(), by, event=event, subject=subject, detail=detail)

        await self.store.database.write(operation)

    async def register_worker(self) -> bool:
        """Write down that this daemon has started; not in a database that was put back, which is said by False."""
        return await self._write_heartbeat(started=True)

    async def heartbeat(self) -> bool:
        """Give a sign of life, in the same way."""
        return await self._write_heartbeat(started=False)

    async def deregister_worker(self) -> None:
        """Write down that this daemon has stopped in order."""

        def operation(transaction: Transaction) -> None:
            now = self.store.runtime.now()
            if not is_original_database(self.store.database, transaction.connection):
                return  # what it says of us must stay as it was
            recover_lost_attempts(
                self.store, transaction
            )  # nobody waits any more for a journal whose worker has stopped
            transaction.connection.execute(
                update(WORKER).where(WORKER.c.id == self.store.worker).values(stopped_at=now, heartbeat_at=now)
            )

        await self.store.database.write(operation)

    async def _write_heartbeat(self, *, started: bool) -> bool:
        def operation(transaction: Transaction) -> bool:
            now = self.store.runtime.now()
            if not is_original_database(self.store.database, transaction.connection):
                return False
            values: dict[str, object] = {"heartbeat_at": now, "stopped_at": None}
            if started:
                values |= {"host": socket.gethostname(), "pid": os.getpid(), "started_at": now}
            done = transaction.connection.execute(update(WORKER).where(WORKER.c.id == self.store.worker).values(values))
            if done.rowcount == 0:
                row = {"id": self.store.worker, "host": socket.gethostname(), "pid": os.getpid(), "started_at": now}
                transaction.connection.execute(insert(WORKER).values({**row, **values}))
            return True

        return await self.store.database.write(operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeOverride:
    """A mode that stands instead of the settings', who ordered it, and why."""

    account: AccountId
    mode: Mode
    at: datetime
    by: str
    reason: str


def active_modes(store: Store, connection: Connection) -> Mapping[AccountId, Mode]:
    """Give each account's mode: what people ordered, else what the settings say."""
    ordered = {
        row.account: Mode(row.mode) for row in connection.execute(select(MODE_OVERRIDE.c.account, MODE_OVERRIDE.c.mode))
    }
    return {key: ordered.get(key, terms.account.mode) for key, terms in store.policies.items()}


class ModeOverrides:
    """The modes ordered at run time. Every intent asks for them, so an order holds from the next call on."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def set_override(self, account: AccountId, mode: Mode | None, by: Actor, reason: str) -> None:
        """Let an account publish in this mode from now on; None gives it back to the settings."""

        def operation(transaction: Transaction) -> None:
            now = self.store.runtime.now()
            transaction.connection.execute(delete(MODE_OVERRIDE).where(MODE_OVERRIDE.c.account == account))
            if mode is not None:
                row = {"account": account, "mode": mode.value, "at": now, "by": by.name, "reason": reason}
                transaction.connection.execute(insert(MODE_OVERRIDE).values(row))
            detail = {"mode": mode.value if mode else "settings", "reason": reason}
            write_audit(transaction, now, by, event="mode_changed", subject=f"account:{account}", detail=detail)

        await self.store.database.write(operation)

    async def list_overrides(self) -> Sequence[ModeOverride]:
        """Give the orders in force."""
        query = select(MODE_OVERRIDE).order_by(MODE_OVERRIDE.c.at)
        rows = await self.store.database.read(lambda connection: connection.execute(query).mappings().all())
        return [
            ModeOverride(**{**row, "account": AccountId(row["account"]), "mode": Mode(row["mode"])}) for row in rows
        ]
