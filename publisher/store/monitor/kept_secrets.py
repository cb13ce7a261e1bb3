"""A host daemon's report of its secrets, and people's orders to remove one.

The dashboard has no secret. Here it reads their places, and leaves an order. No secret itself is
stored.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import delete, exists, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor, Role
from publisher.store.base import StorePart
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.rows import write_row
from publisher.store.db.tables import DATABASE_INFO
from publisher.store.people.users import ROTATION_DUE, end_rotations
from publisher.store.secret_reports import (
    REPORT_PREFIX,
    SecretReport,
    load_report,
    read_running_reports,
)

ORDER_PREFIX = "secret_removal:"
"""Begins the keys of the orders, before the worker."""


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
        """Keep the daemon's report, if it is new, and end the alerts about replaced secrets."""
        value = json.dumps(asdict(report), ensure_ascii=False, sort_keys=True)
        is_due = ALERT.c.code == ROTATION_DUE, ALERT.c.cleared_at.is_(None)
        has_rotations = await self.database.read(
            lambda connection: connection.scalar(select(exists().where(*is_due)))
        )
        if has_rotations or value != await self._read_value(self._report_key):
            await self._keep_report(value)

    @in_transaction
    def _keep_report(self, transaction: Transaction, value: str) -> None:
        key = {"key": self._report_key}
        write_row(transaction.connection, DATABASE_INFO, key, {"value": value})
        end_rotations(transaction, self.runtime.now())

    async def read_report(self) -> SecretReport | None:
        """Return the last report of this host's daemon; None if it has not run yet."""
        value = await self._read_value(self._report_key)
        return None if value is None else load_report(value)

    async def hosts_with_other_value(self, name: str, value_hash: str) -> Sequence[str]:
        """Return the other hosts with a running daemon that reports no such value of a secret."""
        now, own = self.runtime.now(), self.store.worker
        reports = await self.database.read(read_running_reports, now)
        return sorted(
            worker.partition(":")[0]
            for worker, report in reports.items()
            if worker != own and report.hashes.get(name) != value_hash
        )

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
