"""When a login may make its next calls.

Every wait is written here. None is ever made shorter, but for what a call took that never left this machine, and for
what only a wrong clock can have written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, bindparam, case, exists, select, update

from publisher.domain.account import LoginId
from publisher.domain.delivery import State
from publisher.domain.lifecycle import MIN_EXTENDABLE_DELAY
from publisher.domain.policy import MAX_COOLDOWN
from publisher.domain.results import RateLimited
from publisher.runtime.clock import MAX_TIMESTAMP_SKEW, ClockReading
from publisher.store.db.database import Transaction
from publisher.store.db.filters import LOGIN_IDLE_AFTER, in_state
from publisher.store.db.mappers import DELIVERY, LOGIN, LOGIN_HEALTH, MONITOR_SCHEDULE, PAUSE
from publisher.store.db.tables import UNIX_EPOCH
from publisher.store.deliveries.circuit_breaker import RESPONSES_UNREADABLE
from publisher.store.store import Store

_COOLDOWN_COLUMNS = (
    LOGIN.c.cooldown_until,
    LOGIN.c.routine_cooldown_until,
    LOGIN.c.parts_cooldown_until,
    LOGIN.c.reads_cooldown_until,
    LOGIN.c.rate_limited_until,
)


def _later_of(column: ColumnElement[datetime], name: str) -> ColumnElement[datetime]:
    given = bindparam(name, type_=column.type)
    return case((column > given, column), else_=given)


_NOW = bindparam("now", type_=LOGIN.c.busy_since.type)
_IDLE_SINCE = bindparam("idle_since", type_=LOGIN.c.busy_since.type)
_EXTEND_COOLDOWN = (
    update(LOGIN)
    .where(LOGIN.c.id == bindparam("its_id"))
    .values({column.name: _later_of(column, f"its_{column.name}") for column in _COOLDOWN_COLUMNS})
    .values(busy_since=case((LOGIN.c.routine_cooldown_until < _IDLE_SINCE, _NOW), else_=LOGIN.c.busy_since))
)
"""Another host may have written a longer wait since ours was reckoned: the database itself takes the later instant."""
_COOLDOWN_END = select(LOGIN.c.routine_cooldown_until).where(LOGIN.c.id == DELIVERY.c.login).scalar_subquery()
_EXTEND_DEADLINES = (
    update(DELIVERY)
    .where(
        DELIVERY.c.login == bindparam("its_id"),
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
"""What a wait kept back has its whole time from the wait's end on, also if the login is idle before its next call."""
_SHORTEN_COOLDOWN = (
    update(LOGIN)
    .where(LOGIN.c.id == bindparam("its_id"))
    .values(
        {
            column.name: case(
                (
                    LOGIN.c.rate_limited_until > bindparam(f"its_{column.name}", type_=column.type),
                    LOGIN.c.rate_limited_until,
                ),
                else_=bindparam(f"its_{column.name}", type_=column.type),
            )
            for column in (LOGIN.c.cooldown_until, LOGIN.c.routine_cooldown_until)
        }
    )
)


