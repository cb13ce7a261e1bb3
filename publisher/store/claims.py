"""Which delivery each free login sends next: the kinds of what is due, and their order."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, literal_column, or_, select

from publisher.domain.account import AccountId, LoginId
from publisher.domain.delivery import Delivery, State
from publisher.domain.lifecycle import MOST_DEATHS
from publisher.store.books import KEPT_BY_DOUBT, Books
from publisher.store.conditions import is_off, is_paused, original_is_live, stands
from publisher.store.engine import Unit
from publisher.store.ledger import READ
from publisher.store.rows import DELIVERY, LOGIN, to_delivery

ALONE = timedelta(seconds=0.25)
"""For so long what may kill us is in hand without another of its kind: a process that it ends, it ends at once."""


_RIVAL = DELIVERY.alias("rival")


def may_start(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    return and_(
        stands(row, State.DUE),
        row.c.account.in_(bindparam("accounts", expanding=True)),
        ~is_paused(row),
        ~is_off(row),
        original_is_live(row),
    )


def _claimable(kind: Callable[[Any], ColumnElement[bool]], *rests: ColumnElement[datetime]) -> Select[Any]:
    """Name logins whose rests are over, and the delivery of a kind that each may take, the longest rested first."""
    now = bindparam("now", type_=LOGIN.c.rests_until.type)
    inner = DELIVERY.alias("candidate")
    pick = (
        select(inner.c.id)
        .where(may_start(inner), inner.c.login == LOGIN.c.id, kind(inner))
        .where(or_(inner.c.next_at.is_(None), inner.c.next_at <= now))
        .order_by(inner.c.due_at, inner.c.id)
        .limit(1)
        .scalar_subquery()
    )
    busy = exists().where(DELIVERY.c.login == LOGIN.c.id, stands(DELIVERY, State.CLAIMED, State.SENDING))
    return (
        select(LOGIN.c.id, pick.label("candidate"))
        .where(*(rest <= now for rest in rests), ~busy, pick.is_not(None))
        .where(LOGIN.c.id.not_in(bindparam("logins", expanding=True)))
        .order_by(rests[0])
        .limit(bindparam("room"))
        .with_for_update(skip_locked=True, of=LOGIN)
    )


def is_begun(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether what is due is a further floor; spelled out, as only so the index fits."""
    return row.c.floors_done > literal_column("0")  # type: ignore[no-any-return]


def _is_suspect(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether so many workers have died with it in hand that one more would get it held; spelled out as well."""
    return row.c.deaths >= literal_column(str(MOST_DEATHS - 1))  # type: ignore[no-any-return]


def _is_tried(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether it is a suspect that may be tried: this worker has taken no other just now, with which it could die."""
    just_taken = and_(
        stands(_RIVAL, State.CLAIMED, State.SENDING),
        _is_suspect(_RIVAL),
        _RIVAL.c.worker == bindparam("worker"),
        _RIVAL.c.updated_at > bindparam("alone_since", type_=LOGIN.c.rests_until.type),
    )
    return and_(_is_suspect(row), ~exists().where(just_taken))


def _is_urgent(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    return and_(row.c.is_urgent.is_(True), ~is_begun(row))


def _is_routine(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    return and_(row.c.is_urgent.is_(False), ~is_begun(row))


URGENT = _claimable(lambda row: and_(_is_urgent(row), ~_is_suspect(row)), LOGIN.c.rests_until)
BEGUN = _claimable(lambda row: and_(is_begun(row), ~_is_suspect(row)), LOGIN.c.floors_until)
ROUTINE = _claimable(lambda row: and_(_is_routine(row), ~_is_suspect(row)), LOGIN.c.rests_until, LOGIN.c.routine_until)
URGENT_SUSPECT = _claimable(lambda row: and_(_is_urgent(row), _is_tried(row)), LOGIN.c.rests_until)
BEGUN_SUSPECT = _claimable(lambda row: and_(is_begun(row), _is_tried(row)), LOGIN.c.floors_until)
SUSPECT = _claimable(_is_tried, LOGIN.c.rests_until, LOGIN.c.routine_until, LOGIN.c.floors_until)
"""Of any kind, where no rest stands against any: so the index of suspects alone answers."""

_KEPT = (
    select(DELIVERY.c.account)
    .where(stands(DELIVERY, State.DUE), DELIVERY.c.next_at > bindparam("now", type_=DELIVERY.c.next_at.type))
    .where(DELIVERY.c.reason == KEPT_BY_DOUBT)
)
"""Accounts on which a doubt has just kept a post back: it would keep back all the others as well."""
_STILL_FREE = READ.where(
    stands(DELIVERY, State.DUE),
    ~exists().where(_RIVAL.c.login == DELIVERY.c.login, stands(_RIVAL, State.CLAIMED, State.SENDING)),
)


def _logins(books: Books, accounts: Iterable[AccountId]) -> set[LoginId]:
    return {books.terms[account].account.login for account in accounts}


def choose(books: Books, unit: Unit, limit: int) -> list[Delivery]:
    """Give a due delivery of each free login, for at most so many logins, and lock these logins.

    Urgent ones come first, then what is begun, then the others; of each kind the logins that have rested longest. What
    may kill us comes last of its kind, one after the other; the other posts do not wait for it. The logins are locked
    before their deliveries are read: what another worker took until then is seen.
    """
    now = books.world.now()
    kept = set(unit.connection.scalars(_KEPT, {"now": now}))
    speaking = [account for account in books.speaking if account not in kept]
    silent = _logins(books, books.speaking) - _logins(books, speaking)

    def find(kinds: Sequence[Select[Any]], room: int, besides: Collection[LoginId] = ()) -> dict[LoginId, int]:
        """Name one delivery of each free login, of the first of these kinds that it has, for at most so many logins."""
        found: dict[LoginId, int] = {}
        for query in kinds:
            if len(found) == room:
                break
            facts = {
                "now": now,
                "room": room - len(found),
                "logins": [*silent, *besides, *found],
                "accounts": speaking,
                "worker": books.worker,
                "alone_since": now - ALONE,
            }
            found |= {row.id: row.candidate for row in unit.connection.execute(query, facts)}
        return found

    found = find((URGENT, BEGUN), limit)
    suspect = find((URGENT_SUSPECT, BEGUN_SUSPECT), min(1, limit - len(found)), found)
    found |= suspect
    found |= find((ROUTINE,), limit - len(found), found)
    found |= find((SUSPECT,), 0 if suspect else min(1, limit - len(found)), found)
    if not found:
        return []
    rows = unit.connection.execute(_STILL_FREE, {"deliveries": list(found.values())}).mappings()
    return [to_delivery(row) for row in rows]
