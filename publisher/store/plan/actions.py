"""Actions of people about posts, accounts, pauses and manual tasks, and daemons' heartbeats."""

import json
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Update,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from publisher.domain.account import Account, AccountId, LoadedFiles, LoginId, Mode
from publisher.domain.approval import hash_rules
from publisher.domain.delivery import (
    MAINTENANCE,
    MAYBE_PUBLISHED_STATES,
    WAITING_STATES,
    Actor,
    Delivery,
    DesiredState,
    Event,
    Expired,
    Resolved,
    RetractionRequested,
    State,
)
from publisher.domain.errors import RefusedError
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    DeliveryId,
    Post,
    PostId,
    make_occurrence,
)
from publisher.domain.reports import is_not_started
from publisher.runtime.clock import ClockReading
from publisher.store.approvals.guard import needs_review
from publisher.store.base import HEARTBEAT_TIMEOUT, StateChange, StorePart
from publisher.store.database_identity import (
    clear_acceptance,
    is_original_database,
    set_worker_state,
)
from publisher.store.db.alert_tables import (
    ALERT,
    IS_ACKNOWLEDGED,
    NOT_ACKNOWLEDGED,
)
from publisher.store.db.approval_tables import DECISION_REQUEST
from publisher.store.db.database import Transaction, in_transaction, wait_for_lock
from publisher.store.db.filters import SCOPE_ALL, in_state, is_in_scope
from publisher.store.db.rows import (
    QUERY_BATCH_SIZE,
    audit_entry,
    batches,
    clear_alerts,
    clear_outcome_alerts,
    get_delivery,
    lock_planning,
    open_alerts,
    pause_account,
    raise_alert,
    subject_of,
    write_audit,
    write_entries,
    write_row,
)
from publisher.store.db.tables import (
    ATTEMPT,
    AUDIT,
    DATABASE_INFO,
    DELIVERY,
    MODE_OVERRIDE,
    PAUSE,
    POST,
    WORKER,
    WORKER_STATE,
    load_post,
    read_deliveries,
)
from publisher.store.deliveries.cancellations import (
    cancel_matching,
    list_other_forms,
)
from publisher.store.deliveries.intents import PAUSE_LOCK
from publisher.store.lost_attempts import recover_lost_attempts
from publisher.store.people.users import end_unreported_rotation
from publisher.store.queries.progress import ConfirmationRequest
from publisher.store.system_alerts import (
    ACCOUNT_JOBS,
    CLOCK_SUBJECT_PREFIX,
    CLOCK_WRONG,
    subject_of_job,
)

SECRET_STORED = "secret_stored"  # noqa: S105 # the name of an event
SECRET_REMOVED = "secret_removed"  # noqa: S105 # the name of an event
"""The audit event of a new value of a secret."""


APPROVAL_RULES_KEY = "approval_rules"
"""The key of the hash of the approval rules of a database's daemons."""


HELP_WANTED, HELP_LOCK = "help_wanted", "help"
HELP_PERIOD = timedelta(hours=1)
"""How long the operators are not notified of the same subject again."""


WANTED_VALUES = [DesiredState.AS_PLANNED.value, DesiredState.EDITED.value]


