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
from publisher.domain.lifecycle import NOW_OR_NEVER
from publisher.domain.outcome import RateLimited
from publisher.domain.retry_after import LONGEST_REST
from publisher.store.books import Books
from publisher.store.breaker import PUZZLING
from publisher.store.conditions import BREAK, stands
from publisher.store.engine import Unit
from publisher.store.rows import DELIVERY, HEALTH, LOGIN, PAUSE, WATCH
from publisher.store.tables import EPOCH
from publisher.world import STAMPS_APART, Clocks

_WAITS = (
    LOGIN.c.rests_until,
    LOGIN.c.routine_until,
    LOGIN.c.floors_until,
    LOGIN.c.reads_until,
    LOGIN.c.limited_until,
)


def _later(column: ColumnElement[datetime], name: str) -> ColumnElement[datetime]:
    given = bindparam(name, type_=column.type)
    return case((column > given, column), else_=given)


_NOW = bindparam("now", type_=LOGIN.c.busy_since.type)
_IDLE_SINCE = bindparam("idle_since", type_=LOGIN.c.busy_since.type)
_LENGTHEN = (
    update(LOGIN)
    .where(LOGIN.c.id == bindparam("its_id"))
    .values({column.name: _later(column, f"its_{column.name}") for column in _WAITS})
    .values(busy_since=case((LOGIN.c.routine_until < _IDLE_SINCE, _NOW), else_=LOGIN.c.busy_since))
)
"""Another host may have written a longer wait since ours was reckoned: the database itself takes the later instant."""
_LAST_WAIT = select(LOGIN.c.routine_until).where(LOGIN.c.id == DELIVERY.c.login).scalar_subquery()
_KEEP_GRACE = (
    update(DELIVERY)
    .where(
        DELIVERY.c.login == bindparam("its_id"),
        stands(DELIVERY, State.DUE),
        DELIVERY.c.last_first_call_at < _LAST_WAIT + DELIVERY.c.max_delay,
        exists().where(
            LOGIN.c.id == DELIVERY.c.login,
            LOGIN.c.routine_until < _IDLE_SINCE,
            LOGIN.c.busy_since <= DELIVERY.c.last_first_call_at,
        ),
    )
    .values(last_first_call_at=_LAST_WAIT + DELIVERY.c.max_delay)
)
"""What a wait kept back has its whole time from the wait's end on, also if the login is idle before its next call."""
_GIVE_BACK = (
    update(LOGIN)
    .where(LOGIN.c.id == bindparam("its_id"))
    .values(
        {
            column.name: case(
                (LOGIN.c.limited_until > bindparam(f"its_{column.name}", type_=column.type), LOGIN.c.limited_until),
                else_=bindparam(f"its_{column.name}", type_=column.type),
            )
            for column in (LOGIN.c.rests_until, LOGIN.c.routine_until)
        }
    )
)


_UNTIL = bindparam("until", type_=DELIVERY.c.due_at.type)
_EXCUSE_QUEUE = (
    update(DELIVERY)
    .where(DELIVERY.c.login == bindparam("its_id"), stands(DELIVERY, State.DUE), DELIVERY.c.max_delay >= NOW_OR_NEVER)
    .where(DELIVERY.c.last_first_call_at >= _NOW, DELIVERY.c.last_first_call_at < _UNTIL + DELIVERY.c.max_delay)
    .values(last_first_call_at=_UNTIL + DELIVERY.c.max_delay)
)
"""Behind a post that finds no way to the platform those of its login wait too: none that was in time is late for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Until when a login rests: every post, those that are not urgent, further floors, and reads.

    `limit` is the platform's own word, which no quota of ours takes back.
    """

    login: LoginId
    posts: datetime = EPOCH
    routine: datetime = EPOCH
    floors: datetime = EPOCH
    reads: datetime = EPOCH
    limit: datetime = EPOCH


