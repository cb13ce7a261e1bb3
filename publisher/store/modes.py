"""The modes of accounts in force: automatic, assisted, off."""

from collections.abc import Mapping

from sqlalchemy import (
    Connection,
    select,
)

from publisher.domain.account import AccountId, Mode
from publisher.store.base import BaseStore
from publisher.store.db.tables import (
    MODE_OVERRIDE,
)


def active_modes(store: BaseStore, connection: Connection) -> Mapping[AccountId, Mode]:
    """Return each account's mode: the override if there is one, else the mode of the settings."""
    rows = connection.execute(select(MODE_OVERRIDE.c.account, MODE_OVERRIDE.c.mode))
    overrides = {row.account: Mode(row.mode) for row in rows}
    return {
        account: overrides.get(account, policy.account.mode)
        for account, policy in store.policies.items()
    }
