"""Which delivery each free login sends next: urgent ones, then posts already begun, then routine ones."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, bindparam, exists, literal_column, or_, select

from publisher.domain.account import AccountId, LoginId
from publisher.domain.delivery import Delivery, State
from publisher.store.audit.append import SELECT_DELIVERIES
from publisher.store.db.database import Transaction
from publisher.store.db.filters import in_state, may_call
from publisher.store.db.mappers import DELIVERY, LOGIN, to_delivery
from publisher.store.store import BLOCKED_BY_UNKNOWN, Store

PREPARE_AHEAD = timedelta(seconds=2)
"""How long before its instant a delivery is prepared, so that only the call remains to be made then."""

_OTHER_DELIVERY = DELIVERY.alias("other")
_NOW = bindparam("now", type_=DELIVERY.c.due_at.type)
_DUE_BY = bindparam("due_by", type_=DELIVERY.c.due_at.type)


def is_claimable(row: FromClause) -> ColumnElement[bool]:
    """True if a delivery may be claimed, apart from its login's cooldowns and its own `next_action_at`."""
    is_listed = row.c.account.in_(bindparam("accounts", expanding=True))
    return and_(in_state(row, State.DUE), is_listed, may_call(row, _NOW, _DUE_BY))


def _claim_query(
    is_kind: Callable[[FromClause], ColumnElement[bool]], *cooldowns: ColumnElement[datetime]
) -> Select[Any]:
    """Select logins whose cooldowns are over, longest idle first, and the delivery of one kind that each may claim."""
    inner = DELIVERY.alias("candidate")
    pick = (
        select(inner.c.id)
        .where(is_claimable(inner), inner.c.login == LOGIN.c.id, is_kind(inner))
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
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True, of=LOGIN)
    )


def has_published_parts(row: FromClause) -> ColumnElement[bool]:
    """True if the next part of a post is due; a literal, because an index with this condition needs it."""
    return row.c.parts_done > literal_column("0")


URGENT_CLAIMS = _claim_query(
    lambda row: and_(row.c.is_urgent.is_(True), ~has_published_parts(row)), LOGIN.c.cooldown_until
)
STARTED_CLAIMS = _claim_query(has_published_parts, LOGIN.c.parts_cooldown_until)
ROUTINE_CLAIMS = _claim_query(
    lambda row: and_(row.c.is_urgent.is_(False), ~has_published_parts(row)),
    LOGIN.c.cooldown_until,
    LOGIN.c.routine_cooldown_until,
)

_BLOCKED_ACCOUNTS = (
    select(DELIVERY.c.account)
    .where(in_state(DELIVERY, State.DUE), DELIVERY.c.next_action_at > _NOW)
    .where(DELIVERY.c.reason == BLOCKED_BY_UNKNOWN)
)
"""Accounts on which an unknown outcome has just blocked a post: it would block all others that are not urgent too."""
_STILL_CLAIMABLE = SELECT_DELIVERIES.where(
    in_state(DELIVERY, State.DUE),
    ~exists().where(
        _OTHER_DELIVERY.c.login == DELIVERY.c.login, in_state(_OTHER_DELIVERY, State.CLAIMED, State.SENDING)
    ),
)


def choose_claims(store: Store, transaction: Transaction, limit: int) -> list[Delivery]:
    """Return a due delivery for each of at most `limit` free logins, and lock these logins.

    Within a kind, the logins that have been idle longest come first. The logins are locked before their deliveries are
    read, so that claims by other workers are seen.
    """
    now = store.runtime.now()
    blocked = set(transaction.connection.scalars(_BLOCKED_ACCOUNTS, {"now": now}))
    active = store.active_accounts
    unblocked = [account for account in active if account not in blocked]
    found: dict[LoginId, int] = {}

    def find(query: Select[Any], accounts: Sequence[AccountId], exclude: Collection[LoginId] = ()) -> None:
        if len(found) == limit:
            return
        parameters = {
            "now": now,
            "due_by": now + PREPARE_AHEAD,
            "limit": limit - len(found),
            "logins": [*exclude, *found],
            "accounts": accounts,
        }
        found.update({row.id: row.candidate for row in transaction.connection.execute(query, parameters)})

    def logins_of(accounts: Sequence[AccountId]) -> set[LoginId]:
        return {store.policies[account].account.login for account in accounts}

    blocked_logins = logins_of(active) - logins_of(unblocked)
    find(URGENT_CLAIMS, active)
    find(STARTED_CLAIMS, unblocked, blocked_logins)
    find(ROUTINE_CLAIMS, unblocked, blocked_logins)
    if not found:
        return []
    rows = transaction.connection.execute(_STILL_CLAIMABLE, {"deliveries": list(found.values())}).mappings()
    return [to_delivery(row) for row in rows]
