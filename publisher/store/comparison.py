"""Comparison of journals with a server that took over, or was restored.

No work is claimed until every live worker has compared its journal with the new server.
"""

from datetime import datetime

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from publisher.domain.delivery import (
    Actor,
    WorkerId,
)
from publisher.domain.errors import RefusedError
from publisher.store.approvals.guard import end_confirmation_requests, void_approvals
from publisher.store.base import BaseStore
from publisher.store.database_identity import (
    ACCEPTED_KEY,
    COMPARE_TIMEOUT,
    IDENTITY_KEY,
    is_original_database,
    set_worker_state,
    store_identity,
    workers_to_compare,
)
from publisher.store.db.database import Transaction
from publisher.store.db.intent_journal import (
    JOURNAL_RETENTION,
)
from publisher.store.db.rows import (
    clear_alerts,
    raise_alert,
    write_audit,
)
from publisher.store.db.tables import (
    DATABASE_INFO,
    SERVER_TIMELINE,
    WORKER,
    WORKER_STATE,
)
from publisher.store.lost_attempts import RECOVERY_MAINTENANCE, recover_lost_attempts
from publisher.store.people.users import suspend_all


def accept_restored(
    transaction: Transaction,
    worker: WorkerId,
    now: datetime,
    known_until: datetime,
    *,
    awaits_others: bool,
) -> None:
    """Accept a restored database. Workers with possible later attempts must compare again.

    Each of them compares its journal. Raises RefusedError while another worker is alive. It still
    acts on the previous contents.
    """
    connection = transaction.connection
    others = select(WORKER.c.id).where(WORKER.c.id != worker).order_by(WORKER.c.id)
    alive = others.where(
        WORKER.c.stopped_at.is_(None), WORKER.c.heartbeat_at > now - COMPARE_TIMEOUT
    )
    if names := connection.scalars(alive).all():
        raise RefusedError("workers_running", workers=", ".join(names))
    for name in workers_to_compare(connection):
        clear_alerts(transaction, f"worker:{name}", now)
    connection.execute(
        delete(DATABASE_INFO).where(
            DATABASE_INFO.c.key.in_([IDENTITY_KEY, ACCEPTED_KEY])
        )
    )
    connection.execute(
        update(WORKER_STATE).values(compared_timeline=None, is_comparison_pending=False)
    )
    store_identity(connection)
    # journals keep no attempts that are older than their retention
    with_journal = others.where(WORKER.c.heartbeat_at > known_until - JOURNAL_RETENTION)
    for name in connection.scalars(with_journal).all() if awaits_others else ():
        set_worker_state(transaction, WorkerId(name), is_comparison_pending=True)
        raise_alert(
            transaction, now, "waiting_for_journal", f"worker:{name}", {"worker": name}
        )
    connection.execute(
        insert(DATABASE_INFO).values(key=ACCEPTED_KEY, value=known_until.isoformat())
    )


def mark_compared(transaction: Transaction, worker: WorkerId, now: datetime) -> None:
    """Record that this worker has compared its journal."""
    set_worker_state(transaction, worker, is_comparison_pending=False)
    clear_alerts(transaction, f"worker:{worker}", now)


_TIMELINE = func.substr(func.pg_walfile_name(func.pg_current_wal_lsn()), 1, 8)


_IS_OWN_STATE = WORKER_STATE.c.worker == bindparam("own")


_IS_OTHER_BEHIND = exists().where(
    WORKER.c.stopped_at.is_(None),
    WORKER_STATE.c.worker == WORKER.c.id,
    ~_IS_OWN_STATE,
    WORKER_STATE.c.compared_timeline != _TIMELINE,
)


_FIRST_SEEN_AT = select(SERVER_TIMELINE.c.first_seen_at).where(
    SERVER_TIMELINE.c.timeline == _TIMELINE
)
"""When a worker first saw the server's timeline.

For COMPARE_TIMEOUT after it every worker of the previous timeline is waited for: while there was no
server, nobody could write a heartbeat.
"""


