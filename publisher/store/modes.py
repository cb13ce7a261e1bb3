"""How each account is to publish, where people ordered something else at run time than the settings say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from publisher.domain.account import AccountId, Mode
from publisher.domain.events import Actor
from publisher.store.books import Books
from publisher.store.engine import Unit
from publisher.store.ledger import write_audit
from publisher.store.rows import MODE


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedMode:
    """A mode that stands instead of the settings', who ordered it, and why."""

    account: AccountId
    mode: Mode
    at: datetime
    by: str
    reason: str


def modes_in_force(books: Books, connection: Connection) -> Mapping[AccountId, Mode]:
    """Give each account's mode: what people ordered, else what the settings say."""
    ordered = {row.account: Mode(row.mode) for row in connection.execute(select(MODE.c.account, MODE.c.mode))}
    return {key: ordered.get(key, terms.account.mode) for key, terms in books.terms.items()}


class Modes:
    """The modes ordered at run time. Every intent asks for them, so an order holds from the next call on."""

    def __init__(self, books: Books) -> None:
        self.books = books

    async def order(self, account: AccountId, mode: Mode | None, by: Actor, reason: str) -> None:
        """Let an account publish in this mode from now on; None gives it back to the settings."""

        def operation(unit: Unit) -> None:
            now = self.books.world.now()
            unit.connection.execute(delete(MODE).where(MODE.c.account == account))
            if mode is not None:
                row = {"account": account, "mode": mode.value, "at": now, "by": by.name, "reason": reason}
                unit.connection.execute(insert(MODE).values(row))
            detail = {"mode": mode.value if mode else "settings", "reason": reason}
            write_audit(unit, now, by, event="mode_changed", subject=f"account:{account}", detail=detail)

        await self.books.database.write(operation)

    async def ordered(self) -> Sequence[OrderedMode]:
        """Give the orders in force."""
        query = select(MODE).order_by(MODE.c.at)
        rows = await self.books.database.read(lambda connection: connection.execute(query).mappings().all())
        return [OrderedMode(**{**row, "account": AccountId(row["account"]), "mode": Mode(row["mode"])}) for row in rows]