_UNTIL = bindparam("until", type_=DELIVERY.c.due_at.type)
_EXTEND_QUEUE_DEADLINES = (
    update(DELIVERY)
    .where(
        DELIVERY.c.login == bindparam("its_id"),
        in_state(DELIVERY, State.DUE),
        DELIVERY.c.max_delay >= MIN_EXTENDABLE_DELAY,
    )
    .where(DELIVERY.c.first_attempt_deadline >= _NOW, DELIVERY.c.first_attempt_deadline < _UNTIL + DELIVERY.c.max_delay)
    .values(first_attempt_deadline=_UNTIL + DELIVERY.c.max_delay)
)
"""Behind a post that finds no way to the platform those of its login wait too: none that was in time is late for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooldown:
    """Until when a login rests: every post, those that are not urgent, further floors, and reads.

    `limit` is the platform's own word, which no quota of ours takes back.
    """

    login: LoginId
    posts_until: datetime = UNIX_EPOCH
    routine_until: datetime = UNIX_EPOCH
    parts_until: datetime = UNIX_EPOCH
    reads_until: datetime = UNIX_EPOCH
    rate_limited_until: datetime = UNIX_EPOCH


def extend_cooldowns(transaction: Transaction, cooldowns: Sequence[Cooldown], now: datetime) -> None:
    """Let logins rest at least so long; a longer wait that one has already is kept."""
    rows = [
        {
            "now": now,
            "idle_since": now - LOGIN_IDLE_AFTER,
            "its_id": cooldown.login,
            "its_cooldown_until": cooldown.posts_until,
            "its_routine_cooldown_until": cooldown.routine_until,
            "its_parts_cooldown_until": cooldown.parts_until,
            "its_reads_cooldown_until": cooldown.reads_until,
            "its_rate_limited_until": cooldown.rate_limited_until,
        }
        for cooldown in sorted(cooldowns, key=lambda rest: rest.login)
    ]
    if rows:
        known = [{name: row[name] for name in ("its_id", "idle_since")} for row in rows]
        transaction.connection.execute(_EXTEND_DEADLINES, known)
        transaction.connection.execute(_EXTEND_COOLDOWN, rows)


def shorten_cooldowns(transaction: Transaction, cooldowns: Sequence[Cooldown]) -> None:
    """Let logins rest as their quotas ask without a call that never left, and as long as their platforms ask."""
    rows = [
        {
            "its_id": cooldown.login,
            "its_cooldown_until": cooldown.posts_until,
            "its_routine_cooldown_until": cooldown.routine_until,
        }
        for cooldown in sorted(cooldowns, key=lambda rest: rest.login)
    ]
    if rows:
        transaction.connection.execute(_SHORTEN_COOLDOWN, rows)


def extend_queue_deadlines(transaction: Transaction, login: LoginId, until: datetime, now: datetime) -> None:
    """Give what is due on a login its whole time from `until` on, when a call of it that never left is tried again."""
    transaction.connection.execute(_EXTEND_QUEUE_DEADLINES, {"its_id": login, "until": until, "now": now})


def start_post_cooldown(store: Store, transaction: Transaction, login: LoginId, until: datetime, now: datetime) -> None:
    """Keep to a limit that a creating call met: it stands against posts, and says nothing of reads."""
    until = min(until, now + MAX_COOLDOWN)
    if store.runtime.is_clock_confirmed():
        extend_cooldowns(
            transaction,
            [
                Cooldown(
                    login=login, posts_until=until, routine_until=until, parts_until=until, rate_limited_until=until
                )
            ],
            now,
        )
    else:
        store.record_undated_limit(login, until - now, is_for_reads=False)


def start_login_cooldown(
    store: Store, transaction: Transaction, login: LoginId, limit: RateLimited, default_duration: timedelta
) -> RateLimited:
    """Keep to a limit that a read met: it stands against every call. Gives the limit as it is kept to."""
    now = store.runtime.now()
    until = min(limit.until or now + default_duration, now + MAX_COOLDOWN)
    if store.runtime.is_clock_confirmed():
        extend_cooldowns(transaction, [_full_cooldown(login, until)], now)
    else:
        store.record_undated_limit(login, until - now, is_for_reads=True)
    return replace(limit, until=until)


def _full_cooldown(login: LoginId, until: datetime) -> Cooldown:
    return Cooldown(
        login=login,
        posts_until=until,
        routine_until=until,
        parts_until=until,
        reads_until=until,
        rate_limited_until=until,
    )


def redate_cooldowns(store: Store, transaction: Transaction, clocks: ClockReading) -> None:
    """Cut what only a clock that was ahead can have written; write limits that came while it was in doubt."""
    now = clocks.at
    for column in _COOLDOWN_COLUMNS:
        is_impossible = column > now + MAX_COOLDOWN + MAX_TIMESTAMP_SKEW
        transaction.connection.execute(update(LOGIN).where(is_impossible).values({column.name: now + MAX_COOLDOWN}))
    for turns in (LOGIN_HEALTH, MONITOR_SCHEDULE):
        transaction.connection.execute(
            update(turns).where(turns.c.next_action_at > now + MAX_COOLDOWN).values(next_action_at=now)
        )
    stops = (PAUSE.c.reason == RESPONSES_UNREADABLE, PAUSE.c.at > now + MAX_TIMESTAMP_SKEW)
    transaction.connection.execute(update(PAUSE).where(*stops).values(at=now))
    for limit in store.undated_limits:
        until = now + timedelta(seconds=limit.until - clocks.monotonic_seconds)
        cooldown = _full_cooldown(limit.login, until)
        extend_cooldowns(
            transaction, [cooldown if limit.is_for_reads else replace(cooldown, reads_until=UNIX_EPOCH)], now
        )


def may_read(now: datetime) -> ColumnElement[bool]:
    """Whether no limit keeps back the reads of a delivery's login."""
    return ~exists().where(LOGIN.c.id == DELIVERY.c.login, LOGIN.c.reads_cooldown_until > now)


def logins_in_cooldown(connection: Connection, now: datetime, latest: datetime | None = None) -> frozenset[LoginId]:
    """Name the logins of which no call may be made yet; a rest that ends after `most` counts for nothing."""
    resting = select(LOGIN.c.id).where(LOGIN.c.reads_cooldown_until > now)
    return frozenset(
        connection.scalars(resting if latest is None else resting.where(LOGIN.c.reads_cooldown_until <= latest))
    )
