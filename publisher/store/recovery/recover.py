"""A database that has lost its last commits: what a journal still knows is brought back, as doubts.

A server that takes another one's place may lack the newest commits. Each worker's journal tells which calls it had
announced; nothing is claimed until every living worker has compared its own with the new server.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, or_, select, tuple_, update

from publisher.domain.delivery import WAITING_STATES, Delivery, State, WorkerId
from publisher.domain.events import Actor, AttemptStarted, BecameDue, Claimed, Event, Held, LeaseExpired, Resolved, Role
from publisher.domain.post import ONCE_OCCURRENCE, OneTimeTrigger, Post, format_delivery_name
from publisher.domain.rendered import Baseline, DeliveryId
from publisher.domain.results import HoldReason, Unknown
from publisher.runtime.logs import log
from publisher.store.audit.append import (
    clear_alerts,
    lock_planning,
    raise_alert,
    raise_delivery_alert,
    subject_of,
    write_audit,
)
from publisher.store.db.database import Transaction
from publisher.store.db.filters import in_state
from publisher.store.db.intent_journal import JournalRecord, read_journal, read_records
from publisher.store.db.mappers import (
    ATTEMPT,
    DATA_LOSS,
    DELIVERY,
    ORPHANED_ATTEMPT,
    SERVER_TIMELINE,
    WORKER,
    WORKER_STATE,
    to_delivery,
)
from publisher.store.recovery.identity import COMPARE_TIMEOUT, is_original_database, mark_compared, set_worker_state
from publisher.store.store import Store

RECOVERY_MAINTENANCE = Actor(role=Role.MAINTENANCE, name="recovery")
RECOVERY_SENDER = Actor(role=Role.SENDER, name="recovery")
RECOVERY_RECONCILER = Actor(role=Role.RECONCILER, name="recovery")
ATTEMPT_RECOVERED = "attempt_recovered"
"""Why it is in doubt: a later call than the database knew of was announced."""
RECOVERY_BATCH_SIZE = 500

_TIMELINE = func.substr(func.pg_walfile_name(func.pg_current_wal_lsn()), 1, 8)
_STATE_COLUMNS = WORKER_STATE.c
_is_mine = _STATE_COLUMNS.worker == bindparam("mine")
_is_behind = exists().where(
    WORKER.c.stopped_at.is_(None),
    _STATE_COLUMNS.worker == WORKER.c.id,
    ~_is_mine,
    _STATE_COLUMNS.compared_timeline != _TIMELINE,
)
_FIRST_SEEN_AT = select(SERVER_TIMELINE.c.first_seen_at).where(SERVER_TIMELINE.c.timeline == _TIMELINE)
"""When the first worker met the server's timeline.

