"""The way of a delivery through the books: claim, intend, settle; doubt, learn; and what people order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, insert, or_, select, update

from publisher.domain.absence import shows_absence
from publisher.domain.delivery import ASKING, Attempt, Delivery, Lease, State
from publisher.domain.events import (
    AbsenceShown,
    Actor,
    Claimed,
    Event,
    ExpiryPassed,
    IntentWritten,
    Released,
    Role,
    Stopped,
)
from publisher.domain.outcome import (
    Blocked,
    CredentialExpired,
    Finding,
    HoldReason,
    Missing,
    NotSent,
    Outcome,
    Published,
    RateLimited,
    Rejected,
    Submitted,
    Unknown,
)
from publisher.domain.quota import DAY
from publisher.domain.rendition import DeliveryId, Parcel
from publisher.store.books import Books
from publisher.store.conditions import is_paused, original_is_live
from publisher.store.engine import Unit
from publisher.store.journal import Intent
from publisher.store.ledger import (
    end_attempt,
    owned_elsewhere,
    pause_account,
    read_row,
    subject_of,
    write_alert,
    write_audit,
)
from publisher.store.parcels import last_parcel, make_parcel, newest_id
from publisher.store.rows import (
    ATTEMPT,
    DELIVERY,
    LOGIN,
    LOOK,
    read_answer,
    to_attempt,
    to_delivery,
    to_look,
    write_answer,
)

TLS_FAILURES = 3
DELIVERER = Actor(role=Role.DELIVERER, name="deliverer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """No call may start now; `guard` names what said no."""

    guard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A delivery whose platform must be read, and the parcel of its last attempt, if it ever had one."""

    delivery: Delivery
    parcel: Parcel | None


