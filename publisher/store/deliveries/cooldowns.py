"""Cooldowns: the earliest next calls of a login. Circuit breaker: a stop of sends to a server.

Every cooldown is written here. None is ever shortened, with two exceptions. One is the share of a
call that never left this machine. The other is a cooldown that only a wrong clock can have written.
A server with unreadable responses gets no sends until a health check succeeds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from publisher.domain.account import (
    DAY,
    MAX_COOLDOWN,
    Account,
    AccountId,
    LoginId,
    Mode,
)
from publisher.domain.delivery import Actor, Delivery, State
from publisher.domain.lifecycle import MIN_EXTENDABLE_DELAY
from publisher.domain.results import (
    HealthCheckResult,
    Healthy,
    NotSent,
    RateLimited,
    Submitted,
    TransportReason,
    Unknown,
)
from publisher.runtime.clock import MAX_TIMESTAMP_SKEW, ClockReading
from publisher.store.base import BaseStore
from publisher.store.db.database import Transaction, execute_rows
from publisher.store.db.filters import LOGIN_IDLE_AFTER, counts_against_quota, in_state
from publisher.store.db.monitor_tables import LOGIN_HEALTH, MONITOR_SCHEDULE
from publisher.store.db.rows import clear_alerts, keep_alert, write_audit, write_row
from publisher.store.db.tables import (
    ATTEMPT,
    DELIVERY,
    LOGIN,
    PAUSE,
    UNIX_EPOCH,
    CallResult,
    load_result,
)
from publisher.store.modes import active_modes

FAILURE_THRESHOLD = 5
"""How many unreadable responses to sends, in a row, pause a platform or private server."""
OPEN_DURATION = timedelta(minutes=15)
"""The minimum length of the pause.

After that, a successful health check ends it, if no person has.
"""
RESPONSES_UNREADABLE = "responses_unreadable"
PLATFORM_BREAKER_OPEN = "circuit_breaker_open"
ACCOUNT_BREAKER_OPEN = "account_circuit_breaker_open"
_NO_RESPONSE_REASONS = frozenset({
    TransportReason.TIMEOUT, TransportReason.RESET, TransportReason.RESPONSE_TRUNCATED,
    TransportReason.SERVER_ERROR,
})  # fmt: skip
"""Reasons of unknown outcomes that show no response format.

There was no response, or the platform had a fault.
"""
_LAST_DAY = (
    ATTEMPT.c.login.in_(bindparam("logins", expanding=True)),
    ATTEMPT.c.intended_at > bindparam("since"),
    counts_against_quota(),
)
_ATTEMPT_COUNTS = (
    select(
        ATTEMPT.c.login,
        func.count().label("number"),
        func.max(ATTEMPT.c.intended_at).label("newest"),
    )
    .where(*_LAST_DAY)
    .group_by(ATTEMPT.c.login)
)
_RECENT_ATTEMPTS = (
    select(ATTEMPT.c.login, ATTEMPT.c.intended_at)
    .where(*_LAST_DAY)
    .order_by(ATTEMPT.c.intended_at.desc())
)
_COOLDOWN_COLUMNS = (
    LOGIN.c.cooldown_until,
    LOGIN.c.routine_cooldown_until,
    LOGIN.c.parts_cooldown_until,
    LOGIN.c.reads_cooldown_until,
    LOGIN.c.rate_limited_until,
)


def _given(column: ColumnElement[datetime]) -> ColumnElement[datetime]:
    return bindparam(f"its_{column.name}", type_=column.type)


_NOW = bindparam("now", type_=LOGIN.c.busy_since.type)
_IDLE_SINCE = bindparam("idle_since", type_=LOGIN.c.busy_since.type)
_EXTEND_COOLDOWN = (
    update(LOGIN)
    .where(LOGIN.c.id == bindparam("its_login"))
    .values(
        {
            column.name: case((column > _given(column), column), else_=_given(column))
            for column in _COOLDOWN_COLUMNS
        }
    )
    .values(
        busy_since=case(
            (LOGIN.c.routine_cooldown_until < _IDLE_SINCE, _NOW),
            else_=LOGIN.c.busy_since,
        )
    )
)
"""The update that extends a cooldown to the later instant.