So long after it as a worker counts as alive, all that had met the one before are waited for: while there was no
server, nobody could give a sign of life.
"""
_COMPARISON_STATUS = select(
    _TIMELINE.label("timeline"),
    select(_STATE_COLUMNS.compared_timeline).where(_is_mine).scalar_subquery().label("compared"),
    _FIRST_SEEN_AT.scalar_subquery().label("first_seen_at"),
    _is_behind.label("is_one_behind"),
    _is_behind.where(WORKER.c.heartbeat_at > bindparam("alive", type_=WORKER.c.heartbeat_at.type)).label("is_early"),
    exists().where(_is_mine, _STATE_COLUMNS.is_comparison_pending).label("is_comparison_pending"),
    exists().where(~_is_mine, _STATE_COLUMNS.is_comparison_pending).label("waits"),
)


def can_claim(store: Store, transaction: Transaction) -> bool:
    """Whether this worker may take work: it and every living one have compared their journals with this server.

    Nobody may on tables that a dump was put back into, before a person has accepted them and all have compared.
    """
    if not store.database.is_shared:
        return True
    if not is_original_database(store.database, transaction.connection):
        return False
    recover_lost_attempts(store, transaction)
    now = store.runtime.now()
    row = transaction.connection.execute(
        _COMPARISON_STATUS, {"mine": store.worker, "alive": now - COMPARE_TIMEOUT}
    ).one()
    if row.is_comparison_pending:
        mark_compared(transaction, store.worker, now)
    if row.compared != row.timeline:
        set_worker_state(transaction.connection, store.worker, compared_timeline=row.timeline)
    if row.first_seen_at is None:
        transaction.connection.execute(insert(SERVER_TIMELINE).values(timeline=row.timeline, first_seen_at=now))
    may_still_come = row.is_one_behind and now < (row.first_seen_at or now) + COMPARE_TIMEOUT
    return not row.is_early and not may_still_come and not row.waits


def is_comparison_expected(connection: Connection, worker: WorkerId, now: datetime) -> bool:
    """Whether others wait, or would, for a worker that has compared its journal with the former server alone."""
    is_one_behind = select(_STATE_COLUMNS.compared_timeline != _TIMELINE).where(_STATE_COLUMNS.worker == worker)
    met_at = connection.scalar(_FIRST_SEEN_AT)
    is_over = met_at is not None and now >= met_at + COMPARE_TIMEOUT
    return connection.scalar(is_one_behind) is True and not is_over


def recover_lost_attempts(store: Store, transaction: Transaction) -> None:
    """Bring back whatever this worker's journal knows and a shared database does not.

    Commits are lost from the end, so asking for the newest call is enough as long as that one is known.
    """
    journal = store.database.journal
    if not store.database.is_shared or journal is None or journal.last_record is None:
        return
    if not missing_from(transaction.connection, [journal.last_record]):
        return
    lost = missing_from(transaction.connection, read_records(journal.path, None))
    log.error("commits_lost", calls=len(lost))
    recover(store, transaction, lost, RECOVERY_MAINTENANCE)


def journal_problem(connection: Connection, worker: WorkerId, journal: Path) -> str | None:
    """Say why a worker's journal cannot tell what it has sent that its database may have lost; None where it can."""
    if not journal.exists():
        return "journal_missing"
    contents = read_journal(journal)
    if contents.damaged_lines:
        return "journal_damaged"
    mine = select(ATTEMPT.c.rendered_hash, ATTEMPT.c.intended_at).where(ATTEMPT.c.worker == worker)
    if contents.complete_since is not None:
        mine = mine.where(ATTEMPT.c.intended_at > contents.complete_since)
    newest = connection.execute(mine.order_by(ATTEMPT.c.intended_at.desc()).limit(RECOVERY_BATCH_SIZE)).all()
    announced = {_identity_of(one) for one in contents.records}
    is_another = newest and not any((row.rendered_hash, row.intended_at) in announced for row in newest)
    return "journal_mismatch" if is_another else None


def missing_from(connection: Connection, records: Sequence[JournalRecord]) -> list[JournalRecord]:
    """Give those announced calls that the database does not know. A call is known by its words and its instant."""
    unknown = []
    for start in range(0, len(records), RECOVERY_BATCH_SIZE):
        some = records[start : start + RECOVERY_BATCH_SIZE]
        known = _known_attempts(connection, "delivery", [one.delivery for one in some])
        missing = [one for one in some if _identity_of(one) not in known]
        if missing:  # perhaps brought back on another delivery, or on none
            renditions = [one.rendered_hash for one in missing]
            known |= _known_attempts(connection, "rendered_hash", renditions) | _known_orphans(connection, renditions)
            unknown += [one for one in missing if _identity_of(one) not in known]
    return unknown


def _known_attempts(connection: Connection, column: str, values: Sequence[object]) -> set[tuple[str, datetime]]:
    rows = connection.execute(
        select(ATTEMPT.c.rendered_hash, ATTEMPT.c.intended_at).where(ATTEMPT.c[column].in_(values))
    )
    return {(row.rendered_hash, row.intended_at) for row in rows}


def _known_orphans(connection: Connection, renditions: Sequence[str]) -> set[tuple[str, datetime]]:
    query = select(ORPHANED_ATTEMPT.c.rendered_hash, ORPHANED_ATTEMPT.c.at)
    rows = connection.execute(query.where(ORPHANED_ATTEMPT.c.rendered_hash.in_(renditions)))
    return {(row.rendered_hash, datetime.fromisoformat(row.at)) for row in rows}


