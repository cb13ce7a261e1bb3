"""The way of a delivery through the books: claim, intend, settle; doubt, learn; and what people order."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, bindparam, case, exists, func, select, update
from sqlalchemy.exc import DBAPIError

from publisher.domain.absence import is_confirmed, shows_absence
from publisher.domain.account import AccountId, Mode
from publisher.domain.delivery import ASKING, WAITING, Delivery, Lease, Look, State
from publisher.domain.events import (
    DELIVERER,
    AbsenceShown,
    Actor,
    Claimed,
    Event,
    Released,
    Stopped,
)
from publisher.domain.lifecycle import MOST_REFUSALS
from publisher.domain.outcome import (
    Blocked,
    CredentialExpired,
    Finding,
    Gone,
    HoldReason,
    Missing,
    NotSent,
    Outcome,
    Published,
    RateLimited,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
    Unread,
)
from publisher.domain.rendition import DeliveryId, Parcel
from publisher.domain.task import Task, task_of
from publisher.store.books import CANNOT_LEAVE, KEPT_BY_DOUBT, REWRITE, Books, Change
from publisher.store.breaker import is_puzzling, trip
from publisher.store.claims import HORIZON, choose, is_begun, may_start
from publisher.store.conditions import may_call, ordered_mode, stands
from publisher.store.connection import CommitUnknownError, is_lost
from publisher.store.engine import UnannouncedError, Unit
from publisher.store.intents import Declined, announce, give_rests_back
from publisher.store.ledger import (
    READ,
    owned_elsewhere,
    pause_account,
    read_row,
    subject_of,
    tell_once,
    write_alert,
    write_audit,
    write_look,
)
from publisher.store.parcels import last_parcels
from publisher.store.recovery import bring_back, is_ready
from publisher.store.rests import excuse_queue, keep_back_calls, keep_back_posts, may_read
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
from publisher.store.trouble import BUSY, JOURNAL_REFUSES, trouble_of
from publisher.telemetry import log
from publisher.world import STAMPS_APART

TLS_FAILURES = 3


_NOW = bindparam("now", type_=DELIVERY.c.due_at.type)


def _announced(condition: Callable[[Any, Any], ColumnElement[bool]]) -> Select[Any]:
    """Find an announced call that may begin still: no limit has come meanwhile, and its account publishes by itself."""
    return select(DELIVERY.c.id).where(
        DELIVERY.c.id == bindparam("delivery"),
        DELIVERY.c.attempts == bindparam("attempt"),
        stands(DELIVERY, State.SENDING),
        condition(DELIVERY, _NOW),
        ~exists().where(LOGIN.c.id == DELIVERY.c.login, LOGIN.c.limited_until > _NOW),
        func.coalesce(ordered_mode(DELIVERY), bindparam("settled", type_=DELIVERY.c.platform.type)) == Mode.API.value,
    )


_MAY_GO_ON = _announced(may_call)


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
        leases = await self.books.database.write(partial(self._claim, limit=limit))
        if leases:
            await self.books.world.failpoint("claim.after_commit")
        return leases

    def _claim(self, unit: Unit, limit: int) -> list[Lease]:
        now = self.books.world.confirmed_now()
        database = self.books.database
        if now is None or not is_ready(self.books, unit):
            return []
        if database.journal and not database.journal.can_append():
            database.troubles.add(JOURNAL_REFUSES)  # people are told again as long as it lasts
            return []
        changes = [self._taking(delivery, now) for delivery in choose(self.books, unit, limit)]
        leases = [
            Lease(
                delivery=after.id,
                account=after.account,
                login=after.login,
                epoch=after.epoch,
                due_at=after.due_at,
                until=change.lease_until,
            )
            for change, after in zip(changes, self.books.change_all(unit, changes, DELIVERER), strict=True)
            if change.lease_until is not None
        ]
        for lease in leases:
            self.books.take_in_hand(lease.delivery, lease.epoch, lease.until - now)
        return leases

    def _taking(self, delivery: Delivery, now: datetime) -> Change:
        until = max(now, delivery.due_at) + self.books.patience(delivery.account).lease_timeout
        return Change(before=delivery, event=Claimed(), lease_until=until)

    async def next_move(self) -> datetime | None:
        """Give the instant at which something due may next go, or a retry or retraction go on; None for never."""
        urgent, begun = (DELIVERY.c.is_urgent, LOGIN.c.rests_until), (is_begun(DELIVERY), LOGIN.c.floors_until)
        query = (
            select(DELIVERY.c.account, DELIVERY.c.reason, DELIVERY.c.next_at)
            .add_columns(case(begun, urgent, else_=LOGIN.c.routine_until).label("allowed_at"))
            .join(LOGIN, LOGIN.c.id == DELIVERY.c.login)
            .where(may_start(DELIVERY))
        )
        now = self.books.world.now()
        facts = {"accounts": self.books.speaking, "now": now, "due_by": now + HORIZON}
        waits = select(DELIVERY.c.next_at).where(stands(DELIVERY, State.RETRYING, State.RETRACTING))
        rows = await self.books.database.read(lambda connection: connection.execute(query, facts).all())
        kept_rows = [row for row in rows if row.reason == KEPT_BY_DOUBT and row.next_at]
        kept = {row.account: row.next_at for row in sorted(kept_rows, key=lambda row: row.next_at)}
        ready = [max(filter(None, (row.next_at, row.allowed_at, kept.get(row.account)))) for row in rows]
        ready += filter(None, await self.books.database.read(lambda connection: connection.scalars(waits).all()))
        return min(ready, default=None)

    async def intend(self, lease: Lease) -> Parcel | Declined:
        """Announce the call, durably, if every guard agrees; else give the lease back or end the delivery.

        Where the journal refuses its line, the call is over before it began, and so is its attempt.
        """
        try:
            answer = await self.books.database.write_together(self._announce, lease)
        except UnannouncedError as error:
            if isinstance(error.result, Parcel):
                await self.settle(lease, NotSent(reason="not_journalled"))
                return Declined(guard="journal")
            answer = cast("Declined", error.result)
        except (DBAPIError, CommitUnknownError, OSError) as error:
            self._note_refusal(lease, error)
            raise
        if isinstance(answer, Declined):
            self.books.put_down(lease.delivery, lease.epoch)
        return answer

    def _note_refusal(self, lease: Lease, error: Exception) -> None:
        """Note that a lease will end because nothing could be written; any other error is the delivery's own."""
        if is_lost(error) or trouble_of(error) or isinstance(error, CommitUnknownError | OSError):
            self.books.note_refused(lease.delivery, lease.epoch)

    def _announce(self, unit: Unit, leases: Sequence[Lease]) -> list[Parcel | Declined]:
        return announce(self.books, unit, leases)

    async def release(self, lease: Lease) -> None:
        """Give a lease back unused; nothing happens when it is not ours any more."""

        def operation(unit: Unit) -> None:
            delivery = to_delivery(read_row(unit, lease.delivery))
            if delivery.state is State.CLAIMED and delivery.epoch == lease.epoch:
                self.books.change(unit, delivery, Released(), DELIVERER)

        await self.books.database.write(operation)
        self.books.put_down(lease.delivery, lease.epoch)

    async def may_go_on(self, parcel: Parcel) -> bool:
        """Ask once more, right before the first byte of an announced call, whether it may begin.

        While the database cannot be asked, it may not.
        """
        settled = self.books.terms[parcel.account].account.mode.value
        facts = {
            "delivery": parcel.delivery,
            "attempt": parcel.attempt,
            "now": self.books.world.now(),
            "settled": settled,
        }
        try:
            return await self.books.database.read(lambda connection: connection.scalar(_MAY_GO_ON, facts)) is not None
        except DBAPIError as error:
            log.warning("call_not_confirmed", delivery=parcel.delivery, error=type(error).__name__)
            return False

    async def settle(self, lease: Lease, outcome: Outcome) -> Delivery:
        """Write down what the call told us. A result that comes after the lease was lost is kept as evidence only."""
        after = await self._write_down(lease, outcome)
        self.books.put_down(lease.delivery, lease.epoch)
        self.books.calls.forget(lease.delivery, lease.epoch)
        await self.books.world.failpoint("outcome.after_commit")
        return after

    async def _write_down(self, lease: Lease, outcome: Outcome) -> Delivery:
        """Write an outcome down however long the database is away: nothing else knows it."""
        while True:
            try:
                return await self.books.database.write_together(self._settle, (lease, outcome))
            except (DBAPIError, CommitUnknownError) as error:
                if not (isinstance(error, CommitUnknownError) or is_lost(error) or trouble_of(error) == BUSY):
                    self._note_refusal(lease, error)
                    raise
                log.warning("outcome_waits", delivery=lease.delivery, account=lease.account)

    def _settle(self, unit: Unit, told: Sequence[tuple[Lease, Outcome]]) -> list[Delivery]:
        now = self.books.world.now()
        bring_back(self.books, unit)
        rows = unit.connection.execute(READ, {"deliveries": [lease.delivery for lease, _outcome in told]}).mappings()
        before = {row["id"]: to_delivery(row) for row in rows}
        self.books.end_attempts(unit, [(lease.delivery, lease.epoch, outcome) for lease, outcome in told])
        in_time = [item for item in told if _is_in_time(before[item[0].delivery], item[0])]
        events = owned_elsewhere(unit, [(before[lease.delivery], outcome) for lease, outcome in in_time])
        changes = [
            Change(before=before[lease.delivery], event=event)
            for (lease, _outcome), event in zip(in_time, events, strict=True)
        ]
        afters = {after.id: after for after in self.books.change_all(unit, changes, DELIVERER)}
        for lease, outcome in told:
            self._heed(unit, afters.get(lease.delivery) or before[lease.delivery], outcome, now)
            if lease.delivery in afters:
                self._consequences(unit, afters[lease.delivery], outcome, now)
                self.books.world.die_here("outcome.before_commit")
            else:
                self._keep_evidence(unit, before[lease.delivery], lease, outcome, now)
        unsent = [
            lease.delivery for lease, outcome in told if isinstance(outcome, NotSent) and lease.delivery in afters
        ]
        give_rests_back(self.books, unit, [afters[delivery] for delivery in sorted(unsent)])
        for delivery in (afters[one] for one in sorted(unsent)):
            if delivery.next_at is not None:
                excuse_queue(unit, delivery.login, delivery.next_at, now)
        puzzled = {before[lease.delivery].platform for lease, outcome in told if is_puzzling(outcome)}
        trip(self.books, unit, sorted(puzzled), DELIVERER)
        return [afters.get(lease.delivery) or before[lease.delivery] for lease, _outcome in told]

    def _keep_evidence(self, unit: Unit, delivery: Delivery, lease: Lease, outcome: Outcome, now: datetime) -> None:
        """Keep a late result: it decides nothing, but what it says is live can no longer be shown absent.

        Where that had been shown already, a person must look: before the next call, or before ordering one.
        """
        detail = dict(write_answer(outcome))
        write_audit(unit, now, DELIVERER, event="evidence", subject=subject_of(delivery), detail=detail)
        asked = select(ATTEMPT.c.number, ATTEMPT.c.floor).where(
            ATTEMPT.c.delivery == lease.delivery, ATTEMPT.c.epoch == lease.epoch
        )
        attempt = unit.connection.execute(asked).one_or_none()
        if attempt is None or not isinstance(outcome, Published | Submitted):
            return
        write_look(unit, delivery.id, attempt.number, now, outcome)
        if attempt.floor < delivery.floors_done or delivery.state in ASKING:
            return
        if delivery.state in WAITING:
            self.books.change(unit, delivery, Stopped(reason=HoldReason.LATE_ANSWER), DELIVERER)
        else:
            url = outcome.receipt.url if isinstance(outcome, Published) else ""
            write_alert(unit, now, "answer_late", delivery, {"url": url})

    def _heed(self, unit: Unit, after: Delivery, outcome: Outcome, now: datetime) -> None:
        """What a platform says of an account or a login holds, though it may come too late for the delivery."""
        match outcome:
            case Blocked():
                pause_account(unit, after.account, at=now, by=DELIVERER, reason=outcome.code, said=outcome.reason)
            case RateLimited():
                usual = after.next_at if after.state is State.RETRYING else None
                until = outcome.until or usual or now + self.books.patience(after.account).retry_first
                keep_back_posts(self.books, unit, after.login, until, now)
            case _:
                pass

    def _consequences(self, unit: Unit, after: Delivery, outcome: Outcome, now: datetime) -> None:
        """What an outcome means beyond its delivery: for the sign-in, and for the people who must know of it."""
        match outcome:
            case CredentialExpired() if after.refusals >= MOST_REFUSALS:
                for account, terms in self.books.terms.items():
                    if terms.account.login == after.login:
                        pause_account(unit, account, at=now, by=DELIVERER, reason=outcome.reason)
            case NotSent(reason="tls_failed") if after.failures >= TLS_FAILURES:
                pause_account(unit, after.account, at=now, by=DELIVERER, reason=outcome.reason)
            case NotSent() if after.state is State.RETRYING and now > after.due_at + after.max_delay:
                facts = {"reason": outcome.reason, "until": after.expires_at.isoformat()}
                tell_once(unit, now, CANNOT_LEAVE, after, facts)
            case Submitted() if task_of(outcome.ticket) and after.state is State.SUBMITTED:
                write_alert(unit, now, "task_waiting", after)
            case Unknown(reason="redirected"):
                write_alert(unit, now, "answer_redirected", after)
            case Unknown(reason="body_too_large" | "reply_encoded"):
                write_alert(unit, now, "answer_too_large", after)
            case _:
                pass

    async def doubts(
        self, states: Iterable[State], limit: int, *, besides: Collection[DeliveryId] = ()
    ) -> Sequence[Doubt]:
        """Give the deliveries in these states, besides some, whose next read is due, longest waiting first.

        Where others work on the same books, they are given none of these again until a read has had its time.
        """
        query = (
            select(DELIVERY)
            .where(
                DELIVERY.c.state.in_([state.value for state in states]),
                DELIVERY.c.next_at <= self.books.world.now(),
                DELIVERY.c.account.in_(list(self.books.terms)),
                DELIVERY.c.id.not_in(list(besides)),
                DELIVERY.c.login.not_in(self.books.limited_logins()),
                may_read(self.books.world.now()),
            )
            .order_by(DELIVERY.c.next_at)
            .limit(limit)
        )

        def read(connection: Connection) -> list[Delivery]:
            return [to_delivery(row) for row in connection.execute(query).mappings()]

        def take(unit: Unit) -> list[Doubt]:
            rows = unit.connection.execute(query.with_for_update(skip_locked=True)).mappings()
            return self._doubts(unit.connection, self._put_off(unit, [to_delivery(row) for row in rows]))

        database = self.books.database
        if database.is_shared:
            return await database.write(take) if await database.read(read) else []
        return await database.read(lambda connection: self._doubts(connection, read(connection)))

    def _doubts(self, connection: Connection, deliveries: Sequence[Delivery]) -> list[Doubt]:
        parcels = last_parcels(self.books, connection, deliveries)
        return [Doubt(delivery=item, parcel=parcel) for item, parcel in zip(deliveries, parcels, strict=True)]

    def _put_off(self, unit: Unit, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Let these be read next when the read that begins now must have ended."""
        now = self.books.world.now()
        taken = [replace(item, next_at=now + self.books.patience(item.account).lease_timeout) for item in deliveries]
        if taken:
            rows = [{"its_id": item.id, "its_version": item.version, "next_at": item.next_at} for item in taken]
            unit.connection.execute(REWRITE, rows)
        return taken

    async def learn(self, doubt: Doubt, seen: Finding, by: Actor, began: float) -> Delivery:
        """Store what a read showed that began at `began`, in monotonic seconds, and what follows.

        Nothing follows if the delivery has moved on meanwhile. A list that does not show the post proves nothing while
        the clock is in doubt: nobody could say later when it was read.
        """

        def operation(unit: Unit) -> Delivery:
            clocks = self.books.world.clocks()
            began_at = clocks.at - timedelta(seconds=clocks.ticks - began)  # by the clock as it stands now
            delivery = to_delivery(read_row(unit, doubt.delivery.id))
            proves_by_date = isinstance(seen, Missing) or (isinstance(seen, Gone) and not _is_deleted(delivery))
            is_undated = proves_by_date and not self.books.world.is_clock_confirmed()
            finding = kept_to = Unknown(reason="clock_in_doubt") if is_undated else seen
            write_look(unit, delivery.id, doubt.delivery.attempts, began_at, finding)
            if isinstance(finding, RateLimited):
                usual = self.books.patience(delivery.account).first_check_after
                kept_to = keep_back_calls(self.books, unit, delivery.login, finding, usual)
            if delivery.state not in ASKING or delivery.version != doubt.delivery.version:
                return delivery
            event = self._conclude(unit, delivery, kept_to, began)
            if isinstance(event, Submitted) and delivery.next_at and delivery.next_at != doubt.delivery.next_at:
                event = replace(event, look_again_at=delivery.next_at)  # hastened after this read had begun
            self.books.world.die_here("reconcile.before_commit")
            after = self.books.change(unit, delivery, event, by)
            if after.state is State.RETRACTING and isinstance(finding, Rejected) and after.reason != delivery.reason:
                url = after.receipt.url if after.receipt else ""
                facts = {"reason": finding.code, "said": finding.reason, "url": url}
                write_alert(unit, clocks.at, "retract_refused", after, facts)
            return after

        return await self.books.database.write(operation)

    async def hasten(self, account: AccountId, is_meant: Callable[[Ticket], bool]) -> int:
        """Let an account's submitted deliveries with a meant ticket be read now. Gives how many; no state changes."""

        def operation(unit: Unit) -> int:
            waiting = select(DELIVERY).where(DELIVERY.c.account == account, stands(DELIVERY, State.SUBMITTED))
            found = [to_delivery(row) for row in unit.connection.execute(waiting).mappings()]
            meant = [item for item in found if item.ticket is not None and is_meant(item.ticket)]
            for item in meant:
                same = (DELIVERY.c.id == item.id, DELIVERY.c.version == item.version)
                unit.connection.execute(update(DELIVERY).where(*same).values(next_at=self.books.world.now()))
            return len(meant)

        return await self.books.database.write(operation)

    def _conclude(self, unit: Unit, delivery: Delivery, finding: Finding, began: float) -> Event:
        """Turn a finding into an event: absence takes several, and an address given by a person must be seen.

        What no look can show any more goes to a person, instead of keeping its account silent.
        """
        if isinstance(finding, Published):
            return owned_elsewhere(unit, [(delivery, finding)])[0]
        if isinstance(finding, Gone) and not self._is_gone(unit, delivery):
            kept = delivery.reason if delivery.is_ordered_down else None  # why it is to be taken down
            finding = Unknown(reason=kept or "gone_once")
        is_looked_for = delivery.state is State.UNKNOWN or (delivery.state is State.RETRACTING and not delivery.receipt)
        if is_looked_for and delivery.claimed_url and isinstance(finding, Missing):
            return Stopped(reason=HoldReason.NOT_SEEN)
        if delivery.state is State.SUBMITTED and (task := task_of(delivery.ticket)):
            return self._follow_task(unit, delivery, task, finding)
        if delivery.state is not State.SUBMITTED and isinstance(finding, Unknown) and finding.is_out_of_sight:
            return self._hand_over(unit, delivery, finding, began)
        if not isinstance(finding, Missing):
            return finding
        attempt = _last_attempt(unit, delivery)
        is_settled = self._has_settled(delivery, attempt, began)
        if not shows_absence(_looks(unit, delivery), to_attempt(attempt), is_settled=is_settled):
            return finding
        said = read_answer(attempt["outcome"], attempt["detail"]) if attempt["outcome"] else None
        is_duplicate = isinstance(said, Unknown) and said.is_duplicate
        traits = self.books.terms[delivery.account].traits
        return AbsenceShown(may_resend=traits.may_resend and finding.may_resend and not is_duplicate)

    def _is_gone(self, unit: Unit, delivery: Delivery) -> bool:
        """Return True if the word that it is gone can be taken: a second one, or the answer to our own deletion."""
        if _is_deleted(delivery) or not delivery.attempts:
            return True
        lag = self.books.terms[delivery.account].traits.listing_lag

        def says_gone(look: Look) -> bool:
            return look.attempt == delivery.attempts and isinstance(look.finding, Gone)

        return is_confirmed(_looks(unit, delivery), says_gone, lag)

    def _hand_over(self, unit: Unit, delivery: Delivery, finding: Unknown, began: float) -> Event:
        """Leave what no look can show any more to a person, once its call can lead to nothing more.

        What is to be taken down while the platform or a person still works on it is looked for on and on.
        """
        if delivery.attempts and not self._has_settled(delivery, _last_attempt(unit, delivery), began):
            return finding
        if delivery.state is State.RETRACTING:
            return finding if delivery.ticket else Stopped(reason=HoldReason.CANNOT_RETRACT)
        return Stopped(reason=HoldReason.NOT_SEEN if delivery.claimed_url else HoldReason.CANNOT_CHECK)

    def _follow_task(self, unit: Unit, delivery: Delivery, task: Task, finding: Finding) -> Finding:
        """Go on with a task that was not seen done; tell people, once, when it should have been seen."""
        if not isinstance(finding, Missing | Unread):
            return finding
        now, patience = self.books.world.now(), self.books.patience(delivery.account)
        if self.books.world.is_clock_confirmed() and task.is_overdue(patience, now):
            facts = {"url": task.url or "", "by": task.by or ""}
            if isinstance(finding, Unread):
                reason = finding.reason if isinstance(finding, Unknown) else "rate_limited"
                tell_once(unit, now, "task_not_readable", delivery, {**facts, "reason": reason})
            else:
                tell_once(unit, now, "task_not_seen", delivery, facts)
        return Submitted(ticket=task.ticket, look_again_at=task.next_look(patience, now))

    def _has_settled(self, delivery: Delivery, attempt: RowMapping, began: float) -> bool:
        """Whether all that a call may lead to had shown itself when a read of it began.

        So it has a settle time after this process knew of the call's end. Of a call that another process ended, the
        stored end tells as well, where the clock was confirmed when that was written. Nothing is concluded while the
        clock is not: what follows may depend on the instant.
        """
        if attempt["ended_at"] is None:
            return False
        settle, clocks = self.books.patience(delivery.account).visibility_window, self.books.world.clocks()
        end = self.books.settle_clock.end_of(delivery.id, attempt["epoch"], clocks.ticks)
        if not self.books.world.is_clock_confirmed():
            return False
        has_settled_here = began > end.since + settle.total_seconds()
        if has_settled_here or end.is_own or not attempt["ended_confirmed"]:
            return has_settled_here
        began_at = clocks.at - timedelta(seconds=clocks.ticks - began)  # by the clock as it stands now
        return bool(began_at > attempt["ended_at"] + settle + STAMPS_APART)

    async def apply(self, delivery: DeliveryId, event: Event, by: Actor) -> Delivery:
        """Bring a person's event to a delivery. Raises IllegalStepError where the table does not allow it."""

        def operation(unit: Unit) -> Delivery:
            before = to_delivery(read_row(unit, delivery))
            return self.books.change(unit, before, event, by)

        return await self.books.database.write(operation)


def _looks(unit: Unit, delivery: Delivery) -> list[Look]:
    looks = unit.connection.execute(select(LOOK).where(LOOK.c.delivery == delivery.id).order_by(LOOK.c.id))
    return [to_look(row) for row in looks.mappings()]


def _last_attempt(unit: Unit, delivery: Delivery) -> RowMapping:
    is_last = (ATTEMPT.c.delivery == delivery.id, ATTEMPT.c.number == delivery.attempts)
    return unit.connection.execute(select(ATTEMPT).where(*is_last)).mappings().one()


def _is_in_time(delivery: Delivery, lease: Lease) -> bool:
    return delivery.state is State.SENDING and delivery.epoch == lease.epoch


def _is_deleted(delivery: Delivery) -> bool:
    """Return True if a read that shows it gone answers our own deletion."""
    receipt = delivery.receipt
    return delivery.state is State.RETRACTING and receipt is not None and not receipt.is_by_word