The database takes the later one, because another host may have written a longer cooldown meanwhile.
"""
_IDLE_LOGINS = select(LOGIN.c.id).where(
    LOGIN.c.id.in_(bindparam("logins", expanding=True)),
    LOGIN.c.routine_cooldown_until < _IDLE_SINCE,
)
_COOLDOWN_END = (
    select(LOGIN.c.routine_cooldown_until)
    .where(LOGIN.c.id == DELIVERY.c.login)
    .scalar_subquery()
)
_EXTEND_DEADLINES = (
    update(DELIVERY)
    .where(
        DELIVERY.c.login == bindparam("its_login"),
        in_state(DELIVERY, State.DUE),
        DELIVERY.c.first_attempt_deadline < _COOLDOWN_END + DELIVERY.c.max_delay,
        exists().where(
            LOGIN.c.id == DELIVERY.c.login,
            LOGIN.c.routine_cooldown_until < _IDLE_SINCE,
            LOGIN.c.busy_since <= DELIVERY.c.first_attempt_deadline,
        ),
    )
    .values(first_attempt_deadline=_COOLDOWN_END + DELIVERY.c.max_delay)
)
"""The update that gives a delivery its whole `max_delay` from the end of a cooldown.

A blocked delivery has it even if the login is idle then.
"""
_LIMITED_UNTIL = LOGIN.c.rate_limited_until
_SHORTEN_COOLDOWN = (
    update(LOGIN)
    .where(LOGIN.c.id == bindparam("its_login"))
    .values(
        {
            column.name: case(
                (_given(column) < _LIMITED_UNTIL, _LIMITED_UNTIL), else_=_given(column)
            )
            for column in (LOGIN.c.cooldown_until, LOGIN.c.routine_cooldown_until)
        }
    )
)
_UNTIL = bindparam("until", type_=DELIVERY.c.due_at.type)
_EXTEND_QUEUE_DEADLINES = (
    update(DELIVERY)
    .where(
        DELIVERY.c.login == bindparam("its_login"),
        in_state(DELIVERY, State.DUE),
        DELIVERY.c.max_delay >= MIN_EXTENDABLE_DELAY,
    )
    .where(
        DELIVERY.c.first_attempt_deadline >= _NOW,
        DELIVERY.c.first_attempt_deadline < _UNTIL + DELIVERY.c.max_delay,
    )
    .values(first_attempt_deadline=_UNTIL + DELIVERY.c.max_delay)
)
"""The update that extends the deadlines of a login's queue.

A post that cannot reach the platform delays its login's others too. No post that was in time
becomes late by it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooldown:
    """The cooldowns of a login, named like their columns in LoginRow.

    `rate_limited_until` is the platform's own limit. No quota of ours shortens it.
    """

    login: LoginId
    cooldown_until: datetime = UNIX_EPOCH
    routine_cooldown_until: datetime = UNIX_EPOCH
    parts_cooldown_until: datetime = UNIX_EPOCH
    reads_cooldown_until: datetime = UNIX_EPOCH
    rate_limited_until: datetime = UNIX_EPOCH


def extend_cooldowns(
    transaction: Transaction, cooldowns: Sequence[Cooldown], now: datetime
) -> None:
    """Extend the cooldowns of logins to at least these; a longer one stays."""
    if not cooldowns:
        return
    cooldowns = sorted(cooldowns, key=lambda cooldown: cooldown.login)
    idle_since = now - LOGIN_IDLE_AFTER
    parameters = {
        "logins": [cooldown.login for cooldown in cooldowns],
        "idle_since": idle_since,
    }
    if idle := transaction.connection.scalars(_IDLE_LOGINS, parameters).all():
        transaction.connection.execute(
            _EXTEND_DEADLINES,
            [{"its_login": login, "idle_since": idle_since} for login in sorted(idle)],
        )
    rows = [
        {"now": now, "idle_since": idle_since}
        | {
            f"its_{item.name}": getattr(cooldown, item.name)
            for item in fields(cooldown)
        }
        for cooldown in cooldowns
    ]
    execute_rows(transaction.connection, _EXTEND_COOLDOWN, rows)