def _identity_of(record: JournalRecord) -> tuple[str, datetime]:
    return record.rendered_hash, datetime.fromisoformat(record.at)


def recover(store: Store, transaction: Transaction, records: Sequence[JournalRecord], by: Actor) -> list[Delivery]:
    """Adopt those announced calls that the database has lost. Doing it twice changes nothing."""
    return mark_unresolved(store, transaction, missing_from(transaction.connection, records), by)


def mark_unresolved(
    store: Store, transaction: Transaction, records: Sequence[JournalRecord], by: Actor
) -> list[Delivery]:
    """Bring the deliveries of calls that were made, or may have been, to `unknown`, to be ended by reading.

    Each gets its attempts as the calls tell them. A call whose delivery is not found, or has gone another way, only a
    person can judge: it is told of. One transaction, audited.
    """
    lock_planning(transaction)
    found: dict[Delivery | None, list[JournalRecord]] = defaultdict(list)
    for line in records:
        found[_delivery_of(transaction.connection, line)].append(line)
    doubts = []
    for delivery, calls in found.items():
        if delivery is not None and _can_become_unresolved(delivery, by):
            doubts.append(_mark_delivery_unresolved(store, transaction, delivery, calls, by))
        else:
            _record_orphans(store, transaction, delivery, calls, by)
    return doubts


def attach_orphans(store: Store, transaction: Transaction) -> None:
    """Put calls that fitted no delivery on those filed since: what may be live already is read, not sent."""
    found: dict[Delivery, list[JournalRecord]] = defaultdict(list)
    for call in orphaned_attempts(transaction.connection):
        delivery = _delivery_of(transaction.connection, call)
        if delivery is not None and delivery.state in WAITING_STATES:
            found[delivery].append(call)
    for delivery, calls in found.items():
        placed = tuple_(ORPHANED_ATTEMPT.c.rendered_hash, ORPHANED_ATTEMPT.c.at).in_(
            [(one.rendered_hash, one.at) for one in calls]
        )
        transaction.connection.execute(delete(ORPHANED_ATTEMPT).where(placed))
        clear_alerts(transaction, _subject(calls[0], None), store.runtime.now())
        _mark_delivery_unresolved(store, transaction, delivery, calls, RECOVERY_MAINTENANCE)


def orphaned_attempts(connection: Connection) -> list[JournalRecord]:
    """Give the announced calls for which there is no delivery."""
    rows = connection.execute(select(ORPHANED_ATTEMPT).order_by(ORPHANED_ATTEMPT.c.at, ORPHANED_ATTEMPT.c.attempt))
    return [JournalRecord(**row) for row in rows.mappings()]


def _delivery_of(connection: Connection, record: JournalRecord) -> Delivery | None:
    """Find what a call was for, by its post, occurrence and account; in older journals, by its words."""
    if record.post:
        where = (
            DELIVERY.c.post == record.post,
            DELIVERY.c.occurrence == record.occurrence,
            DELIVERY.c.account == record.account,
        )
        query = select(DELIVERY).where(*where)
    else:
        query = (
            select(DELIVERY)
            .where(DELIVERY.c.rendered_hash == record.rendered_hash)
            .order_by(DELIVERY.c.id.desc())
            .limit(1)
        )
    row = connection.execute(query).mappings().first()
    return to_delivery(row) if row is not None else None