def lengthen(unit: Unit, rests: Sequence[Rest], now: datetime) -> None:
    """Let logins rest at least so long; a longer wait that one has already is kept."""
    rows = [
        {
            "now": now,
            "idle_since": now - BREAK,
            "its_id": rest.login,
            "its_rests_until": rest.posts,
            "its_routine_until": rest.routine,
            "its_floors_until": rest.floors,
            "its_reads_until": rest.reads,
            "its_limited_until": rest.limit,
        }
        for rest in sorted(rests, key=lambda rest: rest.login)
    ]
    if rows:
        known = [{name: row[name] for name in ("its_id", "idle_since")} for row in rows]
        unit.connection.execute(_KEEP_GRACE, known)
        unit.connection.execute(_LENGTHEN, rows)


def give_back(unit: Unit, rests: Sequence[Rest]) -> None:
    """Let logins rest as their quotas ask without a call that never left, and as long as their platforms ask."""
    rows = [
        {"its_id": rest.login, "its_rests_until": rest.posts, "its_routine_until": rest.routine}
        for rest in sorted(rests, key=lambda rest: rest.login)
    ]
    if rows:
        unit.connection.execute(_GIVE_BACK, rows)


def excuse_queue(unit: Unit, login: LoginId, until: datetime, now: datetime) -> None:
    """Give what is due on a login its whole time from `until` on, when a call of it that never left is tried again."""
    unit.connection.execute(_EXCUSE_QUEUE, {"its_id": login, "until": until, "now": now})


def keep_back_posts(books: Books, unit: Unit, login: LoginId, until: datetime, now: datetime) -> None:
    """Keep to a limit that a creating call met: it stands against posts, and says nothing of reads."""
    until = min(until, now + LONGEST_REST)
    if books.world.is_clock_confirmed():
        lengthen(unit, [Rest(login=login, posts=until, routine=until, floors=until, limit=until)], now)
    else:
        books.note_limit(login, until - now, is_for_reads=False)


def keep_back_calls(books: Books, unit: Unit, login: LoginId, limit: RateLimited, usual: timedelta) -> RateLimited:
    """Keep to a limit that a read met: it stands against every call. Gives the limit as it is kept to."""
    now = books.world.now()
    until = min(limit.until or now + usual, now + LONGEST_REST)
    if books.world.is_clock_confirmed():
        lengthen(unit, [_rest_of_all(login, until)], now)
    else:
        books.note_limit(login, until - now, is_for_reads=True)
    return replace(limit, until=until)


def _rest_of_all(login: LoginId, until: datetime) -> Rest:
    return Rest(login=login, posts=until, routine=until, floors=until, reads=until, limit=until)


def redate_waits(books: Books, unit: Unit, clocks: Clocks) -> None:
    """Cut what only a clock that was ahead can have written; write limits that came while it was in doubt."""
    now = clocks.at
    for column in _WAITS:
        is_impossible = column > now + LONGEST_REST + STAMPS_APART
        unit.connection.execute(update(LOGIN).where(is_impossible).values({column.name: now + LONGEST_REST}))
    for turns in (HEALTH, WATCH):
        unit.connection.execute(update(turns).where(turns.c.next_at > now + LONGEST_REST).values(next_at=now))
    stops = (PAUSE.c.reason == PUZZLING, PAUSE.c.at > now + STAMPS_APART)
    unit.connection.execute(update(PAUSE).where(*stops).values(at=now))
    for limit in books.limits:
        until = now + timedelta(seconds=limit.until - clocks.ticks)
        rest = _rest_of_all(limit.login, until)
        lengthen(unit, [rest if limit.is_for_reads else replace(rest, reads=EPOCH)], now)


def may_read(now: datetime) -> ColumnElement[bool]:
    """Whether no limit keeps back the reads of a delivery's login."""
    return ~exists().where(LOGIN.c.id == DELIVERY.c.login, LOGIN.c.reads_until > now)


def resting_logins(connection: Connection, now: datetime, most: datetime | None = None) -> frozenset[LoginId]:
    """Name the logins of which no call may be made yet; a rest that ends after `most` counts for nothing."""
    resting = select(LOGIN.c.id).where(LOGIN.c.reads_until > now)
    return frozenset(connection.scalars(resting if most is None else resting.where(LOGIN.c.reads_until <= most)))
