"""The database: how it is opened, and the one writer that commits in groups."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from publisher.domain.errors import PublisherError, RefusedError
from publisher.store.connection import (
    LINK,
    SESSION,
    CommitUnknownError,
    Mark,
    Outage,
    is_clash,
    is_lost,
    mark_of,
    was_committed,
)
from publisher.store.journal import Intent, Journal
from publisher.store.rows import DATABASE_INFO
from publisher.store.sealing import append_entries
from publisher.store.trouble import BUSY, JOURNAL_REFUSES, trouble_of
from publisher.world import World

S = TypeVar("S")
T = TypeVar("T")

BUSY_SECONDS = 10.0
READERS = 8
"""Reads at once. They have threads of their own: whoever else hangs in a thread keeps no delivery from being read."""
CONNECTIONS = READERS + 1
"""One for each reader and one for the writer; they stay open."""
MOST_REPEATS = 3
"""How often a lone operation is run again because somebody else changed its row first."""
MOST_AT_ONCE = 80
"""How many operations share a commit at most: more would let the first of a burst wait for the last."""
MOVED = "moved"
"""The key of a database whose contents were moved, with the address of the new one."""
TURNS = 5
"""For so many turns of the loop the next commit waits. That is what a call needs to connect and to say its first word,
which the next group's transaction would hold up."""


class UnannouncedError(PublisherError):
    """An intent may be committed, but the journal has refused its line: its call may not begin.

    `result` is what the operation gives, which shares its transaction with others.
    """

    def __init__(self, result: object, cause: Exception) -> None:
        super().__init__(str(cause))
        self.result, self.__cause__ = result, cause


class OvertakenError(PublisherError):
    """The row changed between reading and writing: somebody else was first, and nothing was done."""


@dataclass(slots=True)
class Unit:
    """One transaction in the making: its connection, its audit entries, the intents to journal once it is committed.

    The entries are written last, because whoever shares the database waits for them.
    """

    connection: Connection
    intents: list[Intent] = field(default_factory=list)
    entries: list[Mapping[str, object]] = field(default_factory=list)


Work = Callable[[Unit, Sequence[Any]], Sequence[Any]]
"""Does the same to several things in one transaction; gives one result for each, in order."""


@dataclass(slots=True)
class _Order:
    work: Work
    thing: Any
    result: asyncio.Future[Any]


def open_engine(url: str) -> Engine:
    """Open a database by its URL; SQLite is set to survive a power cut, and its writers to begin as writers.

    Errors do not tell what was to be written: the words of posts must not reach the log.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(
            parsed, hide_parameters=True, pool_size=CONNECTIONS, connect_args={"timeout": BUSY_SECONDS}
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return _open_postgres(parsed)


def _open_postgres(url: URL) -> Engine:
    """Open PostgreSQL so that a commit is on its disk, and a lost server or a frozen worker is noticed in seconds."""
    asked = url.query.get("options", "")
    options = " ".join([asked if isinstance(asked, str) else " ".join(asked), *(f"-c {item}" for item in SESSION)])
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_size=CONNECTIONS,
        pool_pre_ping=True,
        connect_args={**LINK, "options": options.strip()},
    )


def sqlite_file(url: str) -> Path | None:
    """Give the file behind a SQLite URL, or None for another database."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


_PRAGMAS = ("PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 # SQLAlchemy's own adapter class
    connection.isolation_level = None
    cursor = connection.cursor()
    for statement in _PRAGMAS:
        cursor.execute(statement)
    if cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):  # the file remembers; to set it waits for nobody
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


