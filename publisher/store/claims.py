"""Which delivery each free login sends next: the kinds of what is due, and their order."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, literal_column, or_, select

from publisher.domain.account import AccountId, LoginId
from publisher.domain.delivery import Delivery, State
from publisher.store.books import KEPT_BY_DOUBT, Books
from publisher.store.conditions import may_call, stands
from publisher.store.engine import Unit
from publisher.store.ledger import READ
from publisher.store.rows import DELIVERY, LOGIN, to_delivery

HORIZON = timedelta(seconds=2)
"""How long before its instant a delivery is made ready, so that at the instant only the call is left."""

_RIVAL = DELIVERY.alias("rival")
_NOW = bindparam("now", type_=DELIVERY.c.due_at.type)
_DUE_BY = bindparam("due_by", type_=DELIVERY.c.due_at.type)


def may_start(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """True if a delivery may be claimed, its login's rests and its own aside."""
    named = row.c.account.in_(bindparam("accounts", expanding=True))
    return and_(stands(row, State.DUE), named, may_call(row, _NOW, _DUE_BY))


def _claimable(kind: Callable[[Any], ColumnElement[bool]], *rests: ColumnElement[datetime]) -> Select[Any]:
    """Name logins whose rests are over, and the delivery of a kind that each may take, the longest rested first."""
    inner = DELIVERY.alias("candidate")
    pick = (
        select(inner.c.id)
        .where(may_start(inner), inner.c.login == LOGIN.c.id, kind(inner))
        .where(or_(inner.c.next_at.is_(None), inner.c.next_at <= _NOW))
        .order_by(inner.c.due_at, inner.c.id)
        .limit(1)
        .scalar_subquery()
    )
    busy = exists().where(DELIVERY.c.login == LOGIN.c.id, stands(DELIVERY, State.CLAIMED, State.SENDING))
    return (
        select(LOGIN.c.id, pick.label("candidate"))
        .where(*(rest <= _NOW for rest in rests), ~busy, pick.is_not(None))
        .where(LOGIN.c.id.not_in(bindparam("logins", expanding=True)))
        .order_by(rests[0])
        .limit(bindparam("room"))
        .with_for_update(skip_locked=True, of=LOGIN)
    )


def is_begun(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether what is due is a further floor; spelled out, as only so the index fits."""
    return row.c.floors_done > literal_column("0")  # type: ignore[no-any-return]


def _is_urgent(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    return and_(row.c.is_urgent.is_(True), ~is_begun(row))


def _is_routine(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    return and_(row.c.is_urgent.is_(False), ~is_begun(row))


URGENT = _claimable(_is_urgent, LOGIN.c.rests_until)
BEGUN = _claimable(is_begun, LOGIN.c.floors_until)
ROUTINE = _claimable(_is_routine, LOGIN.c.rests_until, LOGIN.c.routine_until)

_KEPT = (
    select(DELIVERY.c.account)
    .where(stands(DELIVERY, State.DUE), DELIVERY.c.next_at > bindparam("now", type_=DELIVERY.c.next_at.type))
    .where(DELIVERY.c.reason == KEPT_BY_DOUBT)
)
"""Accounts on which a doubt has just kept a post back: it would keep back all others that are not urgent as well."""
_STILL_FREE = READ.where(
    stands(DELIVERY, State.DUE),
    ~exists().where(_RIVAL.c.login == DELIVERY.c.login, stands(_RIVAL, State.CLAIMED, State.SENDING)),
)


def _logins(books: Books, accounts: Iterable[AccountId]) -> set[LoginId]:
    return {books.terms[account].account.login for account in accounts}


def choose(books: Books, unit: Unit, limit: int) -> list[Delivery]:
    """Give a due delivery of each free login, for at most so many logins, and lock these logins.

    Urgent ones come first, then what is begun, then the others; of each kind the logins that have rested longest. The
    logins are locked before their deliveries are read: what another worker took until then is seen.
    """
    now = books.world.now()
    kept = set(unit.connection.scalars(_KEPT, {"now": now}))
    everyone = books.speaking
    unkept = [account for account in everyone if account not in kept]
    found: dict[LoginId, int] = {}

    def find(query: Select[Any], speaking: Sequence[AccountId], besides: Collection[LoginId] = ()) -> None:
        """Add one delivery of each free login that has one of this kind, while there is room."""
        if len(found) == limit:
            return
        facts = {
            "now": now,
            "due_by": now + HORIZON,
            "room": limit - len(found),
            "logins": [*besides, *found],
            "accounts": speaking,
        }
        found.update({row.id: row.candidate for row in unit.connection.execute(query, facts)})

    silent = _logins(books, everyone) - _logins(books, unkept)
    find(URGENT, everyone)
    find(BEGUN, unkept, silent)
    find(ROUTINE, unkept, silent)
    if not found:
        return []
    rows = unit.connection.execute(_STILL_FREE, {"deliveries": list(found.values())}).mappings()
    return [to_delivery(row) for row in rows]
