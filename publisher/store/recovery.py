"""A database that has lost its last commits: what a journal still knows is brought back, as doubts.

A server that takes another one's place may lack the newest commits. Each worker's journal tells which calls it had
announced; nothing is claimed until every living worker has compared its own with the new server.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, tuple_

from publisher.domain.delivery import WAITING, Delivery, State, WorkerId
from publisher.domain.events import Actor, Claimed, Event, IntentWritten, LeaseLapsed, Ripened, Role, Ruled, Stopped
from publisher.domain.outcome import HoldReason, Unknown
from publisher.domain.post import ONCE, name_at
from publisher.domain.rendition import Baseline
from publisher.store.books import Books
from publisher.store.engine import Unit
from publisher.store.home import AWAITED_FOR, arrive, is_at_home, set_worker_state
from publisher.store.journal import Intent, newest_intents, read_journal
from publisher.store.ledger import clear_alerts, subject_of, take_turn, tell, write_alert, write_audit
from publisher.store.rows import ATTEMPT, DELIVERY, ORPHANED_ATTEMPT, SERVER_TIMELINE, WORKER, WORKER_STATE, to_delivery
from publisher.telemetry import log

RECOVERY_KEEPER = Actor(role=Role.KEEPER, name="recovery")
RECOVERY_DELIVERER = Actor(role=Role.DELIVERER, name="recovery")
RECOVERY_RECONCILER = Actor(role=Role.RECONCILER, name="recovery")
BROUGHT_BACK = "call_brought_back"
"""Why it is in doubt: a later call than the database knew of was announced."""
AT_A_TIME = 500

_TIMELINE = func.substr(func.pg_walfile_name(func.pg_current_wal_lsn()), 1, 8)
_STATE = WORKER_STATE.c
_is_mine = _STATE.worker == bindparam("mine")
_is_behind = exists().where(
    WORKER.c.stopped_at.is_(None), _STATE.worker == WORKER.c.id, ~_is_mine, _STATE.compared_timeline != _TIMELINE
)
_MET_AT = select(SERVER_TIMELINE.c.met_at).where(SERVER_TIMELINE.c.timeline == _TIMELINE)
"""When the first worker met the server's timeline.

So long after it as a worker counts as alive, all that had met the one before are waited for: while there was no
server, nobody could give a sign of life.
"""
_STANDING = select(
    _TIMELINE.label("timeline"),
    select(_STATE.compared_timeline).where(_is_mine).scalar_subquery().label("compared"),
    _MET_AT.scalar_subquery().label("met_at"),
    _is_behind.label("is_one_behind"),
    _is_behind.where(WORKER.c.beat_at > bindparam("alive", type_=WORKER.c.beat_at.type)).label("is_early"),
    exists().where(_is_mine, _STATE.is_awaited).label("is_awaited"),
    exists().where(~_is_mine, _STATE.is_awaited).label("waits"),
)


def is_ready(books: Books, unit: Unit) -> bool:
    """Whether this worker may take work: it and every living one have compared their journals with this server.

    Nobody may on tables that a dump was put back into, before a person has accepted them and all have compared.
    """
    if not books.database.is_shared:
        return True
    if not is_at_home(books.database, unit.connection):
        return False
    bring_back(books, unit)
    now = books.world.now()
    row = unit.connection.execute(_STANDING, {"mine": books.worker, "alive": now - AWAITED_FOR}).one()
    if row.is_awaited:
        arrive(unit, books.worker, now)
    if row.compared != row.timeline:
        set_worker_state(unit.connection, books.worker, compared_timeline=row.timeline)
    if row.met_at is None:
        unit.connection.execute(insert(SERVER_TIMELINE).values(timeline=row.timeline, met_at=now))
    may_still_come = row.is_one_behind and now < (row.met_at or now) + AWAITED_FOR
    return not row.is_early and not may_still_come and not row.waits


def is_awaited(connection: Connection, worker: WorkerId, now: datetime) -> bool:
    """Whether others wait, or would, for a worker that has compared its journal with the former server alone."""
    is_one_behind = select(_STATE.compared_timeline != _TIMELINE).where(_STATE.worker == worker)
    met_at = connection.scalar(_MET_AT)
    is_over = met_at is not None and now >= met_at + AWAITED_FOR
    return connection.scalar(is_one_behind) is True and not is_over


def bring_back(books: Books, unit: Unit) -> None:
    """Bring back whatever this worker's journal knows and a shared database does not.

    Commits are lost from the end, so asking for the newest call is enough as long as that one is known.
    """
    journal = books.database.journal
    if not books.database.is_shared or journal is None or journal.last is None:
        return
    if not unknown_to(unit.connection, [journal.last]):
        return
    lost = unknown_to(unit.connection, newest_intents(journal.path, None))
    log.error("commits_lost", calls=len(lost))
    readopt(books, unit, lost, RECOVERY_KEEPER)


def flaw_of(connection: Connection, worker: WorkerId, journal: Path) -> str | None:
    """Say why a worker's journal cannot tell what it has sent that its database may have lost; None where it can."""
    if not journal.exists():
        return "journal_missing"
    contents = read_journal(journal)
    if contents.damaged:
        return "journal_damaged"
    mine = select(ATTEMPT.c.rendition, ATTEMPT.c.intended_at).where(ATTEMPT.c.worker == worker)
    if contents.kept_since is not None:
        mine = mine.where(ATTEMPT.c.intended_at > contents.kept_since)
    newest = connection.execute(mine.order_by(ATTEMPT.c.intended_at.desc()).limit(AT_A_TIME)).all()
    announced = {_identity(one) for one in contents.intents}
    is_another = newest and not any((row.rendition, row.intended_at) in announced for row in newest)
    return "journal_other" if is_another else None


