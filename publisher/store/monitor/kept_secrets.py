"""A host daemon's report of its secrets, and people's orders to remove one.

The dashboard has no secret. Here it reads their places, and leaves an order. No secret itself is
stored.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import get_args

from sqlalchemy import delete, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor, Role
from publisher.secrets import SecretError, SecretErrorCode
from publisher.store.base import StorePart
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.rows import write_row
from publisher.store.db.tables import DATABASE_INFO

REPORT_PREFIX, ORDER_PREFIX = "secrets:", "secret_removal:"
"""Begin the keys of the report and of the orders, before the worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReport:
    """The names of secrets in the encrypted store, and the places of secrets outside it, by name.

    `vault_error` has code, name and places of the error that makes the encrypted store unreadable.
    """

    stored: Sequence[str] = ()
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    vault_error: Sequence[str] = ()

    @property
    def error(self) -> SecretError | None:
        """Why the encrypted store cannot be read, if so."""
        if not self.vault_error:
            return None
        code, name, *places = self.vault_error
        [known] = [each for each in get_args(SecretErrorCode) if each == code] or [
            "vault_unreadable"
        ]
        return SecretError(known, name, tuple(places))


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRemoval:
    """A person's order to remove the secret of an account that is off."""

    account: AccountId
    name: str
    sign_in: str | None

    @property
    def person(self) -> Actor:
        return Actor(role=Role.PERSON, name=self.name, sign_in=self.sign_in)


class KeptSecrets(StorePart):
    """The report of one host's daemon about its secrets, and the orders to it."""

    async def report(self, report: SecretReport) -> None:
        """Keep the daemon's report, if it is new."""
        value = json.dumps(asdict(report), ensure_ascii=False, sort_keys=True)
        if value != await self._read_value(self._report_key):
            await self._write_value(self._report_key, value)

    async def read_report(self) -> SecretReport | None:
        """Return the last report of this host's daemon; None if it has not run yet."""
        value = await self._read_value(self._report_key)
        return None if value is None else SecretReport(**json.loads(value))

    async def order(self, order: SecretRemoval) -> None:
        """Leave an order to this host's daemon; a newer one for the same account replaces it."""
        value = json.dumps(asdict(order), ensure_ascii=False)
        await self._write_value(f"{self._order_key}{order.account}", value)

    async def orders(self) -> Sequence[SecretRemoval]:
        """Return the orders that this host's daemon has not carried out yet."""
        query = select(DATABASE_INFO.c.value).where(
            DATABASE_INFO.c.key.startswith(self._order_key, autoescape=True)
        )
        values = await self.database.read_scalars(query)
        return [SecretRemoval(**json.loads(value)) for value in values]

    @in_transaction
    def finish(self, transaction: Transaction, order: SecretRemoval) -> None:
        """Take an order away that was carried out."""
        is_this = DATABASE_INFO.c.key == f"{self._order_key}{order.account}"
        transaction.connection.execute(delete(DATABASE_INFO).where(is_this))

    @property
    def _report_key(self) -> str:
        return f"{REPORT_PREFIX}{self.store.worker}"

    @property
    def _order_key(self) -> str:
        return f"{ORDER_PREFIX}{self.store.worker}:"

    @in_transaction
    def _write_value(self, transaction: Transaction, key: str, value: str) -> None:
        write_row(transaction.connection, DATABASE_INFO, {"key": key}, {"value": value})

    async def _read_value(self, key: str) -> str | None:
        query = select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == key)
        value: str | None = await self.database.read_scalar(query)
        return value