class OperatorActions(StorePart):
    """The actions of named people, with their audit entries, and the workers on the database.

    Each action has its audit entry in the same transaction. The steps of an offboarding may be
    repeated after a crash. A completed step stays as it is.
    """

    @in_transaction
    def apply_event(
        self,
        transaction: Transaction,
        delivery: DeliveryId,
        event: Event,
        by: Actor,
        version: int | None = None,
    ) -> Delivery:
        """Apply a person's event to a delivery.

        Raises IllegalTransitionError if the table does not allow it. Raises RefusedError
        `changed_meanwhile` if it is not the `version` that the person has seen.
        """
        before = get_delivery(transaction, delivery)
        require_version(before, version)
        return self.store.transition(transaction, before, event, by)

    @in_transaction
    def request_confirmation(  # noqa: PLR0913, PLR0917 # who says what, of which delivery, as they have seen it
        self,
        transaction: Transaction,
        delivery: DeliveryId,
        url: str,
        by: Actor,
        reason: str,
        version: int | None = None,
    ) -> None:
        """Store a person's statement about a delivery. It counts once another person confirms it.

        Raises RefusedError if the delivery is not the `version` that the person has seen.
        """
        said_of = get_delivery(transaction, delivery)
        require_version(said_of, version)
        now, detail = self.runtime.now(), {"url": url, "reason": reason}
        write_row(
            transaction.connection,
            DECISION_REQUEST,
            {"delivery": delivery},
            {**detail, "at": now, "by": by.name},
        )
        write_audit(
            transaction,
            now,
            by,
            event="confirmation_requested",
            subject=subject_of(said_of),
            detail=detail,
        )

    async def confirmation_request(
        self, delivery: DeliveryId
    ) -> ConfirmationRequest | None:
        """Return the statement about a delivery that waits for a second person, if any.

        It is about the delivery's last attempt.
        """
        is_outdated = exists().where(
            ATTEMPT.c.delivery == delivery,
            ATTEMPT.c.intended_at > DECISION_REQUEST.c.at,
        )
        query = select(DECISION_REQUEST).where(
            DECISION_REQUEST.c.delivery == delivery, ~is_outdated
        )
        row = await self.database.read(
            lambda connection: connection.execute(query).one_or_none()
        )
        return (
            ConfirmationRequest(url=row.url, by=row.by, reason=row.reason)
            if row
            else None
        )

    @in_transaction
    def end_confirmation_request(
        self, transaction: Transaction, delivery: DeliveryId
    ) -> None:
        """Forget the request: it was confirmed, or decided otherwise."""
        transaction.connection.execute(
            delete(DECISION_REQUEST).where(DECISION_REQUEST.c.delivery == delivery)
        )

    @in_transaction
    def pause(
        self, transaction: Transaction, scope: str, by: Actor, reason: str
    ) -> datetime:
        """Stop new calls in a scope, and return the start of the stop.

        The scope is `all`, `platform:P`, `account:A` or `post:P`. No intent follows this.
        """
        wait_for_lock(transaction, PAUSE_LOCK, is_shared=False)
        now = self.runtime.now()
        transaction.connection.execute(delete(PAUSE).where(PAUSE.c.scope == scope))
        transaction.connection.execute(
            insert(PAUSE).values(scope=scope, at=now, by=by.name, reason=reason)
        )
        write_audit(
            transaction,
            now,
            by,
            event="paused",
            subject=scope,
            detail={"reason": reason},
        )
        return now

    @in_transaction
    def pause_account(
        self, transaction: Transaction, account: Account, by: Actor, reason: str
    ) -> None:
        """Pause an account with a wrong secret, with an alert; do nothing if already paused."""
        pause_account(
            transaction,
            account.id,
            at=self.runtime.now(),
            by=by,
            reason=reason,
            secret=account.secret,
        )

    @in_transaction
    def ask_operators(
        self, transaction: Transaction, about: str, facts: Mapping[str, str], by: Actor
    ) -> bool:
        """Tell the operators that a person needs them, at most once in an hour for a subject.

        Return False if they were asked about the same already.
        """
        wait_for_lock(transaction, HELP_LOCK, is_shared=False)
        now, subject = self.runtime.now(), f"help:{about}"
        asked = select(ALERT.c.id).where(
            ALERT.c.code == HELP_WANTED,
            ALERT.c.subject == subject,
            ALERT.c.at > now - HELP_PERIOD,
        )
        if transaction.connection.scalar(asked.limit(1)) is not None:
            return False
        raise_alert(transaction, now, HELP_WANTED, subject, {**facts, "by": by.name})
        detail = {"reason": facts["reason"]}
        write_audit(
            transaction, now, by, event=HELP_WANTED, subject=about, detail=detail
        )
        return True

    @in_transaction
    def dismiss_alert(self, transaction: Transaction, alert: int, by: Actor) -> bool:
        """Stop showing an open alert. Returns False if there is none of this number.

        Its problem is not solved by that: it stays open, so that the same one is not raised again,
        until it is over. While it lasts the acknowledgement holds for the period of the alert's
        class. That a review is still to be done stays shown, unless the settings no longer ask for
        one.
        """
        if needs_review(self.store, transaction.connection, alert):
            return False
        now = self.runtime.now()
        is_shown = (ALERT.c.cleared_at.is_(None), ~IS_ACKNOWLEDGED)
        query = (
            update(ALERT)
            .where(ALERT.c.id == alert, *is_shown)
            .values(dismissed_at=now, dismissed_by=by.name, returned_at=None)
        )
        return self._change_alert(transaction, query, by, "alert_dismissed")

    @in_transaction
    def restore_alert(self, transaction: Transaction, alert: int, by: Actor) -> bool:
        """Show an alert again that this person has dismissed, and notify people of it again.

        Return False if there is none.
        """
        is_theirs = (
            ALERT.c.id == alert,
            ALERT.c.dismissed_by == by.name,
            ALERT.c.cleared_at.is_(None),
            IS_ACKNOWLEDGED,
        )
        query = (
            update(ALERT)
            .where(*is_theirs)
            .values({**NOT_ACKNOWLEDGED, "noticed_at": None})
        )
        return self._change_alert(transaction, query, by, "alert_restored")

    @in_transaction
    def acknowledge_ends(
        self, transaction: Transaction, alerts: Collection[int], by: Actor
    ) -> Collection[int]:
        """Acknowledge alerts that something was not published. Return the ones still open until now.

        A later alert is another one: nobody acknowledges what they have not seen.
        """
        values = {"dismissed_at": self.runtime.now(), "dismissed_by": by.name}
        is_open = (ALERT.c.cleared_at.is_(None), ALERT.c.dismissed_at.is_(None))
        return self._change_ends(
            transaction, alerts, values, by, "alert_dismissed", *is_open
        )

    @in_transaction
    def restore_ends(
        self, transaction: Transaction, alerts: Collection[int], by: Actor
    ) -> Collection[int]:
        """Take back this person's acknowledgement of alerts. Return the ones that it was on."""
        values = {"dismissed_at": None, "dismissed_by": None, "noticed_at": None}
        is_theirs = (ALERT.c.cleared_at.is_(None), ALERT.c.dismissed_by == by.name)
        return self._change_ends(
            transaction, alerts, values, by, "alert_restored", *is_theirs
        )

    def _change_ends(  # which alerts, what of them, and by whom
        self,
        transaction: Transaction,
        alerts: Collection[int],
        values: Mapping[str, object],
        by: Actor,
        event: str,
        *conditions: ColumnElement[bool],
    ) -> Collection[int]:
        changed = list[int]()
        for ids in batches(sorted(alerts), QUERY_BATCH_SIZE):
            query = update(ALERT).where(ALERT.c.id.in_(ids), *conditions)
            rows = transaction.connection.execute(
                query.values(values).returning(
                    ALERT.c.id, ALERT.c.code, ALERT.c.subject
                )
            ).all()
            changed += [row.id for row in rows]
            write_entries(
                transaction,
                [
                    audit_entry(
                        self.runtime.now(),
                        by,
                        event=event,
                        subject=row.subject,
                        detail={"code": row.code},
                    )
                    for row in rows
                ],
            )
        return changed

    def _change_alert(
        self, transaction: Transaction, query: Update, by: Actor, event: str
    ) -> bool:
        changed = transaction.connection.execute(
            query.returning(ALERT.c.code, ALERT.c.subject)
        ).all()
        for row in changed:
            write_audit(
                transaction,
                self.runtime.now(),
                by,
                event=event,
                subject=row.subject,
                detail={"code": row.code},
            )
        return bool(changed)

    @in_transaction
    def resume(
        self,
        transaction: Transaction,
        scope: str,
        by: Actor,
        paused_at: datetime | None = None,
    ) -> bool:
        """Lift a pause and clear its alert. Return True if there was one.

        With `paused_at` only the pause of that moment is lifted. Raises RefusedError if there is
        none, or another one.

        Deliveries that only the pause delayed beyond their allowed delay expire. Time in which
        their login was busy does not excuse them.
        """
        now, connection = self.runtime.now(), transaction.connection
        since = connection.scalar(select(PAUSE.c.at).where(PAUSE.c.scope == scope))
        if paused_at is not None and paused_at != since:
            raise RefusedError("pause_changed")
        if since is not None:
            began_at = literal(since, DELIVERY.c.due_at.type)
            delayed_since = case(
                (DELIVERY.c.due_at > began_at, DELIVERY.c.due_at), else_=began_at
            )
            late = select(DELIVERY).where(
                in_state(DELIVERY, State.DUE, State.RETRYING),
                is_in_scope(DELIVERY, scope),
                DELIVERY.c.first_attempt_deadline.is_not(None),
                delayed_since + DELIVERY.c.max_delay
                < literal(now, DELIVERY.c.due_at.type),
            )
            expired = Expired(reason="too_late")
            found = read_deliveries(connection, late.with_for_update())
            changes = [
                StateChange(before=delivery, event=expired) for delivery in found
            ]
            self.store.transition_all(transaction, changes, MAINTENANCE)
        result = connection.execute(delete(PAUSE).where(PAUSE.c.scope == scope))
        if scope == SCOPE_ALL:
            clear_acceptance(connection)
        clear_alerts(transaction, scope, now)
        write_audit(transaction, now, by, event="resumed", subject=scope)
        return bool(result.rowcount)

    @in_transaction
    def cancel_post(
        self,
        transaction: Transaction,
        post: PostId,
        by: Actor,
        reason: str,
        newest: DeliveryId | None = None,
    ) -> int:
        """Cancel every unpublished delivery of a post, now and in future. Return the unsent count.

        Raises RefusedError `changed_meanwhile_more` if there are deliveries after the `newest` a
        person has seen.
        """
        lock_planning(transaction)
        require_no_newer(transaction, post, newest)
        transaction.connection.execute(
            update(POST).where(POST.c.id == post).values(is_cancelled=True)
        )
        now, detail = self.runtime.now(), {"reason": reason}
        write_audit(
            transaction, now, by, event="cancelled", subject=post, detail=detail
        )
        of_post = (
            ALERT.c.subject.startswith(f"{post}{mark}", autoescape=True)
            for mark in "@#"
        )
        clear_outcome_alerts(transaction, now, or_(*of_post))
        return sum(
            cancel_matching(
                self.store, transaction, target, by, reason="cancelled_by_person"
            )
            for target in (
                {"post": post},
                list_other_forms(transaction.connection, post),
            )
        )

    @in_transaction
    def retract(  # noqa: PLR0913, PLR0917 # who takes down what, and what they have seen
        self,
        transaction: Transaction,
        post: PostId,
        account: AccountId | None,
        by: Actor,
        reason: str,
        newest: DeliveryId | None = None,
    ) -> list[Delivery]:
        """Order the deletion of published or possibly published deliveries, and cancel the rest.

        Return the deliveries to be deleted. Raises RefusedError `changed_meanwhile_more` if there
        are deliveries after the `newest` a person has seen.
        """
        connection = transaction.connection
        target = {"post": post} | ({"account": account} if account else {})
        lock_planning(transaction)
        require_no_newer(transaction, post, newest)
        if account is None:
            connection.execute(
                update(POST).where(POST.c.id == post).values(is_cancelled=True)
            )
        now = self.runtime.now()
        write_audit(
            transaction,
            now,
            by,
            event="retraction_requested",
            subject=post,
            detail={"reason": reason},
        )
        conditions = [DELIVERY.c[column] == value for column, value in target.items()]
        # locked first: nothing may become published between the two queries below and be cancelled
        # instead
        connection.execute(
            select(DELIVERY.c.id)
            .where(*conditions)
            .order_by(DELIVERY.c.id)
            .with_for_update()
        )
        may_be_published = or_(
            DELIVERY.c.state.in_([state.value for state in MAYBE_PUBLISHED_STATES]),
            and_(in_state(DELIVERY, *WAITING_STATES), DELIVERY.c.parts_done > 0),
        )
        deliveries = read_deliveries(
            connection, select(DELIVERY).where(*conditions, may_be_published)
        )
        request = RetractionRequested(reason=reason)
        retracted = [
            self.store.transition(transaction, delivery, request, by)
            for delivery in deliveries
        ]
        cancel_matching(
            self.store, transaction, target, by, reason="cancelled_by_person"
        )
        return retracted

    @in_transaction
    def send_now(self, transaction: Transaction, post: PostId, by: Actor) -> int:
        """Make a planned one-off post due now. Return the number of deliveries.

        Its validity starts now too.
        """
        now = self.runtime.now()
        ordered = load_post(
            transaction.connection.scalars(
                select(POST.c.body).where(POST.c.id == post)
            ).one()
        )
        expires_at = make_occurrence(ordered, ONCE_OCCURRENCE, now).expires_at
        needs_approval = bool(self.store.approval_rules.chain_for(ordered.kind))
        result = transaction.connection.execute(
            update(DELIVERY)
            .where(DELIVERY.c.post == post, DELIVERY.c.state == State.PENDING.value)
            .values(
                due_at=now,
                next_action_at=now,
                expires_at=expires_at,
                updated_at=now,
                is_due_when_approved=or_(
                    DELIVERY.c.is_due_when_approved, literal(needs_approval)
                ),
                first_attempt_deadline=literal(now, DELIVERY.c.due_at.type)
                + DELIVERY.c.max_delay,
                version=DELIVERY.c.version + 1,
            )
        )
        if result.rowcount:
            write_audit(transaction, now, by, event="send_requested", subject=post)
        return result.rowcount

    @in_transaction
    def prioritize(
        self, transaction: Transaction, deliveries: Sequence[DeliveryId], post: Post
    ) -> None:
        """Make a correction's waiting deliveries urgent and due now.

        The validity of all starts now too.
        """
        now = self.runtime.now()
        expires_at = make_occurrence(post, ONCE_OCCURRENCE, now).expires_at
        has_called = DELIVERY.c.first_attempt_deadline.is_(None)
        values = {
            "is_urgent": True,
            "expires_at": expires_at,
            "max_delay": expires_at
            - now,  # the original may stay unknown for longer than most posts may be late
            "first_attempt_deadline": case(
                (has_called, None), else_=literal(expires_at, DELIVERY.c.due_at.type)
            ),
            "updated_at": now,
            "version": DELIVERY.c.version + 1,
        }
        corrections = update(DELIVERY).where(DELIVERY.c.id.in_(deliveries))
        due = corrections.where(
            DELIVERY.c.state.in_([State.DUE.value, State.RETRYING.value])
        )
        pending = corrections.where(DELIVERY.c.state == State.PENDING.value)
        transaction.connection.execute(due.values(values))
        transaction.connection.execute(
            pending.values(**values, due_at=now, next_action_at=now)
        )

    async def confirm_clock(self, by: Actor) -> ClockReading:
        """Confirm this machine's clock as it is now, so that a daemon that distrusts it continues.

        Raises RefusedError where a platform contradicts it, in this process or in the daemon: both
        may be wrong.
        """
        reading, offset = self.runtime.read_clocks(), self.runtime.server_clock_offset
        if offset is not None:
            raise RefusedError(
                "clock_contradicted", seconds=f"{offset.total_seconds():+.0f}"
            )
        await self._write_clock_reading(reading, by)
        return reading

    @in_transaction
    def _write_clock_reading(
        self, transaction: Transaction, reading: ClockReading, by: Actor
    ) -> None:
        subject = f"{CLOCK_SUBJECT_PREFIX}{self.store.worker}"
        if not self.runtime.is_clock_proven():
            for code, facts in open_alerts(transaction.connection, subject):
                if code == CLOCK_WRONG:
                    raise RefusedError("clock_contradicted", seconds=facts["seconds"])
        set_worker_state(
            transaction,
            self.store.worker,
            clock_at=reading.at,
            clock_ticks=reading.monotonic_seconds,
        )
        write_audit(
            transaction,
            reading.at,
            by,
            event="clock_confirmed",
            subject=subject,
            detail={"at": reading.at.isoformat()},
        )

    async def confirmed_clock_reading(self) -> ClockReading | None:
        """Return the reading of this machine's clocks that a person confirmed last, if any."""
        query = select(WORKER_STATE.c.clock_at, WORKER_STATE.c.clock_ticks).where(
            WORKER_STATE.c.worker == self.store.worker,
            WORKER_STATE.c.clock_at.is_not(None),
        )
        row = await self.database.read(
            lambda connection: connection.execute(query).one_or_none()
        )
        return (
            ClockReading(at=row.clock_at, monotonic_seconds=row.clock_ticks)
            if row
            else None
        )

    @in_transaction
    def record_action(
        self,
        transaction: Transaction,
        event: str,
        subject: str,
        by: Actor,
        detail: Mapping[str, str],
    ) -> None:
        """Write an audit entry for an action that other modules carry out.

        The alert about a secret that somebody knows ends with the daemon's report of another value,
        or here if there is no report.
        """
        now = self.runtime.now()
        write_audit(transaction, now, by, event=event, subject=subject, detail=detail)
        if event in {SECRET_STORED, SECRET_REMOVED}:
            end_unreported_rotation(transaction, subject, now)

    async def register_worker(self, loaded: LoadedFiles | None = None) -> bool:
        """Record the start of this daemon.

        Return False, and write nothing, if the database was replaced. Raises RefusedError while a
        daemon of the same name runs on another machine. Each would take the other's leases and
        journal for its own.
        """
        return await self._write_heartbeat(is_start=True, loaded=loaded)

    async def heartbeat(self) -> bool:
        """Record that this daemon is alive.

        Return False, and write nothing, if the database was replaced. Raises RefusedError if
        another machine has taken the daemon's name, as it may after a long silence.
        """
        return await self._write_heartbeat(is_start=False)

    @in_transaction
    def _write_heartbeat(
        self,
        transaction: Transaction,
        *,
        is_start: bool,
        loaded: LoadedFiles | None = None,
    ) -> bool:
        now, connection = self.runtime.now(), transaction.connection
        if not is_original_database(self.database, connection):
            return False
        boot_id = self.runtime.boot_id()
        its_row = WORKER.c.id == self.store.worker
        known = connection.execute(
            select(WORKER).where(its_row).with_for_update()
        ).one_or_none()
        if (
            self.database.is_shared
            and known is not None
            and known.boot_id != boot_id
            and known.stopped_at is None
            and now - known.heartbeat_at < HEARTBEAT_TIMEOUT
        ):
            raise RefusedError(
                "worker_name_taken",
                worker=self.store.worker,
                host=known.host,
                pid=str(known.pid),
            )
        if is_start:
            self._record_approval_rules(transaction, now)
        process = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": now,
            "settings_hash": loaded.settings if loaded else None,
            "templates_hash": loaded.templates if loaded else None,
            "accounts": json.dumps(sorted(loaded.accounts)) if loaded else None,
        }
        alive = {"boot_id": boot_id, "heartbeat_at": now, "stopped_at": None}
        values = {**process, **alive} if is_start else alive
        if known is not None:
            connection.execute(update(WORKER).where(its_row).values(values))
        else:
            connection.execute(
                insert(WORKER).values(id=self.store.worker, **process, **alive)
            )
        return True

    def _record_approval_rules(self, transaction: Transaction, now: datetime) -> None:
        """Store the required approvals, with an audit entry if they have changed.

        Raises RefusedError while a daemon with other rules runs. One of the two would send posts
        that the other holds back.
        """
        connection, rules = transaction.connection, self.store.approval_rules
        key = {"key": APPROVAL_RULES_KEY}
        present = hash_rules(rules) if rules.is_active else "none"
        stored = connection.scalar(
            select(DATABASE_INFO.c.value).where(
                DATABASE_INFO.c.key == APPROVAL_RULES_KEY
            )
        )
        if present == (stored or "none"):
            return
        alive = select(WORKER.c.id).where(
            WORKER.c.id != self.store.worker,
            WORKER.c.stopped_at.is_(None),
            WORKER.c.heartbeat_at > now - HEARTBEAT_TIMEOUT,
        )
        if others := connection.scalars(alive.order_by(WORKER.c.id)).all():
            raise RefusedError("approval_rules_differ", workers=", ".join(others))
        write_row(connection, DATABASE_INFO, key, {"value": present})
        detail = {"before": stored or "none", "after": present}
        write_audit(
            transaction,
            now,
            MAINTENANCE,
            event="approval_rules_changed",
            subject="approvals",
            detail=detail,
        )

    @in_transaction
    def deregister_worker(self, transaction: Transaction) -> None:
        """Record the orderly stop of this daemon. A replaced database keeps its record of it."""
        now = self.runtime.now()
        if not is_original_database(self.database, transaction.connection):
            return
        # once it has stopped, no other worker waits for its journal any more
        recover_lost_attempts(self.store, transaction)
        stopped = (
            update(WORKER)
            .where(WORKER.c.id == self.store.worker)
            .values(stopped_at=now, heartbeat_at=now)
        )
        transaction.connection.execute(stopped)

    @in_transaction
    def set_mode(
        self,
        transaction: Transaction,
        account: AccountId,
        mode: Mode | None,
        by: Actor,
        reason: str,
    ) -> None:
        """Set an account's mode from now on; None returns it to the mode of the settings."""
        now = self.runtime.now()
        transaction.connection.execute(
            delete(MODE_OVERRIDE).where(MODE_OVERRIDE.c.account == account)
        )
        if mode is not None:
            row = {
                "account": account,
                "mode": mode.value,
                "at": now,
                "by": by.name,
                "reason": reason,
            }
            transaction.connection.execute(insert(MODE_OVERRIDE).values(row))
        detail = {"mode": mode.value if mode else "settings", "reason": reason}
        write_audit(
            transaction,
            now,
            by,
            event="mode_changed",
            subject=f"account:{account}",
            detail=detail,
        )

    @in_transaction
    def cancel_waiting(
        self, transaction: Transaction, account: AccountId, by: Actor, reason: str
    ) -> int:
        """Cancel the waiting deliveries on an account. Return the number that ends.

        No unknown delivery will return to waiting.
        """
        lock_planning(transaction)
        deliveries = read_deliveries(
            transaction.connection,
            select(DELIVERY).where(DELIVERY.c.account == account),
        )
        waiting = [delivery for delivery in deliveries if is_not_started(delivery)]
        resolution = Resolved(to=State.CANCELLED, reason=reason)
        changes = [
            StateChange(before=one, event=resolution)
            for one in waiting
            if one.state is State.HELD
        ]
        self.store.transition_all(transaction, changes, by)
        cancel_matching(
            self.store,
            transaction,
            {"account": account},
            by,
            reason="account_offboarded",
        )
        return len(waiting)

    @in_transaction
    def request_offboarding(
        self,
        transaction: Transaction,
        account: AccountId,
        login: LoginId,
        by: Actor,
        reason: str,
    ) -> None:
        """Record that an account's offboarding was requested, with its login."""
        detail = {"login": login, "reason": reason}
        self._record_offboarding(
            transaction, account, "offboarding_requested", by, detail
        )

    @in_transaction
    def finish_offboarding(
        self,
        transaction: Transaction,
        account: AccountId,
        login: LoginId,
        by: Actor,
        *,
        is_shared: bool,
    ) -> None:
        """Record that nothing is left to do for an account, and clear its alerts.

        The alerts of a shared login stay.
        """
        subjects = [
            f"account:{account}",
            f"account:{account}/by-hand",
            *([] if is_shared else [f"login:{login}"]),
        ]
        subjects += (subject_of_job(job, account) for job in ACCOUNT_JOBS)
        for subject in subjects:
            clear_alerts(transaction, subject, self.runtime.now())
        self._record_offboarding(
            transaction, account, "offboarded", by, {"login": login}
        )

    def _record_offboarding(
        self,
        transaction: Transaction,
        account: AccountId,
        event: str,
        by: Actor,
        detail: Mapping[str, str],
    ) -> None:
        """Write an audit entry, unless it would repeat the newest one about the account.

        It would repeat it if the newest one already has this event or `offboarded`.
        """
        subject = f"account:{account}"
        newest = (
            select(AUDIT.c.event)
            .where(AUDIT.c.subject == subject)
            .order_by(AUDIT.c.id.desc())
            .limit(1)
        )
        if transaction.connection.scalar(newest) not in {event, "offboarded"}:
            write_audit(
                transaction,
                self.runtime.now(),
                by,
                event=event,
                subject=subject,
                detail=detail,
            )


def require_version(delivery: Delivery, seen: int | None) -> None:
    """Raise RefusedError if a delivery has changed since a person has seen it."""
    if seen is not None and delivery.version != seen:
        raise RefusedError(
            "changed_meanwhile",
            subject=subject_of(delivery),
            state=delivery.state.value,
        )


def require_no_newer(
    transaction: Transaction, post: PostId, seen: DeliveryId | None
) -> None:
    """Raise RefusedError if a post has deliveries after the newest that a person has seen.

    Changes of the seen deliveries are no reason to refuse. A post that is being sent can still be
    stopped.
    """
    if seen is None:
        return
    newer = select(func.count()).where(DELIVERY.c.post == post, DELIVERY.c.id > seen)
    if number := transaction.connection.scalar(newer):
        raise RefusedError("changed_meanwhile_more", post=post, number=str(number))