def unknown_to(connection: Connection, intents: Sequence[Intent]) -> list[Intent]:
    """Give those announced calls that the database does not know. A call is known by its words and its instant."""
    unknown = []
    for start in range(0, len(intents), AT_A_TIME):
        some = intents[start : start + AT_A_TIME]
        known = _known(connection, "delivery", [one.delivery for one in some])
        missing = [one for one in some if _identity(one) not in known]
        if missing:  # perhaps brought back on another delivery, or on none
            renditions = [one.rendition for one in missing]
            known |= _known(connection, "rendition", renditions) | _orphaned(connection, renditions)
            unknown += [one for one in missing if _identity(one) not in known]
    return unknown


def _known(connection: Connection, column: str, values: Sequence[object]) -> set[tuple[str, datetime]]:
    rows = connection.execute(select(ATTEMPT.c.rendition, ATTEMPT.c.intended_at).where(ATTEMPT.c[column].in_(values)))
    return {(row.rendition, row.intended_at) for row in rows}


def _orphaned(connection: Connection, renditions: Sequence[str]) -> set[tuple[str, datetime]]:
    query = select(ORPHANED_ATTEMPT.c.rendition, ORPHANED_ATTEMPT.c.at)
    rows = connection.execute(query.where(ORPHANED_ATTEMPT.c.rendition.in_(renditions)))
    return {(row.rendition, datetime.fromisoformat(row.at)) for row in rows}


def _identity(intent: Intent) -> tuple[str, datetime]:
    return intent.rendition, datetime.fromisoformat(intent.at)


def readopt(books: Books, unit: Unit, lines: Sequence[Intent], by: Actor) -> list[Delivery]:
    """Adopt those announced calls that the database has lost. Doing it twice changes nothing."""
    return adopt(books, unit, unknown_to(unit.connection, lines), by)


def adopt(books: Books, unit: Unit, lost: Sequence[Intent], by: Actor) -> list[Delivery]:
    """Bring the deliveries of calls that were made, or may have been, to `unknown`, to be ended by reading.

    Each gets its attempts as the calls tell them. A call whose delivery is not found, or has gone another way, only a
    person can judge: it is told of. One transaction, audited.
    """
    take_turn(unit)
    found: dict[Delivery | None, list[Intent]] = defaultdict(list)
    for line in lost:
        found[_delivery_of(unit.connection, line)].append(line)
    doubts = []
    for delivery, calls in found.items():
        if delivery is not None and _may_doubt(delivery, by):
            doubts.append(_doubt(books, unit, delivery, calls, by))
        else:
            _tell_of(books, unit, delivery, calls, by)
    return doubts


def place(books: Books, unit: Unit) -> None:
    """Put calls that fitted no delivery on those filed since: what may be live already is read, not sent."""
    found: dict[Delivery, list[Intent]] = defaultdict(list)
    for call in unplaced(unit.connection):
        delivery = _delivery_of(unit.connection, call)
        if delivery is not None and delivery.state in WAITING:
            found[delivery].append(call)
    for delivery, calls in found.items():
        placed = tuple_(ORPHANED_ATTEMPT.c.rendition, ORPHANED_ATTEMPT.c.at).in_(
            [(one.rendition, one.at) for one in calls]
        )
        unit.connection.execute(delete(ORPHANED_ATTEMPT).where(placed))
        clear_alerts(unit, _name(calls[0], None), books.world.now())
        _doubt(books, unit, delivery, calls, RECOVERY_KEEPER)


def unplaced(connection: Connection) -> list[Intent]:
    """Give the announced calls for which there is no delivery."""
    rows = connection.execute(select(ORPHANED_ATTEMPT).order_by(ORPHANED_ATTEMPT.c.at, ORPHANED_ATTEMPT.c.attempt))
    return [Intent(**row) for row in rows.mappings()]


