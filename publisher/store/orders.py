"""What people order beyond one delivery: pauses, withdrawals; and a daemon's signs of life."""

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, case, delete, insert, literal, or_, select, update

from publisher.domain.account import AccountId
from publisher.domain.delivery import WAITING, Delivery, State
from publisher.domain.events import KEEPER, Actor, ExpiryPassed, RetractOrdered
from publisher.domain.post import ONCE, Post, PostId, occurrence_of
from publisher.domain.rendition import DeliveryId
from publisher.store.books import Books, Change
from publisher.store.conditions import is_in_scope, stands
from publisher.store.engine import Unit
from publisher.store.home import go_on, is_at_home, set_worker_state
from publisher.store.ledger import clear_alerts, pause_account, take_turn, write_audit
from publisher.store.recovery import bring_back
from publisher.store.registry import Act, withdraw_where
from publisher.store.rows import DELIVERY, PAUSE, POST, WORKER, WORKER_STATE, read_post, to_delivery
from publisher.world import Clocks

ALL = "all"
CLOCK = "clock:"
"""Begins the subject of what is said of a worker's clock."""
MAYBE_LIVE = [State.PUBLISHED, State.SUBMITTED, State.UNKNOWN, State.HELD, State.SENDING]
"""Where a retraction has something to take down, or may have."""
_HAS_LIVE_FLOORS = and_(stands(DELIVERY, *WAITING), DELIVERY.c.floors_done > 0)


