"""Which delivery each free login sends next: the kinds of what is due, and their order."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, literal_column, or_, select

from publisher.domain.account import AccountId, LoginId
from publisher.domain.delivery import Delivery, State
from publisher.store.audit.append import SELECT_DELIVERIES
from publisher.store.db.database import Transaction
from publisher.store.db.filters import in_state, may_call
from publisher.store.db.mappers import DELIVERY, LOGIN, to_delivery
from publisher.store.store import BLOCKED_BY_UNKNOWN, Store

PREPARE_AHEAD = timedelta(seconds=2)
"""How long before its instant a delivery is made ready, so that at the instant only the call is left."""

_OTHER_DELIVERY = DELIVERY.alias("rival")
_NOW = bindparam("now", type_=DELIVERY.c.due_at.type)
_DUE_BY = bindparam("due_by", type_=DELIVERY.c.due_at.type)


def is_claimable(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """True if a delivery may be claimed, its login's rests and its own aside."""
    named = row.c.account.in_(bindparam("accounts", expanding=True))
    return and_(in_state(row, State.DUE), named, may_call(row, _NOW, _DUE_BY))


def _claim_query(kind: Callable[[Any], ColumnElement[bool]], *cooldowns: ColumnElement[datetime]) -> Select[Any]:
    """Name logins whose rests are over, and the delivery of a kind that each may take, the longest rested first."""
    inner = DELIVERY.alias("candidate")
    pick = (
        select(inner.c.id)
        .where(is_claimable(inner), inner.c.login == LOGIN.c.id, kind(inner))
        .where(or_(inner.c.next_action_at.is_(None), inner.c.next_action_at <= _NOW))
        .order_by(inner.c.due_at, inner.c.id)
        .limit(1)
        .scalar_subquery()
    )
    busy = exists().where(DELIVERY.c.login == LOGIN.c.id, in_state(DELIVERY, State.CLAIMED, State.SENDING))
    return (
        select(LOGIN.c.id, pick.label("candidate"))
        .where(*(cooldown <= _NOW for cooldown in cooldowns), ~busy, pick.is_not(None))
        .where(LOGIN.c.id.not_in(bindparam("logins", expanding=True)))
        .order_by(cooldowns[0])
        .limit(bindparam("room"))
        .with_for_update(skip_locked=True, of=LOGIN)
    )


def has_published_parts(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether what is due is a further floor; spelled out, as only so the index fits."""
    return row.c.parts_done > literal_column("0")  # type: ignore[no-any-return]


def _is_urgent(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    return and_(row.c.is_urgent.is_(True), ~has_published_parts(row))


def _is_routine(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    return and_(row.c.is_urgent.is_(False), ~has_published_parts(row))


URGENT_CLAIMS = _claim_query(_is_urgent, LOGIN.c.cooldown_until)
STARTED_CLAIMS = _claim_query(has_published_parts, LOGIN.c.parts_cooldown_until)
ROUTINE_CLAIMS = _claim_query(_is_routine, LOGIN.c.cooldown_until, LOGIN.c.routine_cooldown_until)

_BLOCKED_ACCOUNTS = (
    select(DELIVERY.c.account)
    .where(
        in_state(DELIVERY, State.DUE),
        DELIVERY.c.next_action_at > bindparam("now", type_=DELIVERY.c.next_action_at.type),
    )
    .where(DELIVERY.c.reason == BLOCKED_BY_UNKNOWN)
)
"""Accounts on which a doubt has just kept a post back: it would keep back all others that are not urgent as well."""
_STILL_CLAIMABLE = SELECT_DELIVERIES.where(
    in_state(DELIVERY, State.DUE),
    ~exists().where(
        _OTHER_DELIVERY.c.login == DELIVERY.c.login, in_state(_OTHER_DELIVERY, State.CLAIMED, State.SENDING)
    ),
)


def _logins_of(store: Store, accounts: Iterable[AccountId]) -> set[LoginId]:
    return {store.policies[account].account.login for account in accounts}


def choose_claims(store: Store, transaction: Transaction, limit: int) -> list[Delivery]:
    """Give a due delivery of each free login, for at most so many logins, and lock these logins.

    Urgent ones come first, then what is begun, then the others; of each kind the logins that have rested longest. The
    logins are locked before their deliveries are read: what another worker took until then is seen.
    """
    now = store.runtime.now()
    kept = set(transaction.connection.scalars(_BLOCKED_ACCOUNTS, {"now": now}))
    everyone = store.active_accounts
    unkept = [account for account in everyone if account not in kept]
    found: dict[LoginId, int] = {}

    def find(query: Select[Any], accounts: Sequence[AccountId], exclude: Collection[LoginId] = ()) -> None:
        """Add one delivery of each free login that has one of this kind, while there is room."""
        if len(found) == limit:
            return
        facts = {
            "now": now,
            "due_by": now + PREPARE_AHEAD,
            "room": limit - len(found),
            "logins": [*exclude, *found],
            "accounts": accounts,
        }
        found.update({row.id: row.candidate for row in transaction.connection.execute(query, facts)})

    silent = _logins_of(store, everyone) - _logins_of(store, unkept)
    find(URGENT_CLAIMS, everyone)
    find(STARTED_CLAIMS, unkept, silent)
    find(ROUTINE_CLAIMS, unkept, silent)
    if not found:
        return []
    rows = transaction.connection.execute(_STILL_CLAIMABLE, {"deliveries": list(found.values())}).mappings()
    return [to_delivery(row) for row in rows]
