"""State that adapters keep: values in the database, access tokens in memory only."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import insert, select, update

from publisher.contract import Token
from publisher.domain.account import LoginId
from publisher.runtime.redaction import register_secrets
from publisher.store.db.database import Database, Transaction, in_transaction
from publisher.store.db.tables import ADAPTER_STATE

TOKEN_EXPIRY_MARGIN = timedelta(minutes=2)
"""A token that expires within this time is not used for another call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAdapterState:
    """The stored key-value state of one login."""

    database: Database
    login: LoginId

    async def get(self, key: str) -> str | None:
        """Return the value of a key, or None."""
        query = select(ADAPTER_STATE.c.value).where(
            ADAPTER_STATE.c.login == self.login, ADAPTER_STATE.c.key == key
        )
        value: str | None = await self.database.read_scalar(query)
        return value

    async def set(self, key: str, value: str) -> None:
        """Store a value; it is on disk when this returns."""
        await self.update(key, lambda _stored: value)

    @in_transaction
    def update(
        self, transaction: Transaction, key: str, change: Callable[[str | None], str]
    ) -> str | None:
        """Replace a value by the result of `change`, under a row lock, and return the old value."""
        is_row = (ADAPTER_STATE.c.login == self.login, ADAPTER_STATE.c.key == key)
        connection = transaction.connection
        stored: str | None = connection.scalar(
            select(ADAPTER_STATE.c.value).where(*is_row).with_for_update()
        )
        values = {"value": change(stored), "at": self.database.runtime.now()}
        if stored is None:
            connection.execute(
                insert(ADAPTER_STATE).values(login=self.login, key=key, **values)
            )
        else:
            connection.execute(update(ADAPTER_STATE).where(*is_row).values(values))
        return stored


@dataclass(slots=True, kw_only=True)
class MemoryTokenStore:
    """The access token of one login, in memory only.

    It is a secret, and fetching another one costs nothing. It is good only with the `secret` that
    it was fetched with. A new secret must not be vouched for by an old token.
    """

    login: str
    now: Callable[[], datetime]
    secret: Callable[[], Mapping[str, str]] = dict
    _token: Token | None = None
    _fetched_with: Mapping[str, str] = field(default_factory=dict, repr=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def current(self) -> str | None:
        """Return the present secret's token, or None if there is none or it is about to expire."""
        token = self._token
        if token is None or token.expires_at <= self.now() + TOKEN_EXPIRY_MARGIN:
            return None
        return token.value if self.secret() == self._fetched_with else None

    async def renew(
        self, stale: str | None, fetch: Callable[[], Awaitable[Token | None]]
    ) -> str | None:
        """Replace `stale` by the token from `fetch`. Concurrent callers share the new token.

        They wait for it.
        """
        async with self._lock:
            current = await self.current()
            if current is not None and current != stale:
                return current
            # before the fetch: one that is replaced meanwhile is fetched with again
            secret = self.secret()
            self._token = await fetch()
            self._fetched_with = secret
            if self._token is None:
                return None
            register_secrets([self._token.value], holder=f"token {self.login}")
            return self._token.value