def _delivery_of(connection: Connection, line: Intent) -> Delivery | None:
    """Find what a call was for, by its post, occurrence and account; in older journals, by its words."""
    if line.post:
        where = (DELIVERY.c.post == line.post, DELIVERY.c.label == line.label, DELIVERY.c.account == line.account)
        query = select(DELIVERY).where(*where)
    else:
        query = select(DELIVERY).where(DELIVERY.c.rendition == line.rendition).order_by(DELIVERY.c.id.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return to_delivery(row) if row is not None else None


def _doubt(books: Books, unit: Unit, delivery: Delivery, calls: Sequence[Intent], by: Actor) -> Delivery:
    """Let a delivery take the steps that were lost, and end as if its worker had died in the call."""
    now = books.world.now()
    first = max(delivery.attempts + 1, calls[0].attempt)
    begun = _begun(unit.connection, delivery)
    rows = [_attempt_row(books, delivery, call, number, begun) for number, call in enumerate(calls, first)]
    unit.connection.execute(insert(ATTEMPT), rows)
    is_claimed = delivery.state is State.CLAIMED
    epoch = max(delivery.epoch, calls[-1].epoch if is_claimed else calls[-1].epoch - 1)
    start = replace(delivery, epoch=epoch, attempts=first + len(calls) - 2, last_first_call_at=None)
    if delivery.state not in WAITING:  # what was known of it led to another call: that one is in doubt now
        number = start.attempts + 1
        start = replace(start, attempts=number, epoch=epoch + 1, was_resent=True, doubt_since=None, looks=0)
    after = books.walk(unit, delivery, start, [*_steps(delivery.state, by), *_stop_between_floors(delivery, calls)])
    detail = {"calls": [asdict(call) for call in calls]}
    write_audit(unit, now, by, event="attempts_recovered", subject=_name(calls[0], after), detail=detail)
    write_alert(unit, now, "call_brought_back", after, {"since": calls[0].at})
    return after


def _may_doubt(delivery: Delivery, by: Actor) -> bool:
    """Whether it can be led to `unknown`; away from a hold only a person leads."""
    is_asked = delivery.state in {State.SENDING, State.UNKNOWN}
    return delivery.state in WAITING or is_asked or (delivery.state is State.HELD and by.role is Role.PERSON)


def _steps(state: State, by: Actor) -> list[tuple[Event, Actor]]:
    match state:
        case State.SENDING:
            return [(LeaseLapsed(), RECOVERY_KEEPER)]
        case State.UNKNOWN:
            return [(Unknown(reason=BROUGHT_BACK), RECOVERY_RECONCILER)]
        case State.HELD:
            return [(Ruled(to=State.UNKNOWN, reason=BROUGHT_BACK), by)]
    steps: list[tuple[Event, Actor]] = [(IntentWritten(), RECOVERY_DELIVERER), (LeaseLapsed(), RECOVERY_KEEPER)]
    if state is not State.CLAIMED:
        steps = [(Claimed(), RECOVERY_DELIVERER), *steps]
    if state in {State.PENDING, State.RETRYING}:
        steps = [(Ripened(), RECOVERY_KEEPER), *steps]
    return steps


def _stop_between_floors(delivery: Delivery, calls: Sequence[Intent]) -> list[tuple[Event, Actor]]:
    """Leave to a person what had come further than the floor that would be looked for: the next may stand already."""
    is_further = any(call.floor != delivery.floors_done for call in calls)
    if not is_further or delivery.is_ordered_down:
        return []
    return [(Stopped(reason=HoldReason.INCOMPLETE), RECOVERY_KEEPER)]


def _begun(connection: Connection, delivery: Delivery) -> Baseline | None:
    """Give the baseline of the call that is known already: what is found may be its post, which is ours as well."""
    if delivery.state in WAITING:
        return None
    mine = (ATTEMPT.c.delivery == delivery.id, ATTEMPT.c.number == delivery.attempts)
    row = connection.execute(select(ATTEMPT.c.newest_id, ATTEMPT.c.since).where(*mine)).one_or_none()
    return Baseline(newest_id=row.newest_id, since=row.since) if row is not None else None


def _attempt_row(
    books: Books, delivery: Delivery, call: Intent, number: int, begun: Baseline | None
) -> dict[str, object]:
    at = datetime.fromisoformat(call.at)
    since = at - books.patience(delivery.account).platform_clock_tolerance
    return {
        "delivery": delivery.id,
        "number": number,
        "floor": call.floor,
        "epoch": call.epoch,
        "login": delivery.login,
        "account": delivery.account,
        "worker": books.worker,
        "rendition": call.rendition,
        "newest_id": begun.newest_id if begun else None,
        "since": min(since, begun.since) if begun else since,
        "intended_at": at,
        "ended_at": books.world.now(),
        "ended_confirmed": books.world.is_clock_confirmed(),
    }


def _tell_of(books: Books, unit: Unit, delivery: Delivery | None, calls: Iterable[Intent], by: Actor) -> None:
    now = books.world.now()
    for call in calls:
        subject = _name(call, delivery)
        unit.connection.execute(insert(ORPHANED_ATTEMPT).values(asdict(call)))
        write_audit(unit, now, by, event="attempt_orphaned", subject=subject, detail=asdict(call))
        facts = {"post": call.post or subject, "account": call.account or "?", "since": call.at}
        tell(unit, now, "call_unplaced", subject, facts)


def _name(call: Intent, delivery: Delivery | None) -> str:
    return subject_of(delivery) if delivery is not None else name_of(call)


def name_of(call: Intent) -> str:
    """Name an announced call the way its delivery is named; in older journals, by the delivery's number."""
    return name_at(call.post, call.label or ONCE, call.account) if call.post else f"delivery:{call.delivery}"