def start_quota_cooldowns(
    store: BaseStore, transaction: Transaction, deliveries: Sequence[Delivery]
) -> None:
    """Start the quota cooldowns for the calls of these deliveries that begin now."""
    if deliveries:
        now = store.runtime.now()
        extend_cooldowns(
            transaction, _quota_cooldowns(store, transaction, deliveries, now), now
        )


def revert_quota_cooldowns(
    store: BaseStore, transaction: Transaction, deliveries: Sequence[Delivery]
) -> None:
    """Set the cooldowns of logins as if the last calls of these deliveries had not been recorded.

    These calls never left. The cooldowns do not fall below the platforms' own rate limits.
    """
    if not deliveries:
        return
    cooldowns = _quota_cooldowns(store, transaction, deliveries, UNIX_EPOCH)
    names = ("login", "cooldown_until", "routine_cooldown_until")
    rows = [
        {f"its_{name}": getattr(cooldown, name) for name in names}
        for cooldown in sorted(cooldowns, key=lambda cooldown: cooldown.login)
    ]
    if rows:
        transaction.connection.execute(_SHORTEN_COOLDOWN, rows)


def _quota_cooldowns(
    store: BaseStore,
    transaction: Transaction,
    deliveries: Sequence[Delivery],
    since: datetime,
) -> list[Cooldown]:
    """Return the quota cooldowns of these deliveries' logins, counted from `since`."""
    quotas = {
        delivery.login: store.policies[delivery.account].rate_limit
        for delivery in deliveries
        if delivery.account in store.policies
    }
    last_day = {"since": store.runtime.now() - DAY}
    counts = transaction.connection.execute(
        _ATTEMPT_COUNTS, {**last_day, "logins": list(quotas)}
    ).all()
    crowded = [
        row.login
        for row in counts
        if row.number >= quotas[row.login].always_allowed_calls
    ]
    # where no window can be full yet, the newest attempt is enough
    sent: dict[LoginId, list[datetime]] = {
        row.login: [row.newest] for row in counts if row.login not in crowded
    }
    for row in (
        transaction.connection.execute(
            _RECENT_ATTEMPTS, {**last_day, "logins": crowded}
        )
        if crowded
        else ()
    ):
        sent.setdefault(row.login, []).append(row.intended_at)
    return [
        Cooldown(
            login=login,
            cooldown_until=quota.next_allowed_at(
                sent.get(login, ()), since, is_urgent=True
            ),
            routine_cooldown_until=quota.next_allowed_at(
                sent.get(login, ()), since, is_urgent=False
            ),
            parts_cooldown_until=since + quota.effective_part_interval,
        )
        for login, quota in quotas.items()
    ]


def extend_queue_deadlines(
    transaction: Transaction, login: LoginId, until: datetime, now: datetime
) -> None:
    """Restart `max_delay` from `until` for due deliveries of a login.

    It applies when a call that never left will be retried.
    """
    transaction.connection.execute(
        _EXTEND_QUEUE_DEADLINES, {"its_login": login, "until": until, "now": now}
    )


def start_rate_limit(  # noqa: PLR0913 # whose limit, and what it holds for
    store: BaseStore,
    transaction: Transaction,
    login: LoginId,
    until: datetime,
    now: datetime,
    *,
    is_for_reads: bool,
) -> datetime:
    """Apply a platform's rate limit, and return its end.

    A limit met by a read holds for every call, others for posts.
    """
    until = min(until, now + MAX_COOLDOWN)
    if store.runtime.is_clock_confirmed():
        extend_cooldowns(
            transaction,
            [_rate_limit_cooldown(login, until, is_for_reads=is_for_reads)],
            now,
        )
    else:
        store.record_undated_limit(login, until - now, is_for_reads=is_for_reads)
    return until


def start_login_cooldown(
    store: BaseStore,
    transaction: Transaction,
    login: LoginId,
    limit: RateLimited,
    default_duration: timedelta,
) -> RateLimited:
    """Apply a rate limit that a read met. Return the limit as applied."""
    now = store.runtime.now()
    until = start_rate_limit(
        store,
        transaction,
        login,
        limit.until or now + default_duration,
        now,
        is_for_reads=True,
    )
    return replace(limit, until=until)


