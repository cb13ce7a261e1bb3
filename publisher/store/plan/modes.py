"""How each account is to publish, where people ordered something else at run time than the settings say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from publisher.domain.account import AccountId, Mode
from publisher.domain.events import Actor
from publisher.store.audit.append import write_audit
from publisher.store.db.database import Transaction
from publisher.store.db.mappers import MODE_OVERRIDE
from publisher.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeOverride:
    """A mode that stands instead of the settings', who ordered it, and why."""

    account: AccountId
    mode: Mode
    at: datetime
    by: str
    reason: str


def active_modes(store: Store, connection: Connection) -> Mapping[AccountId, Mode]:
    """Give each account's mode: what people ordered, else what the settings say."""
    ordered = {
        row.account: Mode(row.mode) for row in connection.execute(select(MODE_OVERRIDE.c.account, MODE_OVERRIDE.c.mode))
    }
    return {key: ordered.get(key, terms.account.mode) for key, terms in store.policies.items()}


class ModeOverrides:
    """The modes ordered at run time. Every intent asks for them, so an order holds from the next call on."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def set_override(self, account: AccountId, mode: Mode | None, by: Actor, reason: str) -> None:
        """Let an account publish in this mode from now on; None gives it back to the settings."""

        def operation(transaction: Transaction) -> None:
            now = self.store.runtime.now()
            transaction.connection.execute(delete(MODE_OVERRIDE).where(MODE_OVERRIDE.c.account == account))
            if mode is not None:
                row = {"account": account, "mode": mode.value, "at": now, "by": by.name, "reason": reason}
                transaction.connection.execute(insert(MODE_OVERRIDE).values(row))
            detail = {"mode": mode.value if mode else "settings", "reason": reason}
            write_audit(transaction, now, by, event="mode_changed", subject=f"account:{account}", detail=detail)

        await self.store.database.write(operation)

    async def list_overrides(self) -> Sequence[ModeOverride]:
        """Give the orders in force."""
        query = select(MODE_OVERRIDE).order_by(MODE_OVERRIDE.c.at)
        rows = await self.store.database.read(lambda connection: connection.execute(query).mappings().all())
        return [
            ModeOverride(**{**row, "account": AccountId(row["account"]), "mode": Mode(row["mode"])}) for row in rows
        ]
