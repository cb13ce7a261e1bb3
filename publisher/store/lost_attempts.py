"""Recovery of attempts that the database has lost, from the intent journals, as unknown outcomes.

A server that takes over from another may lack the newest commits. Each worker's journal holds the
attempts it intended. A restored backup loses more: everything that may have been sent in the
data-loss window becomes unknown.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from publisher.domain.delivery import (
    WAITING_STATES,
    Actor,
    AttemptStarted,
    BecameDue,
    Claimed,
    Delivery,
    Event,
    Held,
    LeaseExpired,
    Resolved,
    Role,
    State,
    WorkerId,
)
from publisher.domain.post import DeliveryId, OneTimeTrigger, Post, format_delivery_name
from publisher.domain.results import HoldReason, Unknown
from publisher.runtime.logs import log
from publisher.store.base import BaseStore
from publisher.store.db.database import Transaction
from publisher.store.db.filters import in_state
from publisher.store.db.intent_journal import (
    JournalRecord,
    read_journal,
    read_records,
)
from publisher.store.db.monitor_tables import FORMER_ID
from publisher.store.db.rows import (
    batches,
    clear_alerts,
    lock_planning,
    raise_alert,
    raise_delivery_alert,
    subject_of,
    write_audit,
)
from publisher.store.db.tables import (
    ATTEMPT,
    DATA_LOSS,
    DELIVERY,
    ORPHANED_ATTEMPT,
    to_delivery,
)

RECOVERY_MAINTENANCE = Actor(role=Role.MAINTENANCE, name="recovery")


RECOVERY_SENDER = Actor(role=Role.SENDER, name="recovery")


RECOVERY_RECONCILER = Actor(role=Role.RECONCILER, name="recovery")


ATTEMPT_RECOVERED = "attempt_recovered"
"""Why an outcome is unknown: the journal has, or may have had, a later attempt than the database.