class Database:
    """Reads as you like; writes go through one thread that commits what has gathered together.

    An operation is plain code inside a transaction that others may share: it cannot wait for anything but the
    database. When one of a group fails, the group is rolled back and each is run again alone, so an operation must
    change nothing but the database, or what may as well be changed twice or in vain.
    """

    def __init__(self, engine: Engine, world: World, journal: Journal | None = None) -> None:
        self.engine = engine
        self.world = world
        self.journal = journal
        self.is_shared = engine.dialect.name != "sqlite"
        """Whether other workers, on other machines, may be at work on the same books."""
        self.home: str | None = None
        """Which tables these are, as long as it matters that they stay the same."""
        self.troubles: set[str] = set()
        """What has kept a write from being done, and has not been told yet."""
        self._orders: asyncio.Queue[_Order] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._readers = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="reader")
        self._writer: asyncio.Task[None] | None = None

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query that changes nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, query)

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self.engine.connect() as raw:
            return query(raw.execution_options(reads_only=True))

    async def write(self, operation: Callable[[Unit], T]) -> T:
        """Run an operation and return once it is committed and its intents are journalled."""
        return await self.write_together(lambda unit, _things: [operation(unit)], None)

    async def write_together(self, work: Callable[[Unit, Sequence[S]], Sequence[T]], thing: S) -> T:
        """Like `write`, for work that costs less when many things have it done at once."""
        if self._writer is None:
            self._writer = asyncio.create_task(self._run())
        order = _Order(work, thing, asyncio.get_running_loop().create_future())
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
        self._thread.shutdown()
        self._readers.shutdown(cancel_futures=True)
        if self.journal is not None:
            self.journal.close()
        self.engine.dispose()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            orders = [await self._orders.get()]
            while len(orders) < MOST_AT_ONCE and not self._orders.empty():
                orders.append(self._orders.get_nowait())
            answers = await loop.run_in_executor(self._thread, self._commit, orders)
            for order, answer in answers:
                self._note_trouble(answer)
                _answer(order, answer)
                self._orders.task_done()
            for _ in range(TURNS):
                await asyncio.sleep(0)

    def _note_trouble(self, answer: object) -> None:
        if isinstance(answer, Exception) and (trouble := trouble_of(answer)):
            self.troubles.add(trouble)
        elif isinstance(answer, UnannouncedError | OSError):
            self.troubles.add(JOURNAL_REFUSES)

    def _commit(
        self, orders: Sequence[_Order], repeats: int = MOST_REPEATS, outage: Outage | None = None
    ) -> list[tuple[_Order, Any]]:
        """Give each order's result, or the error that it ended with.

        What was lost together with the connection is done again once there is a new one, unless it was committed.
        """
        try:
            answers, intents = self._transact(orders)
        except Exception as error:  # noqa: BLE001 # whatever it was, it goes to those who ordered
            if is_lost(error) and (outage := outage or Outage()).waits():
                return self._commit(orders, repeats, outage)
            if is_lost(error) or isinstance(error, CommitUnknownError) or trouble_of(error) == BUSY:
                return [(order, error) for order in orders]
            if len(orders) > 1:
                return [answer for order in orders for answer in self._commit([order], outage=outage)]
            if (isinstance(error, OvertakenError) or is_clash(error)) and repeats:
                return self._commit(orders, repeats - 1, outage)
            return [(orders[0], error)]
        refusal = self._announce(intents)
        return [
            (order, UnannouncedError(result, refusal) if announces and refusal else result)
            for order, result, announces in answers
        ]

    def _transact(self, orders: Sequence[_Order]) -> tuple[list[tuple[_Order, Any, bool]], list[Intent]]:
        """Give each order's result, and whether it hangs on an intent that is still to be journalled."""
        answers: list[tuple[_Order, Any, bool]] = []
        intents: list[Intent] = []
        entries: list[Mapping[str, object]] = []
        mark: Mark | None = None
        try:
            with self.engine.begin() as connection:
                if not self.is_shared:
                    _must_be_open(connection)
                for work, alike in _by_work(orders).items():
                    unit = Unit(connection)
                    results = work(unit, [order.thing for order in alike])
                    answers += (
                        (order, result, bool(unit.intents)) for order, result in zip(alike, results, strict=True)
                    )
                    intents += unit.intents
                    entries += unit.entries
                for _ in entries:
                    self.world.die_here("audit.before_append")
                head = append_entries(connection, entries) if entries else None
                if intents:
                    self.world.die_here("intent.before_commit")
                mark = mark_of(connection, head) if self.is_shared else None
        except DBAPIError as error:
            if mark is None or not is_lost(error) or not was_committed(self.engine, mark):
                raise
        return answers, intents

    def _announce(self, intents: Sequence[Intent]) -> Exception | None:
        """Journal what is committed; when the disk refuses, no call of those intents may start."""
        if not intents or self.journal is None:
            return None
        try:
            self.world.die_here("intent.after_commit")
            self.journal.append(intents)
            self.world.die_here("journal.after_append")
        except Exception as error:  # noqa: BLE001 # whatever it was, these calls may not start
            return error
        return None


def _must_be_open(connection: Connection) -> None:
    """Refuse an order that has waited its turn while the contents were moved: nobody would ever read it."""
    if to := connection.scalar(select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == MOVED)):
        raise RefusedError("database_moved", to=to)


def _by_work(orders: Sequence[_Order]) -> Mapping[Work, list[_Order]]:
    alike: dict[Work, list[_Order]] = {}
    for order in orders:
        alike.setdefault(order.work, []).append(order)
    return alike


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
