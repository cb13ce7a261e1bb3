"""Presences: the account that has an identity in a place on a platform, and had it before.

Two ids for one presence would send everything twice.
"""

from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    case,
    func,
    select,
    true,
    update,
)

from publisher.domain.account import AccountId, Presence
from publisher.store.base import BaseStore
from publisher.store.db.monitor_tables import (
    PRESENCE,
)
from publisher.store.db.rows import write_row
from publisher.store.db.tables import (
    ATTEMPT,
    DELIVERY,
    MODE_OVERRIDE,
    ORPHANED_ATTEMPT,
    PAUSE,
)


def claim_presence(  # noqa: PLR0913, PLR0917 # who is what, where, and since when
    store: BaseStore,
    connection: Connection,
    account: AccountId,
    presence: Presence,
    now: datetime,
    spelled_as: str | None = None,
) -> AccountId | None:
    """Record an account's presence on its platform. Return the other account that has it.

    The other account has this presence, or may have sent as it. An account that has left the
    settings, and has nothing stored, gives way.
    """
    row = connection.execute(
        select(PRESENCE).where(is_presence(presence))
    ).one_or_none()
    if row is not None and row.account != account and _is_taken(store, connection, row):
        return AccountId(row.account)
    own = row if row is not None and row.account == account else None
    values = {
        "account": account,
        "spelled_as": spelled_as or presence.identity,
        "reported": own.reported if own else None,
        "since": own.since if own else now,
        "until": None,
    }
    write_row(connection, PRESENCE, presence_columns(presence), values)
    return None


def record_reported(
    connection: Connection, account: AccountId, presence: Presence, reported: str
) -> None:
    """Record the platform's name for an account that the settings spell otherwise.

    Two names for one account prove nothing.
    """
    is_row = is_presence(presence) & (PRESENCE.c.account == account)
    earlier = func.coalesce(PRESENCE.c.reported, reported)
    name = case((earlier == reported, reported), else_="")
    connection.execute(update(PRESENCE).where(is_row).values(reported=name))


def has_posts(connection: Connection, account: str) -> bool:
    """Return True if anything was filed for an account, or sent to it."""
    sources = (DELIVERY, ORPHANED_ATTEMPT)
    return any(
        connection.execute(
            select(true()).where(table.c.account == account).limit(1)
        ).first()
        is not None
        for table in sources
    )


def _is_taken(
    store: BaseStore, connection: Connection, row: Row[tuple[object, ...]]
) -> bool:
    """Return True if an account is still the one in a row, or may have been sent to as it."""
    if row.until is not None:
        sent = (
            ATTEMPT.c.account == row.account,
            ATTEMPT.c.intended_at.between(row.since, row.until),
        )
        return (
            connection.execute(select(ATTEMPT.c.id).where(*sent).limit(1)).first()
            is not None
        )
    if row.account in store.policies or has_posts(connection, row.account):
        return True
    pause = select(PAUSE.c.scope).where(PAUSE.c.scope == f"account:{row.account}")
    mode = select(MODE_OVERRIDE.c.mode).where(MODE_OVERRIDE.c.account == row.account)
    return connection.scalar(pause) is not None or connection.scalar(mode) is not None


def presence_columns(presence: Presence) -> dict[str, str]:
    return {
        name: getattr(presence, name)
        for name in ("platform", "server", "forum", "identity")
    }


def is_presence(presence: Presence) -> ColumnElement[bool]:
    column = PRESENCE.c
    return (
        (column.platform == presence.platform)
        & (column.server == presence.server)
        & (column.forum == presence.forum)
        & (column.identity == presence.identity)
    )