It is also the alert that an attempt was recovered from the journal.
"""


ATTEMPT_ASSUMED = "attempt_assumed"
"""The alert that an attempt is assumed, as no journal says if it was made."""


RECOVERY_BATCH_SIZE = 500


def recover_lost_attempts(store: BaseStore, transaction: Transaction) -> None:
    """Recover the attempts that are in this worker's journal and missing from a shared database.

    Commits are lost from the end, so while the newest record is known nothing else needs to be
    read.
    """
    journal = store.database.journal
    if not store.database.is_shared or journal is None or journal.last_record is None:
        return
    if not missing_from(transaction.connection, [journal.last_record]):
        return
    lost = missing_from(transaction.connection, read_records(journal.path, None))
    log.error("commits_lost", calls=len(lost))
    recover(store, transaction, lost, RECOVERY_MAINTENANCE)


def journal_problem(
    connection: Connection, worker: WorkerId, journal: Path
) -> str | None:
    """Return the reason that a worker's journal cannot prove its sends; None if it can.

    The sends are the ones beyond its database's knowledge.
    """
    if not journal.exists():
        return "journal_missing"
    contents = read_journal(journal)
    if contents.damaged_lines:
        return "journal_damaged"
    attempts = select(ATTEMPT.c.rendered_hash, ATTEMPT.c.intended_at).where(
        ATTEMPT.c.worker == worker
    )
    if contents.complete_since is not None:
        attempts = attempts.where(ATTEMPT.c.intended_at > contents.complete_since)
    newest = connection.execute(
        attempts.order_by(ATTEMPT.c.intended_at.desc()).limit(RECOVERY_BATCH_SIZE)
    ).all()
    journalled = {_identity_of(record) for record in contents.records}
    is_another = newest and not any(
        (row.rendered_hash, row.intended_at) in journalled for row in newest
    )
    return "journal_mismatch" if is_another else None


def missing_from(
    connection: Connection, records: Sequence[JournalRecord]
) -> list[JournalRecord]:
    """Return the journal records missing from the database.

    A record is identified by its rendered text and instant.
    """
    missing = []
    for batch in batches(records, RECOVERY_BATCH_SIZE):
        known = _known_attempts(
            connection, "delivery", [record.delivery for record in batch]
        )
        candidates = [record for record in batch if _identity_of(record) not in known]
        if candidates:  # perhaps recovered on another delivery, or as an orphan
            hashes = [record.rendered_hash for record in candidates]
            known = _known_attempts(connection, "rendered_hash", hashes)
            orphans = select(ORPHANED_ATTEMPT.c.rendered_hash, ORPHANED_ATTEMPT.c.at)
            rows = connection.execute(
                orphans.where(ORPHANED_ATTEMPT.c.rendered_hash.in_(hashes))
            )
            known |= {
                (row.rendered_hash, datetime.fromisoformat(row.at)) for row in rows
            }
            missing += [
                record for record in candidates if _identity_of(record) not in known
            ]
    return missing


def _known_attempts(
    connection: Connection,
    column: str,
    values: Sequence[object],
    *conditions: ColumnElement[bool],
) -> set[tuple[str, datetime]]:
    is_match = ATTEMPT.c[column].in_(values)
    attempts = select(ATTEMPT.c.rendered_hash, ATTEMPT.c.intended_at).where(
        is_match, *conditions
    )
    return {
        (row.rendered_hash, row.intended_at) for row in connection.execute(attempts)
    }


def ended_records(
    connection: Connection, records: Sequence[JournalRecord]
) -> frozenset[JournalRecord]:
    """Return the journal records of attempts that have ended, as far as the database knows."""
    ended: set[JournalRecord] = set()
    for batch in batches(records, RECOVERY_BATCH_SIZE):
        deliveries = [record.delivery for record in batch]
        known = _known_attempts(
            connection, "delivery", deliveries, ATTEMPT.c.ended_at.is_not(None)
        )
        ended |= {record for record in batch if _identity_of(record) in known}
    return frozenset(ended)


def _identity_of(record: JournalRecord) -> tuple[str, datetime]:
    return record.rendered_hash, datetime.fromisoformat(record.at)


def recover(
    store: BaseStore,
    transaction: Transaction,
    records: Sequence[JournalRecord],
    by: Actor,
    alert: str = ATTEMPT_RECOVERED,
) -> list[Delivery]:
    """Recover the missing ones among these attempts. Idempotent.

    The database lacks the missing ones.
    """
    return mark_unresolved(
        store, transaction, missing_from(transaction.connection, records), by, alert
    )


def mark_unresolved(
    store: BaseStore,
    transaction: Transaction,
    records: Sequence[JournalRecord],
    by: Actor,
    alert: str,
) -> list[Delivery]:
    """Move the deliveries of made or possible attempts to `unknown`, for readbacks to resolve.

    Each is alerted with `alert`, ATTEMPT_RECOVERED or ATTEMPT_ASSUMED.
    An attempt becomes an orphan, with an alert, if its delivery does not exist or has moved on.
    Only a person can judge it. Away from a hold, too, only a person moves a delivery.
    """
    lock_planning(transaction)
    by_delivery: dict[Delivery | None, list[JournalRecord]] = defaultdict(list)
    for record in records:
        by_delivery[_delivery_of(transaction.connection, record)].append(record)
    recoverable = WAITING_STATES | {State.SENDING, State.UNKNOWN}
    if by.role is Role.PERSON:
        recoverable |= {State.HELD}
    unresolved: list[Delivery] = []
    now = store.runtime.now()
    for delivery, attempts in by_delivery.items():
        if delivery is not None and delivery.state in recoverable:
            unresolved.append(
                _mark_delivery_unresolved(store, transaction, delivery, attempts, by)
            )
            facts = {"since": attempts[0].at}
            raise_delivery_alert(transaction, now, alert, unresolved[-1], facts)
            continue
        for record in attempts:
            subject = subject_of_record(record)
            transaction.connection.execute(
                insert(ORPHANED_ATTEMPT).values(asdict(record))
            )
            write_audit(
                transaction,
                now,
                by,
                event="attempt_orphaned",
                subject=subject,
                detail=asdict(record),
            )
            facts = {"post": record.post, "account": record.account, "since": record.at}
            raise_alert(transaction, now, "attempt_orphaned", subject, facts)
    return unresolved


def attach_orphans(store: BaseStore, transaction: Transaction) -> None:
    """Attach orphaned attempts to deliveries planned since.

    A delivery that may be published already is read, not sent.
    """
    by_delivery: dict[Delivery, list[JournalRecord]] = defaultdict(list)
    for record in orphaned_attempts(transaction.connection):
        delivery = _delivery_of(transaction.connection, record)
        if delivery is not None and delivery.state in WAITING_STATES:
            by_delivery[delivery].append(record)
    for delivery, records in by_delivery.items():
        keys = [(record.rendered_hash, record.at) for record in records]
        attached = tuple_(ORPHANED_ATTEMPT.c.rendered_hash, ORPHANED_ATTEMPT.c.at).in_(
            keys
        )
        transaction.connection.execute(delete(ORPHANED_ATTEMPT).where(attached))
        now = store.runtime.now()
        clear_alerts(transaction, subject_of_record(records[0]), now)
        after = _mark_delivery_unresolved(
            store, transaction, delivery, records, RECOVERY_MAINTENANCE
        )
        facts = {"since": records[0].at}
        raise_delivery_alert(transaction, now, ATTEMPT_RECOVERED, after, facts)


def orphaned_attempts(connection: Connection) -> list[JournalRecord]:
    """Return the journalled attempts that have no delivery."""
    rows = connection.execute(
        select(ORPHANED_ATTEMPT).order_by(
            ORPHANED_ATTEMPT.c.at, ORPHANED_ATTEMPT.c.attempt
        )
    )
    return [JournalRecord(**row) for row in rows.mappings()]


def _delivery_of(connection: Connection, record: JournalRecord) -> Delivery | None:
    """Return an attempt's delivery, by post, occurrence and account.

    In another database it has another number. The account may have been renamed since.
    """
    renamed = (
        select(FORMER_ID.c.account)
        .where(FORMER_ID.c.id == record.account)
        .scalar_subquery()
    )
    query = select(DELIVERY).where(
        DELIVERY.c.post == record.post,
        DELIVERY.c.occurrence == record.occurrence,
        DELIVERY.c.account == func.coalesce(renamed, record.account),
    )
    row = connection.execute(query).mappings().first()
    return to_delivery(row) if row is not None else None


def _mark_delivery_unresolved(
    store: BaseStore,
    transaction: Transaction,
    delivery: Delivery,
    records: Sequence[JournalRecord],
    by: Actor,
) -> Delivery:
    """Repeat the lost steps, so that the delivery ends as after a worker crash during the call."""
    now = store.runtime.now()
    first = max(delivery.attempts + 1, records[0].attempt)
    transaction.connection.execute(
        insert(ATTEMPT),
        _attempt_rows(store, transaction.connection, delivery, records, first),
    )
    is_claimed = delivery.state is State.CLAIMED
    last_token = (
        records[-1].fencing_token if is_claimed else records[-1].fencing_token - 1
    )
    start = replace(
        delivery,
        fencing_token=max(delivery.fencing_token, last_token),
        attempts=first + len(records) - 2,
        first_attempt_deadline=None,
    )
    # its known result led to another call, whose outcome is unknown now
    if delivery.state not in WAITING_STATES:
        start = replace(
            start,
            attempts=start.attempts + 1,
            fencing_token=start.fencing_token + 1,
            was_resent=True,
            unknown_since=None,
            readbacks=0,
        )
    steps = _lost_steps(delivery.state, by)
    is_further = any(record.part != delivery.parts_done for record in records)
    if is_further and not delivery.is_retraction_requested:
        # the readback would look for another part, and a later one may be published already: a
        # person has to decide
        steps.append((Held(reason=HoldReason.INCOMPLETE), RECOVERY_MAINTENANCE))
    after = store.transition_through(transaction, delivery, start, steps)
    subject, detail = (
        subject_of(after),
        {"calls": [asdict(record) for record in records]},
    )
    write_audit(
        transaction, now, by, event="attempts_recovered", subject=subject, detail=detail
    )
    return after


def _lost_steps(state: State, by: Actor) -> list[tuple[Event, Actor]]:
    match state:
        case State.SENDING:
            return [(LeaseExpired(), RECOVERY_MAINTENANCE)]
        case State.UNKNOWN:
            return [(Unknown(reason=ATTEMPT_RECOVERED), RECOVERY_RECONCILER)]
        case State.HELD:
            return [(Resolved(to=State.UNKNOWN, reason=ATTEMPT_RECOVERED), by)]
    steps: list[tuple[Event, Actor]] = [
        (AttemptStarted(), RECOVERY_SENDER),
        (LeaseExpired(), RECOVERY_MAINTENANCE),
    ]
    if state is not State.CLAIMED:
        steps = [(Claimed(), RECOVERY_SENDER), *steps]
    if state in {State.PENDING, State.RETRYING}:
        steps = [(BecameDue(), RECOVERY_MAINTENANCE), *steps]
    return steps


def _attempt_rows(
    store: BaseStore,
    connection: Connection,
    delivery: Delivery,
    records: Sequence[JournalRecord],
    first_number: int,
) -> list[dict[str, object]]:
    """Return recovered attempts as rows.

    Where an earlier attempt is known, its baseline counts too: a post found since then may be of
    that attempt, and is ours as well.
    """
    known = None
    if delivery.state not in WAITING_STATES:
        last_attempt = (
            ATTEMPT.c.delivery == delivery.id,
            ATTEMPT.c.number == delivery.attempts,
        )
        query = select(ATTEMPT.c.newest_id, ATTEMPT.c.baseline_at).where(*last_attempt)
        known = connection.execute(query).one_or_none()
    rows: list[dict[str, object]] = []
    for number, record in enumerate(records, first_number):
        intended_at = datetime.fromisoformat(record.at)
        baseline_at = (
            intended_at - store.timing(delivery.account).platform_clock_tolerance
        )
        row = {
            "delivery": delivery.id,
            "number": number,
            "part": record.part,
            "fencing_token": record.fencing_token,
            "login": delivery.login,
            "account": delivery.account,
            "worker": store.worker,
            "rendered_hash": record.rendered_hash,
            "newest_id": known.newest_id if known else None,
            "baseline_at": min(baseline_at, known.baseline_at)
            if known
            else baseline_at,
            "intended_at": intended_at,
            "ended_at": store.runtime.now(),
            "is_end_confirmed": store.runtime.is_clock_proven(),
            "identity": record.identity,
            "method": record.method,
        }
        rows.append(row)
    return rows


def subject_of_record(record: JournalRecord) -> str:
    """Return the name of an attempt's delivery."""
    return format_delivery_name(record.post, record.occurrence, record.account)