def _mark_delivery_unresolved(
    store: Store, transaction: Transaction, delivery: Delivery, records: Sequence[JournalRecord], by: Actor
) -> Delivery:
    """Let a delivery take the steps that were lost, and end as if its worker had died in the call."""
    now = store.runtime.now()
    first = max(delivery.attempts + 1, records[0].attempt)
    begun = _known_baseline(transaction.connection, delivery)
    rows = [_attempt_row(store, delivery, call, number, begun) for number, call in enumerate(records, first)]
    transaction.connection.execute(insert(ATTEMPT), rows)
    is_claimed = delivery.state is State.CLAIMED
    fencing_token = max(
        delivery.fencing_token, records[-1].fencing_token if is_claimed else records[-1].fencing_token - 1
    )
    start = replace(
        delivery, fencing_token=fencing_token, attempts=first + len(records) - 2, first_attempt_deadline=None
    )
    if delivery.state not in WAITING_STATES:  # what was known of it led to another call: that one is in doubt now
        number = start.attempts + 1
        start = replace(
            start, attempts=number, fencing_token=fencing_token + 1, was_resent=True, unknown_since=None, readbacks=0
        )
    after = store.transition_through(
        transaction, delivery, start, [*_steps(delivery.state, by), *_hold_between_parts(delivery, records)]
    )
    detail = {"calls": [asdict(call) for call in records]}
    write_audit(transaction, now, by, event="attempts_recovered", subject=_subject(records[0], after), detail=detail)
    raise_delivery_alert(transaction, now, "attempt_recovered", after, {"since": records[0].at})
    return after


def _can_become_unresolved(delivery: Delivery, by: Actor) -> bool:
    """Whether it can be led to `unknown`; away from a hold only a person leads."""
    is_asked = delivery.state in {State.SENDING, State.UNKNOWN}
    return delivery.state in WAITING_STATES or is_asked or (delivery.state is State.HELD and by.role is Role.PERSON)


def _steps(state: State, by: Actor) -> list[tuple[Event, Actor]]:
    match state:
        case State.SENDING:
            return [(LeaseExpired(), RECOVERY_MAINTENANCE)]
        case State.UNKNOWN:
            return [(Unknown(reason=ATTEMPT_RECOVERED), RECOVERY_RECONCILER)]
        case State.HELD:
            return [(Resolved(to=State.UNKNOWN, reason=ATTEMPT_RECOVERED), by)]
    steps: list[tuple[Event, Actor]] = [(AttemptStarted(), RECOVERY_SENDER), (LeaseExpired(), RECOVERY_MAINTENANCE)]
    if state is not State.CLAIMED:
        steps = [(Claimed(), RECOVERY_SENDER), *steps]
    if state in {State.PENDING, State.RETRYING}:
        steps = [(BecameDue(), RECOVERY_MAINTENANCE), *steps]
    return steps


def _hold_between_parts(delivery: Delivery, records: Sequence[JournalRecord]) -> list[tuple[Event, Actor]]:
    """Leave to a person what had come further than the floor that would be looked for: the next may stand already."""
    is_further = any(call.part != delivery.parts_done for call in records)
    if not is_further or delivery.is_retraction_requested:
        return []
    return [(Held(reason=HoldReason.INCOMPLETE), RECOVERY_MAINTENANCE)]


def _known_baseline(connection: Connection, delivery: Delivery) -> Baseline | None:
    """Give the baseline of the call that is known already: what is found may be its post, which is ours as well."""
    if delivery.state in WAITING_STATES:
        return None
    mine = (ATTEMPT.c.delivery == delivery.id, ATTEMPT.c.number == delivery.attempts)
    row = connection.execute(select(ATTEMPT.c.newest_id, ATTEMPT.c.baseline_at).where(*mine)).one_or_none()
    return Baseline(newest_id=row.newest_id, taken_at=row.baseline_at) if row is not None else None


def _attempt_row(
    store: Store, delivery: Delivery, record: JournalRecord, number: int, baseline: Baseline | None
) -> dict[str, object]:
    at = datetime.fromisoformat(record.at)
    since = at - store.timing(delivery.account).platform_clock_tolerance
    return {
        "delivery": delivery.id,
        "number": number,
        "part": record.part,
        "fencing_token": record.fencing_token,
        "login": delivery.login,
        "account": delivery.account,
        "worker": store.worker,
        "rendered_hash": record.rendered_hash,
        "newest_id": baseline.newest_id if baseline else None,
        "baseline_at": min(since, baseline.taken_at) if baseline else since,
        "intended_at": at,
        "ended_at": store.runtime.now(),
        "is_end_confirmed": store.runtime.is_clock_confirmed(),
    }


