"""The database: how it is opened, and the one writer that commits in groups."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from publisher.store.journal import Intent, Journal
from publisher.world import World

T = TypeVar("T")

BUSY_SECONDS = 10.0
MOST_AT_ONCE = 64
"""How many operations share a commit at most: more would let the first of a burst wait for the last."""


@dataclass(slots=True)
class Unit:
    """One transaction in the making: its connection, and the intents to journal once it is committed."""

    connection: AsyncConnection
    intents: list[Intent] = field(default_factory=list)


Operation = Callable[[Unit], Awaitable[Any]]


@dataclass(slots=True)
class _Order:
    operation: Operation
    result: asyncio.Future[Any]


def open_engine(url: str) -> AsyncEngine:
    """Open a database by its URL; SQLite is set to survive a power cut, and its writers to begin as writers."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(parsed.set(drivername="sqlite+aiosqlite"), connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    return create_async_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)


def sqlite_file(url: str) -> Path | None:
    """Give the file behind a SQLite URL, or None for another database."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 # SQLAlchemy's own adapter class
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={int(BUSY_SECONDS * 1000)}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


class Database:
    """Reads as you like; writes go through one task that commits what has gathered together.

    An operation is run inside a transaction that others may share. When one of a group fails, the group is rolled
    back and each is run again alone, so an operation must change nothing but the database.
    """

    def __init__(self, engine: AsyncEngine, world: World, journal: Journal | None = None) -> None:
        self.engine = engine
        self.world = world
        self.journal = journal
        self._orders: asyncio.Queue[_Order] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection for reading."""
        async with self.engine.connect() as raw:
            connection = await raw.execution_options(reads_only=True)
            yield connection

    async def write(self, operation: Callable[["Unit"], Awaitable[T]]) -> T:
        """Run an operation and return once it is committed and its intents are journalled."""
        if self._writer is None:
            self._writer = asyncio.create_task(self._run())
        order = _Order(operation, asyncio.get_running_loop().create_future())
        self._orders.put_nowait(order)
        result: T = await order.result
        return result

    async def close(self) -> None:
        """Finish what was ordered and let go of the database."""
        if self._writer is not None:
            await self._orders.join()
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
        if self.journal is not None:
            self.journal.close()
        await self.engine.dispose()

    async def _run(self) -> None:
        while True:
            orders = [await self._orders.get()]
            while len(orders) < MOST_AT_ONCE and not self._orders.empty():
                orders.append(self._orders.get_nowait())
            await self._commit(orders)
            for _ in orders:
                self._orders.task_done()

    async def _commit(self, orders: list[_Order]) -> None:
        try:
            results, units = await self._transact(orders)
        except Exception as error:  # noqa: BLE001 # whatever it was, it goes to those who ordered
            if len(orders) > 1:
                for order in orders:
                    await self._commit([order])
            else:
                _answer(orders[0], error)
            return
        trouble = await self._journal([intent for unit in units for intent in unit.intents])
        for order, result, unit in zip(orders, results, units, strict=True):
            _answer(order, trouble if unit.intents and trouble else result)

    async def _transact(self, orders: list[_Order]) -> tuple[list[Any], list[Unit]]:
        async with self.engine.begin() as connection:
            units = [Unit(connection) for _ in orders]
            results = [await order.operation(unit) for order, unit in zip(orders, units, strict=True)]
            if any(unit.intents for unit in units):
                await self.world.failpoint("intent.before_commit")
        return results, units

    async def _journal(self, intents: list[Intent]) -> OSError | None:
        """Journal what is committed; when the disk refuses, those intents are in doubt and no call may start."""
        if not intents or self.journal is None:
            return None
        await self.world.failpoint("intent.after_commit")
        try:
            await self.journal.append(intents)
        except OSError as error:
            return error
        await self.world.failpoint("journal.after_append")
        return None


def _answer(order: _Order, result: object) -> None:
    if order.result.cancelled():
        return
    if isinstance(result, Exception):
        order.result.set_exception(result)
    else:
        order.result.set_result(result)


def is_corrupt(error: BaseException) -> bool:
    """Tell whether SQLite says that its file is damaged or no database at all."""
    original = getattr(error, "orig", error)
    return isinstance(original, sqlite3.DatabaseError) and any(
        word in str(original) for word in ("malformed", "not a database", "corrupt")
    )