def mark_waiting_unresolved(
    store: BaseStore,
    transaction: Transaction,
    since: datetime,
    by: Actor,
    *,
    exclude: Collection[DeliveryId],
) -> int:
    """Mark the deliveries possibly sent since then as unknown, and store that data-loss window.

    Return the number.
    """
    now = store.runtime.now()
    transaction.connection.execute(delete(DATA_LOSS))
    transaction.connection.execute(
        insert(DATA_LOSS).values(since=since, until=now, covers_new_posts=True)
    )
    waiting = in_state(
        DELIVERY, State.PENDING, State.DUE, State.CLAIMED, State.RETRYING
    )
    # a person may have released a hold since
    unresolved = in_state(DELIVERY, State.SENDING, State.UNKNOWN, State.HELD)
    may_be_sent = or_(waiting & (DELIVERY.c.due_at <= now), unresolved)
    rows = (
        transaction.connection.execute(select(DELIVERY).where(may_be_sent))
        .mappings()
        .all()
    )
    records = [
        _assumed_attempt(store, row, since) for row in rows if row["id"] not in exclude
    ]
    return len(mark_unresolved(store, transaction, records, by, ATTEMPT_ASSUMED))


def mark_new_unresolved(
    store: BaseStore,
    transaction: Transaction,
    created: Iterable[tuple[Post, str]],
    *,
    is_new_version: bool,
) -> None:
    """Mark the new or restored deliveries possibly sent in the data-loss window as unknown.

    These are the ones that were due in it. The first time that a schedule is read after it, they
    include the ones that are sent immediately.
    """
    window = transaction.connection.execute(select(DATA_LOSS)).one_or_none()
    if window is None:
        return
    records = []
    for post, occurrence in created:
        is_immediate = (
            isinstance(post.trigger, OneTimeTrigger) and post.trigger.at is None
        )
        is_created = (
            DELIVERY.c.post == post.id,
            DELIVERY.c.occurrence == occurrence,
            DELIVERY.c.attempts == 0,
        )
        pending = select(DELIVERY).where(*is_created, in_state(DELIVERY, State.PENDING))
        records += [
            _assumed_attempt(store, row, window.since)
            for row in transaction.connection.execute(pending).mappings()
            if row["due_at"] <= window.until
            or (window.covers_new_posts and is_immediate)
        ]
    recover(store, transaction, records, RECOVERY_MAINTENANCE, ATTEMPT_ASSUMED)
    if is_new_version:
        trust_schedule(transaction)


def covers_new_posts(transaction: Transaction) -> bool:
    """Return True if no schedule was read since a data-loss window.

    So immediate posts may have been sent in it.
    """
    return transaction.connection.scalar(select(DATA_LOSS.c.covers_new_posts)) is True


def trust_schedule(transaction: Transaction) -> None:
    """Record that a schedule was read after the data-loss window.

    Posts added from now on were not sent in it.
    """
    transaction.connection.execute(
        update(DATA_LOSS)
        .where(DATA_LOSS.c.covers_new_posts)
        .values(covers_new_posts=False)
    )


def _assumed_attempt(
    store: BaseStore, row: RowMapping, since: datetime
) -> JournalRecord:
    """Assume that a delivery was sent at the data-loss window's start, by an unknown method."""
    policy = store.policies.get(row["account"])
    return JournalRecord(
        delivery=row["id"],
        attempt=row["attempts"] + 1,
        fencing_token=row["fencing_token"] + 1,
        rendered_hash=row["rendered_hash"],
        at=since.isoformat(),
        post=row["post"],
        occurrence=row["occurrence"],
        account=row["account"],
        part=0,
        identity=policy.identity if policy else "",
        method="",
    )