def _rate_limit_cooldown(
    login: LoginId, until: datetime, *, is_for_reads: bool
) -> Cooldown:
    return Cooldown(
        login=login,
        cooldown_until=until,
        routine_cooldown_until=until,
        parts_cooldown_until=until,
        reads_cooldown_until=until if is_for_reads else UNIX_EPOCH,
        rate_limited_until=until,
    )


def redate_cooldowns(
    store: BaseStore, transaction: Transaction, clocks: ClockReading
) -> None:
    """Correct, once the clock is confirmed, the cooldowns that only a fast clock can have written.

    Rate limits that came while the clock was not confirmed are written now.
    """
    now = clocks.at
    for column in _COOLDOWN_COLUMNS:
        is_impossible = column > now + MAX_COOLDOWN + MAX_TIMESTAMP_SKEW
        transaction.connection.execute(
            update(LOGIN).where(is_impossible).values({column.name: now + MAX_COOLDOWN})
        )
    for table in (LOGIN_HEALTH, MONITOR_SCHEDULE):
        transaction.connection.execute(
            update(table)
            .where(table.c.next_action_at > now + MAX_COOLDOWN)
            .values(next_action_at=now)
        )
    is_breaker_ahead = (
        PAUSE.c.reason == RESPONSES_UNREADABLE,
        PAUSE.c.at > now + MAX_TIMESTAMP_SKEW,
    )
    transaction.connection.execute(
        update(PAUSE).where(*is_breaker_ahead).values(at=now)
    )
    for limit in store.undated_limits:
        until = now + timedelta(seconds=limit.until - clocks.monotonic_seconds)
        cooldown = _rate_limit_cooldown(
            limit.login, until, is_for_reads=limit.is_for_reads
        )
        extend_cooldowns(transaction, [cooldown], now)


def may_read(now: datetime) -> ColumnElement[bool]:
    """True if no cooldown blocks the reads of a delivery's login."""
    return ~exists().where(
        LOGIN.c.id == DELIVERY.c.login, LOGIN.c.reads_cooldown_until > now
    )


def logins_in_cooldown(
    connection: Connection, now: datetime, latest: datetime | None = None
) -> frozenset[LoginId]:
    """Return the logins with reads in cooldown.

    A cooldown that ends after `latest` is ignored.
    """
    query = select(LOGIN.c.id).where(LOGIN.c.reads_cooldown_until > now)
    return frozenset(
        connection.scalars(
            query
            if latest is None
            else query.where(LOGIN.c.reads_cooldown_until <= latest)
        )
    )


_LAST_RESULTS = (
    select(ATTEMPT.c.outcome, ATTEMPT.c.detail)
    .where(
        ATTEMPT.c.account.in_(bindparam("accounts", expanding=True)),
        ATTEMPT.c.outcome.is_not(None),
    )
    .order_by(ATTEMPT.c.id.desc())
    .limit(40)
)


def is_unreadable(result: CallResult) -> bool:
    """Return True if a response came and could not be interpreted."""
    return (
        isinstance(result, Unknown)
        and not result.is_duplicate
        and result.reason not in _NO_RESPONSE_REASONS
    )


def trip_circuit_breakers(
    store: BaseStore, transaction: Transaction, accounts: Iterable[AccountId], by: Actor
) -> None:
    """Pause each account's platform, or private server, with only unreadable newest responses.

    Staff are alerted, and health checks are scheduled. Only answers of the server itself count: no
    timeouts, no calls that never left, no manual posts. A private server holds up its own accounts
    alone, and of these the ones that publisher posts on: only their logins are checked.
    """
    modes = active_modes(store, transaction.connection)
    known = [store.policies[account] for account in accounts if account in modes]
    for platform, server in sorted(
        {(one.account.platform, one.server) for one in known}
    ):
        group = [
            policy.account
            for policy in store.policies.values()
            if (policy.account.platform, policy.server) == (platform, server)
        ]
        if not _are_newest_unreadable(transaction, group):
            continue
        if server:
            for account in group:
                if modes[account.id] is not Mode.API:
                    continue
                facts = {"account": account.id}
                _open_breaker(store, transaction, f"account:{account.id}", facts, by)
        else:
            _open_breaker(
                store, transaction, f"platform:{platform}", {"platform": platform}, by
            )
        next_check = {"next_action_at": store.runtime.now() + OPEN_DURATION}
        for login in {account.login for account in group}:
            write_row(
                transaction.connection, LOGIN_HEALTH, {"login": login}, next_check
            )