_COMPARISON_STATUS = select(
    _TIMELINE.label("timeline"),
    select(WORKER_STATE.c.compared_timeline)
    .where(_IS_OWN_STATE)
    .scalar_subquery()
    .label("compared_timeline"),
    _FIRST_SEEN_AT.scalar_subquery().label("first_seen_at"),
    _IS_OTHER_BEHIND.label("is_other_behind"),
    _IS_OTHER_BEHIND.where(
        WORKER.c.heartbeat_at
        > bindparam("alive_since", type_=WORKER.c.heartbeat_at.type)
    ).label("is_live_worker_behind"),
    exists()
    .where(_IS_OWN_STATE, WORKER_STATE.c.is_comparison_pending)
    .label("is_own_pending"),
    exists()
    .where(~_IS_OWN_STATE, WORKER_STATE.c.is_comparison_pending)
    .label("is_other_pending"),
)


def can_claim(store: BaseStore, transaction: Transaction) -> bool:
    """Return True if this worker may claim work: all live ones have compared their journals.

    It has compared its own journal with this server too. After a dump was restored nobody may claim
    before a person has accepted the database and all workers have compared.
    """
    connection = transaction.connection
    if not store.database.is_shared:
        return True
    if not is_original_database(store.database, connection):
        return False
    recover_lost_attempts(store, transaction)
    now = store.runtime.now()
    status = connection.execute(
        _COMPARISON_STATUS, {"own": store.worker, "alive_since": now - COMPARE_TIMEOUT}
    ).one()
    if status.is_own_pending:
        mark_compared(transaction, store.worker, now)
    if status.compared_timeline != status.timeline:
        set_worker_state(transaction, store.worker, compared_timeline=status.timeline)
    if status.first_seen_at is None:
        if is_timeline_new(connection):
            void_authority(transaction, now, RECOVERY_MAINTENANCE, "failover")
        connection.execute(
            insert(SERVER_TIMELINE).values(timeline=status.timeline, first_seen_at=now)
        )
    may_still_come = (
        status.is_other_behind and now < (status.first_seen_at or now) + COMPARE_TIMEOUT
    )
    return (
        not status.is_live_worker_behind
        and not may_still_come
        and not status.is_other_pending
    )


def void_authority(
    transaction: Transaction, now: datetime, by: Actor, reason: str
) -> None:
    """End all sign-ins and approvals of unsent content in a database that others may be ahead of.

    It may lack a withdrawn approval, a disabled user, or a used-up token or link. Requests for a
    second confirmation end too.
    """
    void_approvals(transaction, now, by, reason)
    end_confirmation_requests(transaction, now, by, reason)
    number = suspend_all(transaction.connection, now)
    if number:
        detail = {"reason": reason, "users": number}
        write_audit(
            transaction,
            now,
            by,
            event="users_suspended",
            subject="users",
            detail=detail,
        )
        clear_alerts(transaction, "users", now)
        raise_alert(
            transaction,
            now,
            "users_suspended",
            "users",
            {"reason": reason, "number": str(number)},
        )


def is_timeline_new(connection: Connection) -> bool:
    """Return True if the server took over from another one, and no worker has noted that yet."""
    known = select(SERVER_TIMELINE.c.timeline)
    is_known = exists(known.where(SERVER_TIMELINE.c.timeline == _TIMELINE))
    return connection.scalar(select(and_(exists(known), ~is_known))) is True


def is_comparison_expected(
    connection: Connection, worker: WorkerId, now: datetime
) -> bool:
    """Return True if others wait for a worker with a journal compared only with the old server.

    It is also True if they would wait.
    """
    is_behind = select(WORKER_STATE.c.compared_timeline != _TIMELINE).where(
        WORKER_STATE.c.worker == worker
    )
    first_seen_at = connection.scalar(_FIRST_SEEN_AT)
    is_over = first_seen_at is not None and now >= first_seen_at + COMPARE_TIMEOUT
    return connection.scalar(is_behind) is True and not is_over
