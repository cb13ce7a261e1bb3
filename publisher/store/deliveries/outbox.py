"""The way of a delivery through the books: claim, intend, settle; doubt, learn; and what people order."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, bindparam, case, exists, func, select, update
from sqlalchemy.exc import DBAPIError

from publisher.domain.account import AccountId, Mode
from publisher.domain.delivery import (
    CHECKED_STATES,
    WAITING_STATES,
    Delivery,
    Lease,
    ManualTask,
    Readback,
    State,
    parse_manual_task,
)
from publisher.domain.events import (
    SENDER,
    AbsenceProven,
    Actor,
    Claimed,
    Event,
    Held,
    Released,
)
from publisher.domain.lifecycle import MAX_AUTH_FAILURES
from publisher.domain.rendered import DeliveryId, SendRequest
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    HoldReason,
    NotFound,
    NotSent,
    Outcome,
    Published,
    RateLimited,
    ReadbackResult,
    ReadFailure,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.domain.verification import is_confirmed, proves_absent
from publisher.runtime.clock import MAX_TIMESTAMP_SKEW
from publisher.runtime.logs import log
from publisher.store.audit.append import (
    SELECT_DELIVERIES,
    get_row,
    pause_account,
    raise_delivery_alert,
    raise_delivery_alert_once,
    reject_foreign_ids,
    subject_of,
    write_audit,
    write_readback,
)
from publisher.store.db.database import IntentNotJournaledError, Transaction
from publisher.store.db.filters import in_state, may_call, mode_override
from publisher.store.db.mappers import (
    ATTEMPT,
    DELIVERY,
    LOGIN,
    READBACK,
    dump_result,
    load_result,
    to_attempt,
    to_delivery,
    to_readback,
)
from publisher.store.db.postgres import (
    DATABASE_BUSY,
    JOURNAL_UNWRITABLE,
    CommitUnknownError,
    is_connection_lost,
    write_error_code,
)
from publisher.store.deliveries.circuit_breaker import is_unreadable, trip_breakers
from publisher.store.deliveries.claims import PREPARE_AHEAD, choose_claims, has_published_parts, is_claimable
from publisher.store.deliveries.cooldowns import (
    extend_queue_deadlines,
    may_read,
    start_login_cooldown,
    start_post_cooldown,
)
from publisher.store.deliveries.intents import Declined, last_requests, record_intents, revert_cooldowns
from publisher.store.recovery.recover import can_claim, recover_lost_attempts
from publisher.store.store import BLOCKED_BY_UNKNOWN, CANNOT_SEND, UPDATE_DELIVERY, StateChange, Store

MAX_TLS_FAILURES = 3


_NOW = bindparam("now", type_=DELIVERY.c.due_at.type)


def _pending_call_query(condition: Callable[[Any, Any], ColumnElement[bool]]) -> Select[Any]:
    """Find an announced call that may begin still: no limit has come meanwhile, and its account publishes by itself."""
    return select(DELIVERY.c.id).where(
        DELIVERY.c.id == bindparam("delivery"),
        DELIVERY.c.attempts == bindparam("attempt"),
        in_state(DELIVERY, State.SENDING),
        condition(DELIVERY, _NOW),
        ~exists().where(LOGIN.c.id == DELIVERY.c.login, LOGIN.c.rate_limited_until > _NOW),
        func.coalesce(mode_override(DELIVERY), bindparam("settled", type_=DELIVERY.c.platform.type)) == Mode.API.value,
    )


_MAY_STILL_SEND = _pending_call_query(may_call)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingReadback:
    """A delivery whose platform must be read, and the parcel of its last attempt, if it ever had one."""

    delivery: Delivery
    request: SendRequest | None


class Outbox:
    """The books of all deliveries. Every method is one transaction; a second caller finds the work done."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def claim(self, limit: int) -> Sequence[Lease]:
        """Take the most urgent due delivery of each free login, for at most `limit` logins."""
        leases = await self.store.database.write(partial(self._claim, limit=limit))
        if leases:
            await self.store.runtime.hit_failpoint("claim.after_commit")
        return leases

    def _claim(self, transaction: Transaction, limit: int) -> list[Lease]:
        now = self.store.runtime.now_if_confirmed()
        database = self.store.database
        if now is None or not can_claim(self.store, transaction):
            return []
        if database.journal and not database.journal.can_append():
            database.unreported_errors.add(JOURNAL_UNWRITABLE)  # people are told again as long as it lasts
            return []
        changes = [self._claim_change(delivery, now) for delivery in choose_claims(self.store, transaction, limit)]
        leases = [
            Lease(
                delivery=after.id,
                account=after.account,
                login=after.login,
                fencing_token=after.fencing_token,
                due_at=after.due_at,
                until=change.lease_until,
            )
            for change, after in zip(changes, self.store.transition_all(transaction, changes, SENDER), strict=True)
            if change.lease_until is not None
        ]
        for lease in leases:
            self.store.start_lease(lease.delivery, lease.fencing_token, lease.until - now)
        return leases

    def _claim_change(self, delivery: Delivery, now: datetime) -> StateChange:
        until = max(now, delivery.due_at) + self.store.timing(delivery.account).lease_timeout
        return StateChange(before=delivery, event=Claimed(), lease_until=until)

    async def next_due_at(self) -> datetime | None:
        """Give the instant at which something due may next go, or a retry or retraction go on; None for never."""
        urgent, begun = (
            (DELIVERY.c.is_urgent, LOGIN.c.cooldown_until),
            (has_published_parts(DELIVERY), LOGIN.c.parts_cooldown_until),
        )
        query = (
            select(DELIVERY.c.account, DELIVERY.c.reason, DELIVERY.c.next_action_at)
            .add_columns(case(begun, urgent, else_=LOGIN.c.routine_cooldown_until).label("allowed_at"))
            .join(LOGIN, LOGIN.c.id == DELIVERY.c.login)
            .where(is_claimable(DELIVERY))
        )
        now = self.store.runtime.now()
        facts = {"accounts": self.store.active_accounts, "now": now, "due_by": now + PREPARE_AHEAD}
        waits = select(DELIVERY.c.next_action_at).where(in_state(DELIVERY, State.RETRYING, State.RETRACTING))
        rows = await self.store.database.read(lambda connection: connection.execute(query, facts).all())
        kept_rows = [row for row in rows if row.reason == BLOCKED_BY_UNKNOWN and row.next_action_at]
        kept = {row.account: row.next_action_at for row in sorted(kept_rows, key=lambda row: row.next_action_at)}
        ready = [max(filter(None, (row.next_action_at, row.allowed_at, kept.get(row.account)))) for row in rows]
        ready += filter(None, await self.store.database.read(lambda connection: connection.scalars(waits).all()))
        return min(ready, default=None)

    async def record_intent(self, lease: Lease) -> SendRequest | Declined:
        """Announce the call, durably, if every guard agrees; else give the lease back or end the delivery.

        Where the journal refuses its line, the call is over before it began, and so is its attempt.
        """
        try:
            answer = await self.store.database.write_batched(self._record_intents, lease)
        except IntentNotJournaledError as error:
            if isinstance(error.result, SendRequest):
                await self.record_outcome(lease, NotSent(reason="journal_write_failed"))
                return Declined(guard="journal")
            answer = cast("Declined", error.result)
        except (DBAPIError, CommitUnknownError, OSError) as error:
            self._mark_write_failed(lease, error)
            raise
        if isinstance(answer, Declined):
            self.store.end_lease(lease.delivery, lease.fencing_token)
        return answer

    def _mark_write_failed(self, lease: Lease, error: Exception) -> None:
        """Note that a lease will end because nothing could be written; any other error is the delivery's own."""
        if is_connection_lost(error) or write_error_code(error) or isinstance(error, CommitUnknownError | OSError):
            self.store.mark_write_failed(lease.delivery, lease.fencing_token)

    def _record_intents(self, transaction: Transaction, leases: Sequence[Lease]) -> list[SendRequest | Declined]:
        return record_intents(self.store, transaction, leases)

    async def release(self, lease: Lease) -> None:
        """Give a lease back unused; nothing happens when it is not ours any more."""

        def operation(transaction: Transaction) -> None:
            delivery = to_delivery(get_row(transaction, lease.delivery))
            if delivery.state is State.CLAIMED and delivery.fencing_token == lease.fencing_token:
                self.store.transition(transaction, delivery, Released(), SENDER)

        await self.store.database.write(operation)
        self.store.end_lease(lease.delivery, lease.fencing_token)

    async def may_still_send(self, request: SendRequest) -> bool:
        """Ask once more, right before the first byte of an announced call, whether it may begin.

        While the database cannot be asked, it may not.
        """
        settled = self.store.policies[request.account].account.mode.value
        facts = {
            "delivery": request.delivery,
            "attempt": request.attempt,
            "now": self.store.runtime.now(),
            "settled": settled,
        }
        try:
            return (
                await self.store.database.read(lambda connection: connection.scalar(_MAY_STILL_SEND, facts)) is not None
            )
        except DBAPIError as error:
            log.warning("call_not_confirmed", delivery=request.delivery, error=type(error).__name__)
            return False

    async def record_outcome(self, lease: Lease, outcome: Outcome) -> Delivery:
        """Write down what the call told us. A result that comes after the lease was lost is kept as evidence only."""
        after = await self._write_outcome(lease, outcome)
        self.store.end_lease(lease.delivery, lease.fencing_token)
        self.store.call_record.forget(lease.delivery, lease.fencing_token)
        await self.store.runtime.hit_failpoint("outcome.after_commit")
        return after

    async def _write_outcome(self, lease: Lease, outcome: Outcome) -> Delivery:
        """Write an outcome down however long the database is away: nothing else knows it."""
        while True:
            try:
                return await self.store.database.write_batched(self._record_outcomes, (lease, outcome))
            except (DBAPIError, CommitUnknownError) as error:
                if not (
                    isinstance(error, CommitUnknownError)
                    or is_connection_lost(error)
                    or write_error_code(error) == DATABASE_BUSY
                ):
                    self._mark_write_failed(lease, error)
                    raise
                log.warning("outcome_delayed", delivery=lease.delivery, account=lease.account)

    def _record_outcomes(self, transaction: Transaction, outcomes: Sequence[tuple[Lease, Outcome]]) -> list[Delivery]:
        now = self.store.runtime.now()
        recover_lost_attempts(self.store, transaction)
        rows = transaction.connection.execute(
            SELECT_DELIVERIES, {"deliveries": [lease.delivery for lease, _outcome in outcomes]}
        ).mappings()
        before = {row["id"]: to_delivery(row) for row in rows}
        self.store.finish_attempts(
            transaction, [(lease.delivery, lease.fencing_token, outcome) for lease, outcome in outcomes]
        )
        in_time = [item for item in outcomes if _is_lease_current(before[item[0].delivery], item[0])]
        events = reject_foreign_ids(transaction, [(before[lease.delivery], outcome) for lease, outcome in in_time])
        changes = [
            StateChange(before=before[lease.delivery], event=event)
            for (lease, _outcome), event in zip(in_time, events, strict=True)
        ]
        afters = {after.id: after for after in self.store.transition_all(transaction, changes, SENDER)}
        for lease, outcome in outcomes:
            self._apply_account_effects(transaction, afters.get(lease.delivery) or before[lease.delivery], outcome, now)
            if lease.delivery in afters:
                self._apply_side_effects(transaction, afters[lease.delivery], outcome, now)
                self.store.runtime.hit_failpoint_now("outcome.before_commit")
            else:
                self._record_late_outcome(transaction, before[lease.delivery], lease, outcome, now)
        unsent = [
            lease.delivery for lease, outcome in outcomes if isinstance(outcome, NotSent) and lease.delivery in afters
        ]
        revert_cooldowns(self.store, transaction, [afters[delivery] for delivery in sorted(unsent)])
        for delivery in (afters[one] for one in sorted(unsent)):
            if delivery.next_action_at is not None:
                extend_queue_deadlines(transaction, delivery.login, delivery.next_action_at, now)
        puzzled = {before[lease.delivery].platform for lease, outcome in outcomes if is_unreadable(outcome)}
        trip_breakers(self.store, transaction, sorted(puzzled), SENDER)
        return [afters.get(lease.delivery) or before[lease.delivery] for lease, _outcome in outcomes]

    def _record_late_outcome(
        self, transaction: Transaction, delivery: Delivery, lease: Lease, outcome: Outcome, now: datetime
    ) -> None:
        """Keep a late result: it decides nothing, but what it says is live can no longer be shown absent.

        Where that had been shown already, a person must look: before the next call, or before ordering one.
        """
        detail = dict(dump_result(outcome))
        write_audit(
            transaction, now, SENDER, event="late_outcome_recorded", subject=subject_of(delivery), detail=detail
        )
        asked = select(ATTEMPT.c.number, ATTEMPT.c.part).where(
            ATTEMPT.c.delivery == lease.delivery, ATTEMPT.c.fencing_token == lease.fencing_token
        )
        attempt = transaction.connection.execute(asked).one_or_none()
        if attempt is None or not isinstance(outcome, Published | Submitted):
            return
        write_readback(transaction, delivery.id, attempt.number, now, outcome)
        if attempt.part < delivery.parts_done or delivery.state in CHECKED_STATES:
            return
        if delivery.state in WAITING_STATES:
            self.store.transition(transaction, delivery, Held(reason=HoldReason.LATE_RESPONSE), SENDER)
        else:
            url = outcome.receipt.url if isinstance(outcome, Published) else ""
            raise_delivery_alert(transaction, now, "response_late", delivery, {"url": url})

    def _apply_account_effects(
        self, transaction: Transaction, after: Delivery, outcome: Outcome, now: datetime
    ) -> None:
        """What a platform says of an account or a login holds, though it may come too late for the delivery."""
        match outcome:
            case Blocked():
                pause_account(
                    transaction, after.account, at=now, by=SENDER, reason=outcome.code, message=outcome.reason
                )
            case RateLimited():
                usual = after.next_action_at if after.state is State.RETRYING else None
                until = outcome.until or usual or now + self.store.timing(after.account).retry_first
                start_post_cooldown(self.store, transaction, after.login, until, now)
            case _:
                pass

    def _apply_side_effects(self, transaction: Transaction, after: Delivery, outcome: Outcome, now: datetime) -> None:
        """What an outcome means beyond its delivery: for the sign-in, and for the people who must know of it."""
        match outcome:
            case CredentialExpired() if after.auth_failures >= MAX_AUTH_FAILURES:
                for account, terms in self.store.policies.items():
                    if terms.account.login == after.login:
                        pause_account(transaction, account, at=now, by=SENDER, reason=outcome.reason)
            case NotSent(reason="tls_failed") if after.failures >= MAX_TLS_FAILURES:
                pause_account(transaction, after.account, at=now, by=SENDER, reason=outcome.reason)
            case NotSent() if after.state is State.RETRYING and now > after.due_at + after.max_delay:
                facts = {"reason": outcome.reason, "until": after.expires_at.isoformat()}
                raise_delivery_alert_once(transaction, now, CANNOT_SEND, after, facts)
            case Submitted() if parse_manual_task(outcome.ticket) and after.state is State.SUBMITTED:
                raise_delivery_alert(transaction, now, "manual_task_waiting", after)
            case Unknown(reason="redirected"):
                raise_delivery_alert(transaction, now, "response_redirected", after)
            case Unknown(reason="body_too_large" | "response_encoded"):
                raise_delivery_alert(transaction, now, "response_too_large", after)
            case _:
                pass

    async def due_readbacks(
        self, states: Iterable[State], limit: int, *, besides: Collection[DeliveryId] = ()
    ) -> Sequence[PendingReadback]:
        """Give the deliveries in these states, besides some, whose next read is due, longest waiting first.

        Where others work on the same books, they are given none of these again until a read has had its time.
        """
        query = (
            select(DELIVERY)
            .where(
                DELIVERY.c.state.in_([state.value for state in states]),
                DELIVERY.c.next_action_at <= self.store.runtime.now(),
                DELIVERY.c.account.in_(list(self.store.policies)),
                DELIVERY.c.id.not_in(list(besides)),
                DELIVERY.c.login.not_in(self.store.rate_limited_logins()),
                may_read(self.store.runtime.now()),
            )
            .order_by(DELIVERY.c.next_action_at)
            .limit(limit)
        )

        def read(connection: Connection) -> list[Delivery]:
            return [to_delivery(row) for row in connection.execute(query).mappings()]

        def claim(transaction: Transaction) -> list[PendingReadback]:
            rows = transaction.connection.execute(query.with_for_update(skip_locked=True)).mappings()
            return self._with_requests(
                transaction.connection, self._postpone(transaction, [to_delivery(row) for row in rows])
            )

        database = self.store.database
        if database.is_shared:
            return await database.write(claim) if await database.read(read) else []
        return await database.read(lambda connection: self._with_requests(connection, read(connection)))

    def _with_requests(self, connection: Connection, deliveries: Sequence[Delivery]) -> list[PendingReadback]:
        requests = last_requests(self.store, connection, deliveries)
        return [
            PendingReadback(delivery=item, request=request) for item, request in zip(deliveries, requests, strict=True)
        ]

    def _postpone(self, transaction: Transaction, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Let these be read next when the read that begins now must have ended."""
        now = self.store.runtime.now()
        taken = [
            replace(item, next_action_at=now + self.store.timing(item.account).lease_timeout) for item in deliveries
        ]
        if taken:
            rows = [
                {"its_id": item.id, "its_version": item.version, "next_action_at": item.next_action_at}
                for item in taken
            ]
            transaction.connection.execute(UPDATE_DELIVERY, rows)
        return taken

    async def record_readback(
        self, pending: PendingReadback, seen: ReadbackResult, by: Actor, started_ticks: float
    ) -> Delivery:
        """Store what a read showed that began at `began`, in monotonic seconds, and what follows.

        Nothing follows if the delivery has moved on meanwhile. A list that does not show the post proves nothing while
        the clock is in doubt: nobody could say later when it was read.
        """

        def operation(transaction: Transaction) -> Delivery:
            clocks = self.store.runtime.read_clocks()
            began_at = clocks.at - timedelta(
                seconds=clocks.monotonic_seconds - started_ticks
            )  # by the clock as it stands now
            delivery = to_delivery(get_row(transaction, pending.delivery.id))
            proves_by_date = isinstance(seen, NotFound) or (
                isinstance(seen, Deleted) and not _is_deleted_by_us(delivery)
            )
            is_undated = proves_by_date and not self.store.runtime.is_clock_confirmed()
            finding = kept_to = Unknown(reason="clock_unconfirmed_at_read") if is_undated else seen
            write_readback(transaction, delivery.id, pending.delivery.attempts, began_at, finding)
            if isinstance(finding, RateLimited):
                usual = self.store.timing(delivery.account).first_check_after
                kept_to = start_login_cooldown(self.store, transaction, delivery.login, finding, usual)
            if delivery.state not in CHECKED_STATES or delivery.version != pending.delivery.version:
                return delivery
            event = self._decide_event(transaction, delivery, kept_to, started_ticks)
            if (
                isinstance(event, Submitted)
                and delivery.next_action_at
                and delivery.next_action_at != pending.delivery.next_action_at
            ):
                event = replace(event, check_again_at=delivery.next_action_at)  # hastened after this read had begun
            self.store.runtime.hit_failpoint_now("reconcile.before_commit")
            after = self.store.transition(transaction, delivery, event, by)
            if after.state is State.RETRACTING and isinstance(finding, Rejected) and after.reason != delivery.reason:
                url = after.receipt.url if after.receipt else ""
                facts = {"reason": finding.code, "said": finding.reason, "url": url}
                raise_delivery_alert(transaction, clocks.at, "retraction_refused", after, facts)
            return after

        return await self.store.database.write(operation)

    async def check_now(self, account: AccountId, is_match: Callable[[Ticket], bool]) -> int:
        """Let an account's submitted deliveries with a meant ticket be read now. Gives how many; no state changes."""

        def operation(transaction: Transaction) -> int:
            waiting = select(DELIVERY).where(DELIVERY.c.account == account, in_state(DELIVERY, State.SUBMITTED))
            found = [to_delivery(row) for row in transaction.connection.execute(waiting).mappings()]
            meant = [item for item in found if item.ticket is not None and is_match(item.ticket)]
            for item in meant:
                same = (DELIVERY.c.id == item.id, DELIVERY.c.version == item.version)
                transaction.connection.execute(
                    update(DELIVERY).where(*same).values(next_action_at=self.store.runtime.now())
                )
            return len(meant)

        return await self.store.database.write(operation)

    def _decide_event(
        self, transaction: Transaction, delivery: Delivery, finding: ReadbackResult, started_ticks: float
    ) -> Event:
        """Turn a finding into an event: absence takes several, and an address given by a person must be seen.

        What no look can show any more goes to a person, instead of keeping its account silent.
        """
        if isinstance(finding, Published):
            return reject_foreign_ids(transaction, [(delivery, finding)])[0]
        if isinstance(finding, Deleted) and not self._is_deletion_confirmed(transaction, delivery):
            kept = delivery.reason if delivery.is_retraction_requested else None  # why it is to be taken down
            finding = Unknown(reason=kept or "deletion_unconfirmed")
        is_looked_for = delivery.state is State.UNKNOWN or (delivery.state is State.RETRACTING and not delivery.receipt)
        if is_looked_for and delivery.reported_url and isinstance(finding, NotFound):
            return Held(reason=HoldReason.REPORT_NOT_CONFIRMED)
        if delivery.state is State.SUBMITTED and (task := parse_manual_task(delivery.ticket)):
            return self._check_manual_task(transaction, delivery, task, finding)
        if delivery.state is not State.SUBMITTED and isinstance(finding, Unknown) and finding.is_beyond_list:
            return self._hold_for_person(transaction, delivery, finding, started_ticks)
        if not isinstance(finding, NotFound):
            return finding
        attempt = _last_attempt(transaction, delivery)
        is_settled = self._is_visibility_window_over(delivery, attempt, started_ticks)
        if not proves_absent(_readbacks_of(transaction, delivery), to_attempt(attempt), is_window_over=is_settled):
            return finding
        said = load_result(attempt["outcome"], attempt["detail"]) if attempt["outcome"] else None
        is_duplicate = isinstance(said, Unknown) and said.is_duplicate
        traits = self.store.policies[delivery.account].capabilities
        return AbsenceProven(can_resend=traits.can_resend and finding.can_resend and not is_duplicate)

    def _is_deletion_confirmed(self, transaction: Transaction, delivery: Delivery) -> bool:
        """Return True if the word that it is gone can be taken: a second one, or the answer to our own deletion."""
        if _is_deleted_by_us(delivery) or not delivery.attempts:
            return True
        lag = self.store.policies[delivery.account].capabilities.listing_lag

        def shows_deletion(readback: Readback) -> bool:
            return readback.attempt == delivery.attempts and isinstance(readback.result, Deleted)

        return is_confirmed(_readbacks_of(transaction, delivery), shows_deletion, lag)

    def _hold_for_person(
        self, transaction: Transaction, delivery: Delivery, finding: Unknown, started_ticks: float
    ) -> Event:
        """Leave what no look can show any more to a person, once its call can lead to nothing more.

        What is to be taken down while the platform or a person still works on it is looked for on and on.
        """
        if delivery.attempts and not self._is_visibility_window_over(
            delivery, _last_attempt(transaction, delivery), started_ticks
        ):
            return finding
        if delivery.state is State.RETRACTING:
            return finding if delivery.ticket else Held(reason=HoldReason.UNDELETABLE)
        return Held(reason=HoldReason.REPORT_NOT_CONFIRMED if delivery.reported_url else HoldReason.UNCHECKABLE)

    def _check_manual_task(
        self, transaction: Transaction, delivery: Delivery, task: ManualTask, finding: ReadbackResult
    ) -> ReadbackResult:
        """Go on with a task that was not seen done; tell people, once, when it should have been seen."""
        if not isinstance(finding, NotFound | ReadFailure):
            return finding
        now, timing = self.store.runtime.now(), self.store.timing(delivery.account)
        if self.store.runtime.is_clock_confirmed() and task.is_report_overdue(timing, now):
            facts = {"url": task.url or "", "by": task.reported_by or ""}
            if isinstance(finding, ReadFailure):
                reason = finding.reason if isinstance(finding, Unknown) else "rate_limited"
                raise_delivery_alert_once(
                    transaction, now, "manual_task_uncheckable", delivery, {**facts, "reason": reason}
                )
            else:
                raise_delivery_alert_once(transaction, now, "manual_task_not_seen", delivery, facts)
        return Submitted(ticket=task.ticket, check_again_at=task.next_check_at(timing, now))

    def _is_visibility_window_over(self, delivery: Delivery, attempt: RowMapping, started_ticks: float) -> bool:
        """Whether all that a call may lead to had shown itself when a read of it began.

        So it has a settle time after this process knew of the call's end. Of a call that another process ended, the
        stored end tells as well, where the clock was confirmed when that was written. Nothing is concluded while the
        clock is not: what follows may depend on the instant.
        """
        if attempt["ended_at"] is None:
            return False
        settle, clocks = self.store.timing(delivery.account).visibility_window, self.store.runtime.read_clocks()
        end = self.store.call_ends.get_end(delivery.id, attempt["fencing_token"], clocks.monotonic_seconds)
        if not self.store.runtime.is_clock_confirmed():
            return False
        has_settled_here = started_ticks > end.known_since_ticks + settle.total_seconds()
        if has_settled_here or end.is_own or not attempt["is_end_confirmed"]:
            return has_settled_here
        began_at = clocks.at - timedelta(
            seconds=clocks.monotonic_seconds - started_ticks
        )  # by the clock as it stands now
        return bool(began_at > attempt["ended_at"] + settle + MAX_TIMESTAMP_SKEW)

    async def apply_event(self, delivery: DeliveryId, event: Event, by: Actor) -> Delivery:
        """Bring a person's event to a delivery. Raises IllegalStepError where the table does not allow it."""

        def operation(transaction: Transaction) -> Delivery:
            before = to_delivery(get_row(transaction, delivery))
            return self.store.transition(transaction, before, event, by)

        return await self.store.database.write(operation)


def _readbacks_of(transaction: Transaction, delivery: Delivery) -> list[Readback]:
    readbacks = transaction.connection.execute(
        select(READBACK).where(READBACK.c.delivery == delivery.id).order_by(READBACK.c.id)
    )
    return [to_readback(row) for row in readbacks.mappings()]


def _last_attempt(transaction: Transaction, delivery: Delivery) -> RowMapping:
    is_last = (ATTEMPT.c.delivery == delivery.id, ATTEMPT.c.number == delivery.attempts)
    return transaction.connection.execute(select(ATTEMPT).where(*is_last)).mappings().one()


def _is_lease_current(delivery: Delivery, lease: Lease) -> bool:
    return delivery.state is State.SENDING and delivery.fencing_token == lease.fencing_token


def _is_deleted_by_us(delivery: Delivery) -> bool:
    """Return True if a read that shows it gone answers our own deletion."""
    receipt = delivery.receipt
    return delivery.state is State.RETRACTING and receipt is not None and not receipt.is_manually_confirmed