def _are_newest_unreadable(
    transaction: Transaction, accounts: Sequence[Account]
) -> bool:
    """Return True if the newest answers to calls of these accounts are all unreadable."""
    ids = [account.id for account in accounts]
    responses: list[CallResult] = []
    for row in transaction.connection.execute(
        _LAST_RESULTS, {"accounts": ids}
    ).mappings():
        result = load_result(row["outcome"], row["detail"])
        has_no_response = isinstance(result, NotSent) or (
            isinstance(result, Unknown) and result.reason in _NO_RESPONSE_REASONS
        )
        is_manual = (
            isinstance(result, Submitted) and result.ticket.manual_task is not None
        )
        if not (has_no_response or is_manual):
            responses.append(result)
    newest = responses[:FAILURE_THRESHOLD]
    return len(newest) == FAILURE_THRESHOLD and all(map(is_unreadable, newest))


def _open_breaker(
    store: BaseStore,
    transaction: Transaction,
    scope: str,
    subject: Mapping[str, str],
    by: Actor,
) -> None:
    """Pause a scope, with an alert about its platform or account, unless it is paused."""
    query = select(PAUSE.c.scope).where(PAUSE.c.scope == scope)
    if transaction.connection.execute(query).first() is not None:
        return
    now = store.runtime.now()
    pause = {"scope": scope, "at": now, "by": by.name, "reason": RESPONSES_UNREADABLE}
    transaction.connection.execute(insert(PAUSE).values(pause))
    write_audit(
        transaction,
        now,
        by,
        event="paused",
        subject=scope,
        detail={"reason": RESPONSES_UNREADABLE},
    )
    code = ACCOUNT_BREAKER_OPEN if "account" in subject else PLATFORM_BREAKER_OPEN
    keep_alert(
        transaction, now, code, scope, {**subject, "number": str(FAILURE_THRESHOLD)}
    )


def update_circuit_breaker(
    store: BaseStore,
    transaction: Transaction,
    account: Account,
    health: HealthCheckResult,
    by: Actor,
) -> None:
    """End, after a successful check and OPEN_DURATION, the pauses by answers of the same server.

    Otherwise another check is scheduled. The check is a health check of this account's login. A
    pause that a person ordered stays.
    """
    now, server = store.runtime.now(), store.policies[account.id].server
    same_server = [
        f"account:{policy.account.id}"
        for policy in store.policies.values()
        if (policy.account.platform, policy.server) == (account.platform, server)
    ]
    scopes = same_server if server else [f"platform:{account.platform}"]
    is_open = (PAUSE.c.scope.in_(scopes), PAUSE.c.reason == RESPONSES_UNREADABLE)
    pauses = transaction.connection.execute(
        select(PAUSE.c.scope, PAUSE.c.at).where(*is_open)
    ).all()
    if not pauses:
        return
    may_end = isinstance(health, Healthy)
    ended = [
        pause.scope for pause in pauses if may_end and pause.at <= now - OPEN_DURATION
    ]
    for scope in ended:
        transaction.connection.execute(delete(PAUSE).where(PAUSE.c.scope == scope))
        for code in (ACCOUNT_BREAKER_OPEN, PLATFORM_BREAKER_OPEN):
            clear_alerts(transaction, scope, now, code)
        write_audit(
            transaction,
            now,
            by,
            event="resumed",
            subject=scope,
            detail={"reason": "probed"},
        )
    if len(ended) < len(pauses):
        schedule = update(LOGIN_HEALTH).where(LOGIN_HEALTH.c.login == account.login)
        transaction.connection.execute(
            schedule.values(next_action_at=now + OPEN_DURATION)
        )