class Outbox:
    """The books of all deliveries. Every method is one transaction; a second caller finds the work done."""

    def __init__(self, books: Books) -> None:
        self.books = books

    async def claim(self, limit: int) -> Sequence[Lease]:
        """Take the most urgent due delivery of each free login, for at most `limit` logins."""

        async def operation(unit: Unit) -> list[Lease]:
            candidates = await unit.connection.execute(self._claimable(self.books.world.now(), limit))
            wanted = [row.candidate for row in candidates if row.candidate is not None]
            rows = await unit.connection.execute(select(DELIVERY).where(DELIVERY.c.id.in_(wanted)))
            leases = [await self._take(unit, to_delivery(row)) for row in rows.mappings()]
            return [lease for lease in leases if lease is not None]

        leases = await self.books.database.write(operation)
        if leases:
            await self.books.world.failpoint("claim.after_commit")
        return leases

    def _claimable(self, now: datetime, limit: int) -> Select[Any]:
        inner = DELIVERY.alias("candidate")
        pick = (
            select(inner.c.id)
            .where(
                self._may_start(inner),
                inner.c.login == LOGIN.c.id,
                or_(inner.c.next_at.is_(None), inner.c.next_at <= now),
                or_(inner.c.is_urgent, LOGIN.c.routine_until <= now),
            )
            .order_by(inner.c.is_urgent.desc(), inner.c.due_at, inner.c.id)
            .limit(1)
            .scalar_subquery()
        )
        busy = exists().where(
            DELIVERY.c.login == LOGIN.c.id, DELIVERY.c.state.in_([State.CLAIMED.value, State.SENDING.value])
        )
        waiting = exists().where(DELIVERY.c.login == LOGIN.c.id, DELIVERY.c.state == State.DUE.value)
        urgent = waiting.where(DELIVERY.c.is_urgent)
        return (
            select(LOGIN.c.id, pick.label("candidate"))
            .where(LOGIN.c.rests_until <= now, waiting, ~busy)
            .order_by(urgent.desc())
            .limit(limit)
            .with_for_update(skip_locked=True, of=LOGIN)
        )

    def _may_start(self, row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
        return and_(
            row.c.state == State.DUE.value,
            row.c.account.in_(list(self.books.terms)),
            ~is_paused(row),
            original_is_live(row),
        )

    async def next_claim(self) -> datetime | None:
        """Give the instant at which the next due delivery may be claimed, or None when nothing due may go."""
        rests = case((DELIVERY.c.is_urgent, LOGIN.c.rests_until), else_=LOGIN.c.routine_until)
        query = (
            select(DELIVERY.c.next_at, LOGIN.c.rests_until, rests.label("routine_until"))
            .join(LOGIN, LOGIN.c.id == DELIVERY.c.login)
            .where(self._may_start(DELIVERY))
        )
        async with self.books.database.reading() as connection:
            rows = (await connection.execute(query)).all()
        ready = [max(filter(None, (row.next_at, row.rests_until, row.routine_until))) for row in rows]
        return min(ready, default=None)

    async def _take(self, unit: Unit, delivery: Delivery) -> Lease | None:
        now = self.books.world.now()
        if now >= delivery.expires_at or delivery.is_too_late(now):
            reason = "expired" if now >= delivery.expires_at else "too_late"
            await self.books.change(unit, delivery, ExpiryPassed(reason=reason), DELIVERER)
            return None
        until = max(now, delivery.due_at) + self.books.patience(delivery.account).lease
        taken = await self.books.change(unit, delivery, Claimed(), DELIVERER, lease_until=until)
        return Lease(
            delivery=taken.id,
            account=taken.account,
            login=taken.login,
            epoch=taken.epoch,
            due_at=taken.due_at,
            until=until,
        )

    async def intend(self, lease: Lease) -> Parcel | Declined:
        """Announce the call, durably, if every guard agrees; else give the lease back or end the delivery."""

        async def operation(unit: Unit) -> Parcel | Declined:
            row = await read_row(unit, lease.delivery)
            delivery = to_delivery(row)
            if delivery.state is not State.CLAIMED or delivery.epoch != lease.epoch:
                return Declined(guard="overtaken")
            if refused := await self._guard(unit, delivery):
                guard, event = refused
                await self.books.change(unit, delivery, event, DELIVERER)
                return Declined(guard=guard)
            return await self._write_intent(unit, delivery)

        return await self.books.database.write(operation)

    async def _guard(self, unit: Unit, delivery: Delivery) -> tuple[str, Event] | None:
        """Give the first guard that says no, and what follows; None when the call may start."""
        now = self.books.world.now()
        later = now + timedelta(seconds=5)
        if now >= delivery.expires_at:
            return "expired", ExpiryPassed()
        if now < delivery.due_at:
            return "not_due", Released(until=delivery.due_at)
        if not await _may_go(unit, delivery.id):
            return "paused", Released(until=later)
        if await self._doubts_crowd(unit, delivery):
            return "doubt_open", Released(until=later)
        login = (await unit.connection.execute(select(LOGIN).where(LOGIN.c.id == delivery.login))).mappings().one()
        allowed = login["rests_until"] if delivery.is_urgent else max(login["rests_until"], login["routine_until"])
        if now < allowed:
            return "quota", Released(until=allowed)
        return None

    async def _doubts_crowd(self, unit: Unit, delivery: Delivery) -> bool:
        """Whether one more post could push a post in doubt off the end of what the platform lets us read."""
        readable = self.books.terms[delivery.account].traits.readable
        if readable is None:
            return False
        doubtful = [State.SENDING.value, State.UNKNOWN.value, State.RETRACTING.value]
        oldest = (
            select(func.min(ATTEMPT.c.id))
            .join(DELIVERY, DELIVERY.c.id == ATTEMPT.c.delivery)
            .where(DELIVERY.c.account == delivery.account, DELIVERY.c.state.in_(doubtful))
            .where(ATTEMPT.c.number == DELIVERY.c.attempts)
            .scalar_subquery()
        )
        since = select(func.count()).where(ATTEMPT.c.account == delivery.account, ATTEMPT.c.id > oldest)
        return bool((await unit.connection.execute(since)).scalar_one() >= readable - 2)

    async def _write_intent(self, unit: Unit, delivery: Delivery) -> Parcel | Declined:
        now = self.books.world.now()
        patience = self.books.patience(delivery.account)
        attempt = Attempt(
            number=delivery.attempts + 1,
            epoch=delivery.epoch,
            intended_at=now,
            ended_at=None,
            since=now - patience.clock_margin,
        )
        newest = await newest_id(unit, delivery.account)
        parcel = await make_parcel(self.books, unit, delivery, attempt, newest)
        if parcel is None:
            await self.books.change(unit, delivery, Stopped(reason=HoldReason.IMAGE_MISSING), DELIVERER)
            return Declined(guard="image_missing")
        sent = await self.books.change(unit, delivery, IntentWritten(), DELIVERER, lease_until=now + patience.lease)
        await self._write_attempt(unit, sent, attempt, newest)
        await self._rest(unit, delivery, now)
        return parcel

    async def _write_attempt(self, unit: Unit, sent: Delivery, attempt: Attempt, newest: str | None) -> None:
        await unit.connection.execute(
            insert(ATTEMPT).values(
                delivery=sent.id,
                number=attempt.number,
                epoch=attempt.epoch,
                login=sent.login,
                account=sent.account,
                worker=self.books.worker,
                rendition=sent.rendition,
                newest_id=newest,
                since=attempt.since,
                intended_at=attempt.intended_at,
            )
        )
        unit.intents.append(
            Intent(
                delivery=sent.id,
                attempt=attempt.number,
                epoch=attempt.epoch,
                rendition=sent.rendition,
                at=attempt.intended_at.isoformat(),
            )
        )

    async def _rest(self, unit: Unit, delivery: Delivery, now: datetime) -> None:
        """Set when the login may speak next, by its quota."""
        quota = self.books.terms[delivery.account].quota
        recent = await unit.connection.execute(
            select(ATTEMPT.c.intended_at)
            .where(ATTEMPT.c.login == delivery.login, ATTEMPT.c.intended_at > now - DAY)
            .order_by(ATTEMPT.c.intended_at.desc())
            .limit(quota.per_day)
        )
        sent = [row.intended_at for row in recent]
        await unit.connection.execute(
            update(LOGIN)
            .where(LOGIN.c.id == delivery.login)
            .values(
                rests_until=quota.next_allowed(sent, now, is_urgent=True),
                routine_until=quota.next_allowed(sent, now, is_urgent=False),
            )
        )

    async def settle(self, lease: Lease, outcome: Outcome) -> Delivery:
        """Write down what the call told us. A result that comes after the lease was lost is kept as evidence only."""

        async def operation(unit: Unit) -> Delivery:
            now = self.books.world.now()
            delivery = to_delivery(await read_row(unit, lease.delivery))
            await end_attempt(unit, delivery.id, lease.epoch, now, write_answer(outcome))
            if delivery.state is not State.SENDING or delivery.epoch != lease.epoch:
                await self._keep_evidence(unit, delivery, lease, outcome, now)
                return delivery
            event = await owned_elsewhere(unit, delivery, outcome)
            after = await self.books.change(unit, delivery, event, DELIVERER)
            await self._consequences(unit, after, outcome, now)
            await self.books.world.failpoint("outcome.before_commit")
            return after

        after = await self.books.database.write(operation)
        await self.books.world.failpoint("outcome.after_commit")
        return after

    async def _keep_evidence(
        self, unit: Unit, delivery: Delivery, lease: Lease, outcome: Outcome, now: datetime
    ) -> None:
        """Keep a late result: it decides nothing, but what it says is live can no longer be shown absent."""
        detail = dict(write_answer(outcome))
        await write_audit(unit, now, DELIVERER, event="Evidence", subject=subject_of(delivery), detail=detail)
        number = select(ATTEMPT.c.number).where(ATTEMPT.c.delivery == lease.delivery, ATTEMPT.c.epoch == lease.epoch)
        attempt = (await unit.connection.execute(number)).scalar_one_or_none()
        if attempt is not None and isinstance(outcome, Published | Submitted):
            await _write_look(unit, delivery.id, attempt, now, outcome)

    async def _consequences(self, unit: Unit, after: Delivery, outcome: Outcome, now: datetime) -> None:
        """What an outcome means for the account and the login, beyond this delivery."""
        match outcome:
            case Blocked():
                await pause_account(unit, after.account, at=now, by=DELIVERER, reason=outcome.reason)
            case CredentialExpired() if after.state is State.HELD:
                for account, terms in self.books.terms.items():
                    if terms.account.login == after.login:
                        await pause_account(unit, account, at=now, by=DELIVERER, reason=outcome.reason)
            case NotSent(reason="tls_failed") if after.failures >= TLS_FAILURES:
                await pause_account(unit, after.account, at=now, by=DELIVERER, reason=outcome.reason)
            case RateLimited():
                until = after.next_at or now
                await unit.connection.execute(
                    update(LOGIN).where(LOGIN.c.id == after.login).values(rests_until=until, routine_until=until)
                )
            case _:
                pass

    async def doubts(self, states: Iterable[State], limit: int) -> Sequence[Doubt]:
        """Give the deliveries in these states whose next read is due, longest waiting first."""
        async with self.books.database.reading() as connection:
            unit = Unit(connection)
            rows = await connection.execute(
                select(DELIVERY)
                .where(
                    DELIVERY.c.state.in_([state.value for state in states]),
                    DELIVERY.c.next_at <= self.books.world.now(),
                    DELIVERY.c.account.in_(list(self.books.terms)),
                )
                .order_by(DELIVERY.c.next_at)
                .limit(limit)
            )
            found = [to_delivery(row) for row in rows.mappings()]
            return [Doubt(delivery=item, parcel=await last_parcel(self.books, unit, item)) for item in found]

    async def learn(self, doubt: Doubt, finding: Finding, by: Actor, asked_at: datetime) -> Delivery:
        """Store what a read begun at `asked_at` showed, and what follows.

        Nothing follows if the delivery has moved on meanwhile.
        """

        async def operation(unit: Unit) -> Delivery:
            now = self.books.world.now()
            delivery = to_delivery(await read_row(unit, doubt.delivery.id))
            await _write_look(unit, delivery.id, doubt.delivery.attempts, asked_at, finding)
            if delivery.state not in ASKING or delivery.version != doubt.delivery.version:
                return delivery
            event = await self._conclude(unit, delivery, finding)
            await self.books.world.failpoint("reconcile.before_commit")
            after = await self.books.change(unit, delivery, event, by)
            if after.state is State.RETRACTING and isinstance(finding, Rejected) and after.reason != delivery.reason:
                await write_alert(unit, now, "retract_refused", after, {"reason": finding.reason})
            return after

        return await self.books.database.write(operation)

    async def _conclude(self, unit: Unit, delivery: Delivery, finding: Finding) -> Event:
        """Turn a finding into an event: absence takes several, and an address given by a person must be seen."""
        if isinstance(finding, Published):
            return await owned_elsewhere(unit, delivery, finding)
        if delivery.state is State.UNKNOWN and delivery.claimed_url and isinstance(finding, Missing | Unknown):
            return Stopped(reason=HoldReason.NOT_SEEN)
        if not isinstance(finding, Missing):
            return finding
        attempts = await unit.connection.execute(
            select(ATTEMPT).where(ATTEMPT.c.delivery == delivery.id, ATTEMPT.c.number == delivery.attempts)
        )
        attempt = attempts.mappings().one()
        if not await self._is_absent(unit, delivery, to_attempt(attempt)):
            return finding
        said = read_answer(attempt["outcome"], attempt["detail"]) if attempt["outcome"] else None
        is_duplicate = isinstance(said, Unknown) and said.is_duplicate
        traits = self.books.terms[delivery.account].traits
        return AbsenceShown(may_resend=traits.may_resend and not is_duplicate)

    async def _is_absent(self, unit: Unit, delivery: Delivery, attempt: Attempt) -> bool:
        looks = await unit.connection.execute(select(LOOK).where(LOOK.c.delivery == delivery.id))
        return shows_absence(
            [to_look(row) for row in looks.mappings()],
            attempt,
            self.books.patience(delivery.account).settle,
        )

    async def apply(self, delivery: DeliveryId, event: Event, by: Actor) -> Delivery:
        """Bring a person's event to a delivery. Raises IllegalStepError where the table does not allow it."""

        async def operation(unit: Unit) -> Delivery:
            before = to_delivery(await read_row(unit, delivery))
            return await self.books.change(unit, before, event, by)

        return await self.books.database.write(operation)


async def _write_look(unit: Unit, delivery: DeliveryId, attempt: int, at: datetime, finding: Finding) -> None:
    answer = write_answer(finding)
    row = {"delivery": delivery, "attempt": attempt, "at": at, "finding": answer["kind"], "detail": answer["detail"]}
    await unit.connection.execute(insert(LOOK).values(row))


async def _may_go(unit: Unit, delivery: DeliveryId) -> bool:
    query = select(DELIVERY.c.id).where(DELIVERY.c.id == delivery, ~is_paused(DELIVERY), original_is_live(DELIVERY))
    return (await unit.connection.execute(query)).first() is not None