def _record_orphans(
    store: Store, transaction: Transaction, delivery: Delivery | None, records: Iterable[JournalRecord], by: Actor
) -> None:
    now = store.runtime.now()
    for call in records:
        subject = _subject(call, delivery)
        transaction.connection.execute(insert(ORPHANED_ATTEMPT).values(asdict(call)))
        write_audit(transaction, now, by, event="attempt_orphaned", subject=subject, detail=asdict(call))
        facts = {"post": call.post or subject, "account": call.account or "?", "since": call.at}
        raise_alert(transaction, now, "attempt_orphaned", subject, facts)


def _subject(record: JournalRecord, delivery: Delivery | None) -> str:
    return subject_of(delivery) if delivery is not None else subject_of_record(record)


def subject_of_record(record: JournalRecord) -> str:
    """Name an announced call the way its delivery is named; in older journals, by the delivery's number."""
    return (
        format_delivery_name(record.post, record.occurrence or ONCE_OCCURRENCE, record.account)
        if record.post
        else f"delivery:{record.delivery}"
    )


_LOSS_WINDOW = select(DATA_LOSS)


def mark_waiting_unresolved(
    store: Store, transaction: Transaction, since: datetime, by: Actor, *, exclude: Collection[DeliveryId]
) -> int:
    """Doubt all that may have been sent since then besides some, and remember that time. Returns how many."""
    now = store.runtime.now()
    transaction.connection.execute(delete(DATA_LOSS))
    transaction.connection.execute(insert(DATA_LOSS).values(since=since, until=now, covers_new_posts=True))
    waiting = in_state(DELIVERY, State.PENDING, State.DUE, State.CLAIMED, State.RETRYING)
    asked = in_state(DELIVERY, State.SENDING, State.UNKNOWN, State.HELD)  # a person may have let what is held go since
    due = or_(waiting & (DELIVERY.c.due_at <= now), asked)
    rows = transaction.connection.execute(select(DELIVERY).where(due)).mappings().all()
    return len(
        mark_unresolved(
            store, transaction, [_assumed_attempt(dict(row), since) for row in rows if row["id"] not in exclude], by
        )
    )


def mark_new_unresolved(
    store: Store, transaction: Transaction, created: Iterable[tuple[Post, str]], *, is_new_version: bool
) -> None:
    """Doubt what has just been filed anew and may have been sent in the lost time.

    That is what was due in it; and, the first time that the schedule is read after it, what goes at once.
    """
    lost = transaction.connection.execute(_LOSS_WINDOW).one_or_none()
    if lost is None:
        return
    calls = []
    for post, label in created:
        goes_at_once = isinstance(post.trigger, OneTimeTrigger) and post.trigger.at is None
        mine = (DELIVERY.c.post == post.id, DELIVERY.c.occurrence == label, in_state(DELIVERY, State.PENDING))
        rows = transaction.connection.execute(select(DELIVERY).where(*mine, DELIVERY.c.attempts == 0)).mappings()
        may_be = [dict(row) for row in rows if row["due_at"] <= lost.until or (lost.covers_new_posts and goes_at_once)]
        calls += [_assumed_attempt(row, lost.since) for row in may_be]
    recover(store, transaction, calls, RECOVERY_MAINTENANCE)
    if is_new_version:
        trust_schedule(transaction)


def covers_new_posts(transaction: Transaction) -> bool:
    """Whether what goes at once may have been sent in the lost time, because the schedule has not been read since."""
    return transaction.connection.scalar(select(DATA_LOSS.c.covers_new_posts)) is True


def trust_schedule(transaction: Transaction) -> None:
    """The schedule as it stands has been read: what comes into it from now on was never sent."""
    transaction.connection.execute(update(DATA_LOSS).where(DATA_LOSS.c.covers_new_posts).values(covers_new_posts=False))


def _assumed_attempt(row: Mapping[str, object], since: datetime) -> JournalRecord:
    """Take a delivery as called at the beginning of that time."""
    return JournalRecord(
        delivery=int(str(row["id"])),
        attempt=int(str(row["attempts"])) + 1,
        fencing_token=int(str(row["fencing_token"])) + 1,
        rendered_hash=str(row["rendered_hash"]),
        at=since.isoformat(),
        post=str(row["post"]),
        occurrence=str(row["occurrence"]),
        account=str(row["account"]),
    )
