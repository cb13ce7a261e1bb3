"""The life of a delivery in the store: claim, intent, outcome and readbacks."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    bindparam,
    case,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, StatementError

from publisher.domain.account import AccountId, Mode
from publisher.domain.delivery import (
    CHECKED_STATES,
    DESIRED_NO_SEND,
    RECONCILER,
    RETRACTOR,
    SENDER,
    WAITING_STATES,
    AbsenceProven,
    Actor,
    Claimed,
    Delivery,
    Event,
    Held,
    Lease,
    Readback,
    Released,
    ReviewPossible,
    State,
)
from publisher.domain.lifecycle import MAX_AUTH_FAILURES
from publisher.domain.post import DeliveryId, SendRequest
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    HoldReason,
    ManualTask,
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
    TransportReason,
    Unknown,
    drop_details,
    result_code,
)
from publisher.domain.verification import is_confirmed, proves_absent
from publisher.runtime.clock import MAX_TIMESTAMP_SKEW, ClockReading
from publisher.runtime.logs import log
from publisher.store.base import (
    BLOCKED_BY_UNKNOWN,
    CANNOT_SEND,
    StateChange,
    StorePart,
)
from publisher.store.comparison import can_claim
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import (
    IntentNotJournaledError,
    Transaction,
    in_transaction,
)
from publisher.store.db.filters import in_open_state, in_state, may_call, mode_override
from publisher.store.db.postgres import (
    JOURNAL_UNWRITABLE,
    CommitUnknownError,
    is_unavailable,
    write_error_code,
)
from publisher.store.db.rows import (
    RENEWAL,
    SELECT_DELIVERIES,
    clear_alerts,
    clear_outcome_alerts,
    get_delivery,
    last_attempt_row,
    newest_outcomes,
    pause_account,
    raise_delivery_alert,
    raise_delivery_alert_once,
    readbacks_of,
    reject_foreign_ids,
    subject_of,
    write_audit,
    write_readback,
)
from publisher.store.db.tables import (
    ATTEMPT,
    DELIVERY,
    LOGIN,
    dump_result,
    load_result,
    read_deliveries,
    to_attempt,
)
from publisher.store.deliveries.cooldowns import (
    extend_queue_deadlines,
    is_unreadable,
    may_read,
    revert_quota_cooldowns,
    start_login_cooldown,
    start_rate_limit,
    trip_circuit_breakers,
)
from publisher.store.deliveries.intents import (
    PREPARE_AHEAD,
    STILL_CLAIMABLE,
    Declined,
    PendingReadback,
    choose_claims,
    claim_due_readbacks,
    has_published_parts,
    is_claimable,
    read_due_readbacks,
    record_intents,
)
from publisher.store.lost_attempts import recover_lost_attempts

MAX_TLS_FAILURES = 3
_NOW = bindparam("now", type_=DELIVERY.c.due_at.type)


def pending_call_query(
    condition: Callable[[Any, Any], ColumnElement[bool]],
) -> Select[Any]:
    """Select an intent with a call that may still begin.

    No rate limit came meanwhile, and its account is in API mode.
    """
    return select(DELIVERY.c.id).where(
        DELIVERY.c.id == bindparam("delivery"),
        DELIVERY.c.attempts == bindparam("attempt"),
        in_state(DELIVERY, State.SENDING),
        condition(DELIVERY, _NOW),
        ~exists().where(
            LOGIN.c.id == DELIVERY.c.login, LOGIN.c.rate_limited_until > _NOW
        ),
        func.coalesce(
            mode_override(DELIVERY),
            bindparam("configured_mode", type_=DELIVERY.c.platform.type),
        )
        == Mode.API.value,
    )


PENDING_CALL_QUERY = pending_call_query(may_call)


class Outbox(StorePart):
    """Claims, intents, outcomes and readbacks. A second caller finds each write already done."""

    @in_transaction
    def preload(self, transaction: Transaction) -> None:
        """Claim and record nothing.

        Without this, the first due posts would wait for the queries to be compiled.
        """
        choose_claims(self.store, transaction, 1)
        read_deliveries(transaction.connection, STILL_CLAIMABLE, {"deliveries": []})
        self._record_intents(transaction, [])
        self._record_outcomes(transaction, [])
        clear_outcome_alerts(transaction, self.runtime.now(), ALERT.c.subject.in_([]))

    async def claim(self, limit: int) -> Sequence[Lease]:
        """Claim the most urgent due delivery of each free login, for at most `limit` logins."""
        leases = await self._claim_deliveries(limit)
        for lease in leases:
            self.store.mark_lease(lease, has_write_failed=False)
        if leases:
            await self.runtime.hit_failpoint("claim.after_commit")
        return leases

    @in_transaction
    def _claim_deliveries(self, transaction: Transaction, limit: int) -> list[Lease]:
        """Claim deliveries and start their local leases.

        Until the commit is known, a lease counts as one with a failed write.
        """
        now = self.runtime.now_if_confirmed()
        database = self.database
        if now is None or not can_claim(self.store, transaction):
            return []
        if database.journal and not database.journal.can_append():
            # the alert goes on for as long as it lasts
            database.record_write_error(JOURNAL_UNWRITABLE)
            return []
        chosen = choose_claims(self.store, transaction, limit)
        until = {
            delivery.id: max(now, delivery.due_at)
            + self.store.timing(delivery.account).lease_timeout
            for delivery in chosen
        }
        changes = [
            StateChange(
                before=delivery, event=Claimed(), lease_until=until[delivery.id]
            )
            for delivery in chosen
        ]
        leases = [
            Lease(
                delivery=after.id,
                account=after.account,
                login=after.login,
                fencing_token=after.fencing_token,
                due_at=after.due_at,
                until=until[after.id],
            )
            for after in self.store.transition_all(transaction, changes, SENDER)
        ]
        for lease in leases:
            self.store.start_lease(
                lease.delivery, lease.fencing_token, lease.until - now
            )
            self.store.mark_lease(lease, has_write_failed=True)
        return leases

    async def next_due_at(self) -> datetime | None:
        """Return the time of the next due delivery, retry or retraction; None if there is none."""
        query = (
            select(DELIVERY.c.account, DELIVERY.c.reason, DELIVERY.c.next_action_at)
            .add_columns(
                case(
                    (DELIVERY.c.is_urgent, LOGIN.c.cooldown_until),
                    (has_published_parts(DELIVERY), LOGIN.c.parts_cooldown_until),
                    else_=LOGIN.c.routine_cooldown_until,
                ).label("allowed_at")
            )
            .join(LOGIN, LOGIN.c.id == DELIVERY.c.login)
            .where(is_claimable(DELIVERY))
        )
        now = self.runtime.now()
        parameters = {
            "accounts": self.store.active_accounts,
            "now": now,
            "due_by": now + PREPARE_AHEAD,
        }
        waits = select(DELIVERY.c.next_action_at).where(
            in_open_state(DELIVERY, State.RETRYING, State.RETRACTING)
        )
        rows = await self.database.read_rows(query, parameters)
        blocked = sorted(
            (row.next_action_at, row.account)
            for row in rows
            if row.reason == BLOCKED_BY_UNKNOWN and row.next_action_at
        )
        blocked_until = {
            account: until for until, account in blocked
        }  # the latest of each account
        ready = [
            max(
                filter(
                    None,
                    (
                        row.next_action_at,
                        row.allowed_at,
                        blocked_until.get(row.account),
                    ),
                )
            )
            for row in rows
        ]
        ready += filter(
            None,
            await self.database.read_scalars(waits),
        )
        return min(ready, default=None)

    async def record_intent(self, lease: Lease) -> SendRequest | Declined:
        """Commit and journal the intent of a call if every guard agrees.

        Otherwise release the lease or end the delivery. If the journal refuses its line, the
        attempt is recorded as not sent, since its call never began.
        """
        try:
            with self._mark_if_write_fails(lease):
                # before the outcomes of calls that are over: it is the start of a call that can be
                # late
                answer = await self.database.write_batched(
                    self._record_intents, lease, goes_first=True
                )
        except IntentNotJournaledError as error:
            if isinstance(error.result, SendRequest):
                await self.record_outcome(lease, NotSent(reason="journal_write_failed"))
                return Declined(guard="journal")
            answer = cast("Declined", error.result)
        if isinstance(answer, Declined):
            self.store.end_lease(lease)
        return answer

    def _record_intents(
        self, transaction: Transaction, leases: Sequence[Lease]
    ) -> list[SendRequest | Declined]:
        return record_intents(self.store, transaction, leases)

    @contextmanager
    def _mark_if_write_fails(self, lease: Lease) -> Iterator[None]:
        """Mark a lease that will expire because the store could not write.

        Any other error is the delivery's own.
        """
        try:
            yield
        except (DBAPIError, CommitUnknownError, OSError) as error:
            if (
                is_unavailable(error)
                or write_error_code(error)
                or isinstance(error, OSError)
            ):
                self.store.mark_lease(lease, has_write_failed=True)
            raise

    async def release(self, lease: Lease) -> None:
        """Release an unused lease; does nothing if the lease is no longer ours."""
        with self._mark_if_write_fails(lease):
            await self._release_claim(lease)
        self.store.end_lease(lease)

    @in_transaction
    def _release_claim(self, transaction: Transaction, lease: Lease) -> None:
        delivery = get_delivery(transaction, lease.delivery)
        is_ours = lease.has_current_fencing_token(delivery)
        if delivery.state is State.CLAIMED and is_ours:
            self.store.transition(transaction, delivery, Released(), SENDER)

    async def may_still_send(self, request: SendRequest) -> bool:
        """Return True if the call of a recorded intent may still begin.

        It is asked right before the first byte. Return False while the database cannot be read.
        """
        parameters = {
            "delivery": request.delivery,
            "attempt": request.attempt,
            "now": self.runtime.now(),
            "configured_mode": self.store.policies[request.account].account.mode.value,
        }
        try:
            found = await self.database.read_scalar(PENDING_CALL_QUERY, parameters)
        except DBAPIError as error:
            log.warning(
                "call_not_confirmed",
                delivery=request.delivery,
                error=type(error).__name__,
            )
            return False
        return found is not None

    async def record_outcome(self, lease: Lease, outcome: Outcome) -> Delivery:
        """Record the outcome of a call. After its lease was lost, it is only kept as evidence.

        While the database is away this retries without limit, because nothing else knows the
        outcome. An outcome that cannot be stored as it is, is stored without its details.
        """
        stored = outcome
        while True:
            try:
                with self._mark_if_write_fails(lease):
                    after = await self.database.write_batched(
                        self._record_outcomes, (lease, stored)
                    )
                break
            except (
                StatementError,
                CommitUnknownError,
                ValueError,
                TypeError,
                OverflowError,
            ) as error:
                if is_unavailable(error):
                    log.warning(
                        "outcome_delayed",
                        delivery=lease.delivery,
                        account=lease.account,
                    )
                elif stored is outcome and write_error_code(error) is None:
                    log.exception(
                        "outcome_reduced",
                        delivery=lease.delivery,
                        outcome=result_code(outcome),
                    )
                    stored = drop_details(outcome)
                else:
                    raise
        self.store.end_lease(lease)
        self.store.call_record.forget(lease.delivery, lease.fencing_token)
        await self.runtime.hit_failpoint("outcome.after_commit")
        return after

    def _record_outcomes(
        self, transaction: Transaction, outcomes: Sequence[tuple[Lease, Outcome]]
    ) -> list[Delivery]:
        now = self.runtime.now()
        recover_lost_attempts(self.store, transaction)
        ids = {"deliveries": [lease.delivery for lease, _outcome in outcomes]}
        before = {
            item.id: item
            for item in read_deliveries(transaction.connection, SELECT_DELIVERIES, ids)
        }
        self.store.finish_attempts(
            transaction,
            [
                (lease.delivery, lease.fencing_token, outcome)
                for lease, outcome in outcomes
            ],
        )
        in_time = [
            item
            for item in outcomes
            if is_lease_current(before[item[0].delivery], item[0])
        ]
        events = reject_foreign_ids(
            transaction,
            [(before[lease.delivery], outcome) for lease, outcome in in_time],
        )
        changes = [
            StateChange(before=before[lease.delivery], event=event)
            for (lease, _outcome), event in zip(in_time, events, strict=True)
        ]
        changed = {
            after.id: after
            for after in self.store.transition_all(transaction, changes, SENDER)
        }
        afters = before | changed
        for lease, outcome in outcomes:
            is_in_time = lease.delivery in changed
            self._apply_side_effects(
                transaction, afters[lease.delivery], outcome, now, is_in_time=is_in_time
            )
            if is_in_time:
                self.runtime.hit_failpoint_now("outcome.before_commit")
            else:
                self.record_late_outcome(
                    transaction, before[lease.delivery], lease, outcome, now
                )
        unsent = sorted(
            lease.delivery
            for lease, outcome in outcomes
            if isinstance(outcome, NotSent) and lease.delivery in changed
        )
        revert_quota_cooldowns(
            self.store, transaction, [afters[delivery] for delivery in unsent]
        )
        for delivery in (afters[item] for item in unsent):
            if delivery.next_action_at is not None:
                extend_queue_deadlines(
                    transaction, delivery.login, delivery.next_action_at, now
                )
        if unreadable := {
            before[lease.delivery].account
            for lease, outcome in outcomes
            if is_unreadable(outcome)
        }:
            trip_circuit_breakers(self.store, transaction, sorted(unreadable), SENDER)
        return [afters[lease.delivery] for lease, _outcome in outcomes]

    def record_late_outcome(
        self,
        transaction: Transaction,
        delivery: Delivery,
        lease: Lease,
        outcome: Outcome,
        now: datetime,
    ) -> None:
        """Keep a late outcome as evidence: a post that it reports cannot be proven absent any more.

        If absence was concluded before, the delivery is held, or an alert is raised: a person must
        check before the next call. Nothing else follows from it.
        """
        detail = dict(dump_result(outcome))
        write_audit(
            transaction,
            now,
            SENDER,
            event="late_outcome_recorded",
            subject=subject_of(delivery),
            detail=detail,
        )
        query = select(ATTEMPT.c.number, ATTEMPT.c.part).where(
            ATTEMPT.c.delivery == lease.delivery,
            ATTEMPT.c.fencing_token == lease.fencing_token,
        )
        attempt = transaction.connection.execute(query).one_or_none()
        if attempt is None or not isinstance(outcome, Published | Submitted):
            return
        write_readback(transaction, delivery.id, attempt.number, now, outcome)
        if attempt.part < delivery.parts_done or delivery.state in CHECKED_STATES:
            return
        if delivery.state in WAITING_STATES:
            self.store.transition(
                transaction, delivery, Held(reason=HoldReason.UNCHECKABLE), SENDER
            )
        else:
            url = outcome.receipt.url if isinstance(outcome, Published) else ""
            raise_delivery_alert(
                transaction, now, "response_late", delivery, {"url": url}
            )

    def _apply_side_effects(  # noqa: C901 # one flat match
        self,
        transaction: Transaction,
        delivery: Delivery,
        outcome: Outcome,
        now: datetime,
        *,
        is_in_time: bool,
    ) -> None:
        """Apply an outcome to the account and the login, and as an alert for staff.

        A platform's report about an account or a login counts even if the outcome is too late for
        the delivery.
        """
        match outcome:
            case Blocked():
                pause_account(
                    transaction,
                    delivery.account,
                    at=now,
                    by=SENDER,
                    reason=outcome.code,
                    message=outcome.reason,
                )
            case RateLimited():
                retry_at = (
                    delivery.next_action_at
                    if delivery.state is State.RETRYING
                    else None
                )
                until = (
                    outcome.until
                    or retry_at
                    or now + self.store.timing(delivery.account).retry_first
                )
                start_rate_limit(
                    self.store,
                    transaction,
                    delivery.login,
                    until,
                    now,
                    is_for_reads=False,
                )
            case _ if not is_in_time:
                pass
            case CredentialExpired() if delivery.auth_failures >= MAX_AUTH_FAILURES:
                for account, policy in self.store.policies.items():
                    if policy.account.login == delivery.login:
                        pause_account(
                            transaction,
                            account,
                            at=now,
                            by=SENDER,
                            reason=outcome.reason,
                            ends_with=RENEWAL,
                        )
                # those of the pauses say so from now on
                clear_alerts(transaction, f"login:{delivery.login}", now)
            case NotSent(reason=TransportReason.TLS_FAILED) if (
                newest_outcomes(transaction, delivery, MAX_TLS_FAILURES)
                == [outcome] * MAX_TLS_FAILURES
            ):
                pause_account(
                    transaction,
                    delivery.account,
                    at=now,
                    by=SENDER,
                    reason=outcome.reason,
                )
            case NotSent() if (
                delivery.state is State.RETRYING
                and now > delivery.due_at + delivery.max_delay
            ):
                facts = {
                    "reason": outcome.reason,
                    "until": delivery.expires_at.isoformat(),
                }
                raise_delivery_alert_once(
                    transaction, now, CANNOT_SEND, delivery, facts
                )
            case Submitted() if (
                outcome.ticket.manual_task and delivery.state is State.SUBMITTED
            ):
                raise_delivery_alert(transaction, now, "manual_task_waiting", delivery)
            case Unknown(reason=TransportReason.REDIRECTED):
                raise_delivery_alert(transaction, now, "response_redirected", delivery)
            case Unknown(
                reason=TransportReason.BODY_TOO_LARGE | TransportReason.RESPONSE_ENCODED
            ):
                raise_delivery_alert(transaction, now, "response_too_large", delivery)

    async def due_readbacks(
        self,
        states: Iterable[State],
        limit: int,
        *,
        exclude: Collection[DeliveryId] = (),
    ) -> Sequence[PendingReadback]:
        """Return deliveries in these states with a due readback, longest waiting first.

        A delivery is held instead if its account is another one by now. Nothing on the new account
        proves the former call. On a shared database each one is postponed by its lease timeout, so
        that no other worker reads it meanwhile.
        """
        query = (
            select(DELIVERY)
            .where(
                DELIVERY.c.state.in_([state.value for state in states]),
                DELIVERY.c.next_action_at <= self.runtime.now(),
                DELIVERY.c.account.in_(list(self.store.policies)),
                DELIVERY.c.id.not_in(list(exclude)),
                DELIVERY.c.login.not_in(self.store.rate_limited_logins()),
                may_read(self.runtime.now()),
            )
            .order_by(DELIVERY.c.next_action_at)
            .limit(limit)
        )
        if not self.database.is_shared:
            pending = await self.database.read(read_due_readbacks, self.store, query)
        elif await self.database.read(
            lambda connection: connection.execute(query).first()
        ):
            pending = await self.database.write(claim_due_readbacks, self.store, query)
        else:
            return []
        if any(item.conflict for item in pending):
            await self._hold_conflicts(pending)
        return [item for item in pending if item.conflict is None]

    @in_transaction
    def _hold_conflicts(
        self, transaction: Transaction, pending: Sequence[PendingReadback]
    ) -> None:
        """Hold the deliveries with an attempt made as another identity, unless changed since."""
        for item in pending:
            delivery = get_delivery(transaction, item.delivery.id)
            if item.conflict is not None and delivery.version == item.delivery.version:
                by = RETRACTOR if delivery.state is State.RETRACTING else RECONCILER
                self.store.transition(transaction, delivery, item.conflict, by)

    @in_transaction
    def record_readback(
        self,
        transaction: Transaction,
        pending: PendingReadback,
        seen: ReadbackResult,
        by: Actor,
        started_ticks: float,
    ) -> Delivery:
        """Store the result of a readback that began at `started_ticks`, and apply it.

        `started_ticks` is in monotonic seconds. The result is not applied if the delivery has
        changed since. A list without the post proves nothing while the clock is not confirmed,
        because the instant of the readback would be unknown.
        """
        clocks = self.runtime.read_clocks()
        delivery = get_delivery(transaction, pending.delivery.id)
        proves_by_date = isinstance(seen, NotFound) or (
            isinstance(seen, Deleted) and not _is_deleted_by_us(delivery)
        )
        is_undated = proves_by_date and not self.runtime.is_clock_confirmed()
        result = applied = (
            Unknown(reason="clock_unconfirmed_at_read") if is_undated else seen
        )
        write_readback(
            transaction,
            delivery.id,
            pending.delivery.attempts,
            _wall_time(clocks, started_ticks),
            result,
        )
        if isinstance(result, RateLimited):
            default_duration = self.store.timing(delivery.account).first_check_after
            applied = start_login_cooldown(
                self.store, transaction, delivery.login, result, default_duration
            )
        if (
            delivery.state not in CHECKED_STATES
            or delivery.version != pending.delivery.version
        ):
            return delivery
        event = self._decide_event(transaction, delivery, applied, started_ticks)
        # check_now() came after this readback had begun
        if (
            isinstance(event, Submitted)
            and delivery.next_action_at
            and delivery.next_action_at != pending.delivery.next_action_at
        ):
            event = replace(event, check_again_at=delivery.next_action_at)
        self.runtime.hit_failpoint_now("reconcile.before_commit")
        after = self.store.transition(transaction, delivery, event, by)
        self._alert_if_urgent_is_unseen(transaction, after, event)
        if (
            after.state is State.RETRACTING
            and isinstance(result, Rejected)
            and after.reason != delivery.reason
        ):
            url = after.receipt.url if after.receipt else ""
            facts = {"reason": result.code, "said": result.reason, "url": url}
            raise_delivery_alert(
                transaction, clocks.at, "retraction_refused", after, facts
            )
        return after

    @in_transaction
    def check_now(
        self,
        transaction: Transaction,
        account: AccountId,
        is_match: Callable[[Ticket], bool],
    ) -> int:
        """Make the next readback due now for submitted deliveries with a matching ticket.

        The deliveries are of one account. Return the number. No state changes.
        """
        query = select(DELIVERY).where(
            DELIVERY.c.account == account, in_state(DELIVERY, State.SUBMITTED)
        )
        submitted = read_deliveries(transaction.connection, query)
        matching = [
            item
            for item in submitted
            if item.ticket is not None and is_match(item.ticket)
        ]
        for item in matching:
            is_same = (DELIVERY.c.id == item.id, DELIVERY.c.version == item.version)
            transaction.connection.execute(
                update(DELIVERY)
                .where(*is_same)
                .values(next_action_at=self.runtime.now())
            )
        return len(matching)

    def _decide_event(
        self,
        transaction: Transaction,
        delivery: Delivery,
        result: ReadbackResult,
        started_ticks: float,
    ) -> Event:
        """Return the event that follows from a readback result.

        Absence takes several readbacks. So does a deletion that is not ours. A person's reported
        address must be seen before the visibility window is over. That window starts with the
        report.
        """
        if isinstance(result, Published):
            return reject_foreign_ids(transaction, [(delivery, result)])[0]
        if (
            isinstance(result, Deleted)
            and delivery.attempts
            and not _is_deleted_by_us(delivery)
        ):
            result = self._confirm_deletion(transaction, delivery, result)
        is_searched = delivery.state is State.UNKNOWN or (
            delivery.state is State.RETRACTING and not delivery.receipt
        )
        if is_searched and delivery.reported_url and isinstance(result, NotFound):
            began_at = _wall_time(self.runtime.read_clocks(), started_ticks)
            visible_at = (delivery.unknown_since or began_at) + self.store.timing(
                delivery.account
            ).visibility_window
            return (
                Held(reason=HoldReason.POSSIBLE_MATCH)
                if began_at > visible_at
                else result
            )
        if delivery.state is State.SUBMITTED and (task := delivery.manual_task):
            return self._check_manual_task(transaction, delivery, task, result)
        if (
            delivery.state is not State.SUBMITTED
            and isinstance(result, Unknown)
            and result.is_beyond_list
        ):
            return self._hold_beyond_list(transaction, delivery, result, started_ticks)
        return (
            self._prove_absence(transaction, delivery, result, started_ticks)
            if isinstance(result, NotFound)
            else result
        )

    def _confirm_deletion(
        self, transaction: Transaction, delivery: Delivery, result: Deleted
    ) -> Deleted | Unknown:
        """Return the deletion if several readbacks over more than the listing lag report it.

        Otherwise nothing is known.
        """
        lag = self.store.policies[delivery.account].capabilities.listing_lag

        def shows_deletion(readback: Readback) -> bool:
            return readback.attempt == delivery.attempts and isinstance(
                readback.result, Deleted
            )

        if is_confirmed(readbacks_of(transaction, delivery), shows_deletion, lag):
            return result
        retraction_reason = (
            delivery.reason if delivery.is_retraction_requested else None
        )
        return Unknown(reason=retraction_reason or "deletion_unconfirmed")

    def _hold_beyond_list(
        self,
        transaction: Transaction,
        delivery: Delivery,
        result: Unknown,
        started_ticks: float,
    ) -> Unknown | Held:
        """Hold a post that no readback can show any more once it would be visible.

        The post is held instead of blocking its account.
        """
        if delivery.attempts and not self.is_visibility_window_over(
            delivery, last_attempt_row(transaction, delivery), started_ticks
        ):
            return result
        # with a ticket it may still be published: keep looking
        if delivery.state is State.RETRACTING:
            return result if delivery.ticket else Held(reason=HoldReason.UNDELETABLE)
        if delivery.is_review_possible:
            return Held(reason=HoldReason.REVIEW_POSSIBLE)
        return Held(
            reason=HoldReason.POSSIBLE_MATCH
            if delivery.reported_url
            else HoldReason.UNCHECKABLE
        )

    def _prove_absence(
        self,
        transaction: Transaction,
        delivery: Delivery,
        result: NotFound,
        started_ticks: float,
    ) -> NotFound | ReviewPossible | AbsenceProven:
        """Return the present proof of the readbacks.

        If a review may hide a post, the review's longest time must be over too.
        """
        attempt = last_attempt_row(transaction, delivery)
        is_window_over = self.is_visibility_window_over(
            delivery, attempt, started_ticks
        )
        if not proves_absent(
            readbacks_of(transaction, delivery),
            to_attempt(attempt),
            is_window_over=is_window_over,
        ):
            return result
        review_window = self.store.timing(delivery.account).review_window
        is_review_over = self.is_window_over(
            delivery, attempt, started_ticks, review_window
        )
        if delivery.state is not State.SUBMITTED and not is_review_over:
            return ReviewPossible()
        outcome = (
            load_result(attempt["outcome"], attempt["detail"])
            if attempt["outcome"]
            else None
        )
        is_duplicate = isinstance(outcome, Unknown) and outcome.is_duplicate
        capabilities = self.store.policies[delivery.account].capabilities
        return AbsenceProven(
            can_resend=capabilities.can_resend
            and result.can_resend
            and not is_duplicate
        )

    def _check_manual_task(
        self,
        transaction: Transaction,
        delivery: Delivery,
        task: ManualTask,
        result: ReadbackResult,
    ) -> ReadbackResult:
        """Keep a manual task open if its post was not seen.

        Alert once when the post should have been seen.
        """
        if not isinstance(result, NotFound | ReadFailure):
            return result
        now, timing = self.runtime.now(), self.store.timing(delivery.account)
        if self.runtime.is_clock_confirmed() and task.is_report_overdue(timing, now):
            facts = {"url": task.url or "", "by": task.reported_by or ""}
            if isinstance(result, ReadFailure):
                reason = (
                    result.reason if isinstance(result, Unknown) else "rate_limited"
                )
                raise_delivery_alert_once(
                    transaction,
                    now,
                    "manual_task_uncheckable",
                    delivery,
                    {**facts, "reason": reason},
                )
            else:
                raise_delivery_alert_once(
                    transaction, now, "manual_task_not_seen", delivery, facts
                )
        return Submitted(
            ticket=Ticket(manual_task=task),
            check_again_at=task.next_check_at(timing, now),
        )

    def _alert_if_urgent_is_unseen(
        self, transaction: Transaction, after: Delivery, event: Event
    ) -> None:
        """Alert at the first read without an urgent post that a review may hide.

        The post is not resent.
        """
        policy = self.store.policies[after.account]
        is_wanted = (
            after.state is State.UNKNOWN
            and after.is_urgent
            and after.desired not in DESIRED_NO_SEND
        )
        if is_wanted and isinstance(event, NotFound) and policy.timing.review_window:
            facts = {"url": policy.capabilities.account_url or policy.account.identity}
            raise_delivery_alert_once(
                transaction, self.runtime.now(), "urgent_not_seen", after, facts
            )

    def is_visibility_window_over(
        self, delivery: Delivery, attempt: RowMapping, started_ticks: float
    ) -> bool:
        """Return True if all results of a call were visible when a readback began.

        A review may still hide a result.
        """
        window = self.store.timing(delivery.account).visibility_window
        return self.is_window_over(delivery, attempt, started_ticks, window)

    def is_window_over(
        self,
        delivery: Delivery,
        attempt: RowMapping,
        started_ticks: float,
        window: timedelta,
    ) -> bool:
        """Return True if a window after the end of a call was over when a readback began.

        The window runs from the time when this process learned the end of the call. For a call that
        another process ended, the stored end counts as well, under two conditions. Kernel or
        platform had confirmed the clock that wrote it, and have confirmed it now. A person's word
        is not enough. While the clock is not confirmed at all the answer is False, because the next
        step may depend on the instant.
        """
        if attempt["ended_at"] is None:
            return False
        clocks = self.runtime.read_clocks()
        end = self.store.call_ends.get_end(
            delivery.id, attempt["fencing_token"], clocks.monotonic_seconds
        )
        if not self.runtime.is_clock_confirmed():
            return False
        is_over_here = started_ticks > end.known_since_ticks + window.total_seconds()
        if (
            is_over_here
            or end.is_own
            or not (attempt["is_end_confirmed"] and self.runtime.is_clock_proven())
        ):
            return is_over_here
        return bool(
            _wall_time(clocks, started_ticks)
            > attempt["ended_at"] + window + MAX_TIMESTAMP_SKEW
        )


def _wall_time(clocks: ClockReading, ticks: float) -> datetime:
    """Return the instant of a monotonic reading, by the wall clock as it stands now."""
    return clocks.at - timedelta(seconds=clocks.monotonic_seconds - ticks)


def is_lease_current(delivery: Delivery, lease: Lease) -> bool:
    """Return True if the delivery is still being sent under this lease. Its outcome counts then."""
    return delivery.state is State.SENDING and lease.has_current_fencing_token(delivery)


def _is_deleted_by_us(delivery: Delivery) -> bool:
    """Return True if a readback that shows the post gone answers our own deletion."""
    receipt = delivery.receipt
    return (
        delivery.state is State.RETRACTING
        and receipt is not None
        and not receipt.is_manually_confirmed
    )
