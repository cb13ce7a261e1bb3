"""What adapters keep: notes in the books, tokens in memory only."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import insert, select, update

from publisher.contract import Token
from publisher.domain.account import LoginId
from publisher.runtime.redaction import register_secrets
from publisher.store.db.database import Database, Transaction
from publisher.store.db.mappers import ADAPTER_STATE

TOKEN_EXPIRY_MARGIN = timedelta(minutes=2)
"""A token is not begun with when it ends this soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAdapterState:
    """The notes of one login."""

    database: Database
    login: LoginId

    async def get(self, key: str) -> str | None:
        """Give what was noted under a key, or None."""
        query = select(ADAPTER_STATE.c.value).where(ADAPTER_STATE.c.login == self.login, ADAPTER_STATE.c.key == key)
        value: str | None = await self.database.read(lambda connection: connection.scalar(query))
        return value

    async def set(self, key: str, value: str) -> None:
        """Note a value; it is on disk when this returns."""
        await self.update(key, lambda _noted: value)

    async def update(self, key: str, change: Callable[[str | None], str]) -> str | None:
        """Put what `change` makes of a note in its place, with nobody else's change in between; give the old one."""
        row = (ADAPTER_STATE.c.login == self.login, ADAPTER_STATE.c.key == key)
        query = select(ADAPTER_STATE.c.value).where(*row).with_for_update()

        def operation(transaction: Transaction) -> str | None:
            noted: str | None = transaction.connection.scalar(query)
            values = {"value": change(noted), "at": self.database.runtime.now()}
            if noted is None:
                transaction.connection.execute(insert(ADAPTER_STATE).values(login=self.login, key=key, **values))
            else:
                transaction.connection.execute(update(ADAPTER_STATE).where(*row).values(values))
            return noted

        return await self.database.write(operation)


@dataclass(slots=True, kw_only=True)
class MemoryTokenStore:
    """The token of one login, in memory: it is a secret, and fetching it anew costs nothing."""

    now: Callable[[], datetime]
    _token: Token | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def current(self) -> str | None:
        """Give the token in force, or None when there is none or it is about to end."""
        token = self._token
        return token.value if token and token.expires_at > self.now() + TOKEN_EXPIRY_MARGIN else None

    async def renew(self, stale: str | None, fetch: Callable[[], Awaitable[Token | None]]) -> str | None:
        """Replace `stale` by what `fetch` brings; whoever waited meanwhile gets the new one without fetching."""
        async with self._lock:
            held = await self.current()
            if held is not None and held != stale:
                return held
            self._token = await fetch()
            if self._token is None:
                return None
            register_secrets([self._token.value])
            return self._token.value