class Orders:
    """The acts of named people, each with its audit entry in the same transaction."""

    def __init__(self, books: Books) -> None:
        self.books = books

    async def pause(self, scope: str, by: Actor, reason: str) -> None:
        """Let no call start in a scope: `all`, `platform:P`, `account:A` or `post:P`."""

        def operation(unit: Unit) -> None:
            now = self.books.world.now()
            unit.connection.execute(delete(PAUSE).where(PAUSE.c.scope == scope))
            unit.connection.execute(insert(PAUSE).values(scope=scope, at=now, by=by.name, reason=reason))
            write_audit(unit, now, by, event="paused", subject=scope, detail={"reason": reason})

        await self.books.database.write(operation)

    async def stop_account(self, account: AccountId, by: Actor, reason: str) -> None:
        """Pause an account that cannot work, with an alert; nothing happens when it is paused already."""

        def operation(unit: Unit) -> None:
            pause_account(unit, account, at=self.books.world.now(), by=by, reason=reason)

        await self.books.database.write(operation)

    async def resume(self, scope: str, by: Actor) -> bool:
        """Lift a pause and clear its alert. Returns whether there was one."""

        def operation(unit: Unit) -> bool:
            now = self.books.world.now()
            self._expire_paused(unit, scope, now)
            done = unit.connection.execute(delete(PAUSE).where(PAUSE.c.scope == scope))
            if scope == ALL:
                go_on(unit.connection)
            clear_alerts(unit, scope, now)
            write_audit(unit, now, by, event="resumed", subject=scope)
            return bool(done.rowcount)

        return await self.books.database.write(operation)

    def _expire_paused(self, unit: Unit, scope: str, now: datetime) -> None:
        """End what a pause alone kept back for longer than it may be late: a busy login is no excuse for that time."""
        since = unit.connection.scalar(select(PAUSE.c.at).where(PAUSE.c.scope == scope))
        if since is None:
            return
        paused_at = literal(since, DELIVERY.c.due_at.type)
        began = case((DELIVERY.c.due_at > paused_at, DELIVERY.c.due_at), else_=paused_at)
        late = select(DELIVERY).where(
            stands(DELIVERY, State.DUE, State.RETRYING),
            is_in_scope(DELIVERY, scope),
            DELIVERY.c.last_first_call_at.is_not(None),
            began + DELIVERY.c.max_delay < literal(now, DELIVERY.c.due_at.type),
        )
        rows = unit.connection.execute(late.with_for_update()).mappings()
        changes = [Change(before=to_delivery(row), event=ExpiryPassed(reason="too_late")) for row in rows.all()]
        self.books.change_all(unit, changes, KEEPER)

    async def withdraw(self, post: PostId, by: Actor, reason: str) -> int:
        """Cancel all of a post that is not live, now and later. Returns how many deliveries it concerned."""

        def operation(unit: Unit) -> int:
            take_turn(unit)
            unit.connection.execute(update(POST).where(POST.c.id == post).values(is_withdrawn=True))
            detail = {"reason": reason}
            write_audit(unit, self.books.world.now(), by, event="cancelled", subject=post, detail=detail)
            return withdraw_where(self.books, unit, {"post": post}, by, reason="withdrawn")

        return await self.books.database.write(operation)

    async def retract(self, post: PostId, account: AccountId | None, by: Actor, reason: str) -> list[Delivery]:
        """Order down what is live or may be, and cancel the rest. Returns what is to be taken down."""
        target = {"post": post} | ({"account": account} if account else {})

        def operation(unit: Unit) -> list[Delivery]:
            take_turn(unit)
            if account is None:
                unit.connection.execute(update(POST).where(POST.c.id == post).values(is_withdrawn=True))
            now = self.books.world.now()
            write_audit(unit, now, by, event="retraction_requested", subject=post, detail={"reason": reason})
            conditions = [DELIVERY.c[column] == value for column, value in target.items()]
            locked = select(DELIVERY.c.id).where(*conditions).order_by(DELIVERY.c.id).with_for_update()
            unit.connection.execute(locked)  # what is not there yet must not get there before it is withdrawn
            is_there = or_(DELIVERY.c.state.in_([state.value for state in MAYBE_LIVE]), _HAS_LIVE_FLOORS)
            rows = unit.connection.execute(select(DELIVERY).where(*conditions, is_there))
            ordered = [
                self.books.change(unit, to_delivery(row), RetractOrdered(reason=reason), by)
                for row in rows.mappings().all()
            ]
            withdraw_where(self.books, unit, target, by, reason="withdrawn")
            return ordered

        return await self.books.database.write(operation)

    async def send_now(self, post: PostId, by: Actor) -> int:
        """Make a filed one-off post due at once. Returns how many deliveries it concerned."""

        def operation(unit: Unit) -> int:
            now = self.books.world.now()
            body = unit.connection.scalars(select(POST.c.body).where(POST.c.id == post)).one()
            expires_at = occurrence_of(read_post(body), ONCE, now).expires_at  # it holds true from now, not from then
            values = {"due_at": now, "next_at": now, "expires_at": expires_at, "updated_at": now}
            last_first_call_at = literal(now, DELIVERY.c.due_at.type) + DELIVERY.c.max_delay
            done = unit.connection.execute(
                update(DELIVERY)
                .where(DELIVERY.c.post == post, DELIVERY.c.state == State.PENDING.value)
                .values(**values, last_first_call_at=last_first_call_at, version=DELIVERY.c.version + 1)
            )
            write_audit(unit, now, by, event="sent_now", subject=post)
            return done.rowcount

        return await self.books.database.write(operation)

    async def put_first(self, deliveries: Sequence[DeliveryId], post: Post, acts: Sequence[Act]) -> None:
        """Let a correction's waiting deliveries go at once, before all else, for as long as it holds true."""

        def operation(unit: Unit) -> None:
            now = self.books.world.now()
            expires_at = occurrence_of(post, ONCE, now).expires_at
            has_called = DELIVERY.c.last_first_call_at.is_(None)
            values = {
                "is_urgent": True,
                "expires_at": expires_at,
                "max_delay": expires_at - now,  # a doubt about the original may take longer than most posts may
                "last_first_call_at": case((has_called, None), else_=literal(expires_at, DELIVERY.c.due_at.type)),
                "updated_at": now,
                "version": DELIVERY.c.version + 1,
            }
            mine = DELIVERY.c.id.in_(deliveries)
            pending = and_(mine, DELIVERY.c.state == State.PENDING.value)
            waiting = and_(mine, DELIVERY.c.state.in_([State.DUE.value, State.RETRYING.value]))
            unit.connection.execute(update(DELIVERY).where(waiting).values(values))
            unit.connection.execute(update(DELIVERY).where(pending).values(**values, due_at=now, next_at=now))
            for act in acts:
                write_audit(unit, now, act.by, event=act.event, subject=act.subject, detail=act.detail)

        await self.books.database.write(operation)

    async def confirm_clock(self, by: Actor) -> Clocks:
        """Vouch for this machine's clock as it stands now; a daemon that doubts it goes on. Returns what it shows."""
        reading, key = self.books.world.clocks(), f"{CLOCK}{self.books.worker}"

        def operation(unit: Unit) -> None:
            set_worker_state(unit.connection, self.books.worker, clock_at=reading.at, clock_ticks=reading.ticks)
            detail = {"at": reading.at.isoformat()}
            write_audit(unit, reading.at, by, event="clock_confirmed", subject=key, detail=detail)

        await self.books.database.write(operation)
        return reading

    async def clock_reading(self) -> Clocks | None:
        """Return the reading of this machine's clocks that a person vouched for last, if any."""
        query = select(WORKER_STATE.c.clock_at, WORKER_STATE.c.clock_ticks)
        mine = query.where(WORKER_STATE.c.worker == self.books.worker, WORKER_STATE.c.clock_at.is_not(None))
        row = await self.books.database.read(lambda connection: connection.execute(mine).one_or_none())
        return Clocks(at=row.clock_at, ticks=row.clock_ticks) if row else None

    async def record(self, event: str, subject: str, by: Actor, detail: Mapping[str, str]) -> None:
        """Write down who gave an order that other rooms carry out."""

        def operation(unit: Unit) -> None:
            write_audit(unit, self.books.world.now(), by, event=event, subject=subject, detail=detail)

        await self.books.database.write(operation)

    async def sign_on(self) -> bool:
        """Write down that this daemon has started; not in a database that was put back, which is said by False."""
        return await self._sign(started=True)

    async def beat(self) -> bool:
        """Give a sign of life, in the same way."""
        return await self._sign(started=False)

    async def leave(self) -> None:
        """Write down that this daemon has stopped in order."""

        def operation(unit: Unit) -> None:
            now = self.books.world.now()
            if not is_at_home(self.books.database, unit.connection):
                return  # what it says of us must stay as it was
            bring_back(self.books, unit)  # nobody waits any more for a journal whose worker has stopped
            unit.connection.execute(
                update(WORKER).where(WORKER.c.id == self.books.worker).values(stopped_at=now, beat_at=now)
            )

        await self.books.database.write(operation)

    async def _sign(self, *, started: bool) -> bool:
        def operation(unit: Unit) -> bool:
            now = self.books.world.now()
            if not is_at_home(self.books.database, unit.connection):
                return False
            values: dict[str, object] = {"beat_at": now, "stopped_at": None}
            if started:
                values |= {"host": socket.gethostname(), "pid": os.getpid(), "started_at": now}
            done = unit.connection.execute(update(WORKER).where(WORKER.c.id == self.books.worker).values(values))
            if done.rowcount == 0:
                row = {"id": self.books.worker, "host": socket.gethostname(), "pid": os.getpid(), "started_at": now}
                unit.connection.execute(insert(WORKER).values({**row, **values}))
            return True

        return await self.books.database.write(operation)
