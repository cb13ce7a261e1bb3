"""The database: how it is opened, and the one writer that commits in groups."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from publisher.domain.audit_chain import ENTRY_FIELDS, hash_entry
from publisher.domain.errors import PublisherError, RefusedError
from publisher.runtime.clock import Runtime
from publisher.store.db.intent_journal import IntentJournal, JournalRecord
from publisher.store.db.mappers import AUDIT, DATABASE_INFO
from publisher.store.db.postgres import (
    CONNECT_ARGS,
    DATABASE_BUSY,
    JOURNAL_UNWRITABLE,
    SESSION_OPTIONS,
    CommitUnknownError,
    RetryWindow,
    TransactionId,
    did_commit,
    is_connection_lost,
    is_serialization_failure,
    read_transaction_id,
    write_error_code,
)
from publisher.store.db.tables import MICROSECOND, UNIX_EPOCH

GENESIS_KEY = "audit_genesis"
"""The key that the first entry of a database is bound to."""
_TEXT_FIELDS = ENTRY_FIELDS[1:]

_LOCK_GENESIS = select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == GENESIS_KEY).with_for_update()
_HEAD = select(AUDIT.c.id, AUDIT.c.hash).order_by(AUDIT.c.id.desc()).limit(1)
_INSERT_ENTRIES = insert(AUDIT)


def append_entries(connection: Connection, entries: Sequence[Mapping[str, object]]) -> tuple[int, str]:
    """Number these entries, bind them into the chain, and write them. Returns the last one's number and hash.

    Whoever shares the database waits here for its turn until the transaction ends, so this comes last in one. The head
    is read in a statement of its own after that wait: only then it shows what the others committed.
    """
    genesis: str = connection.execute(_LOCK_GENESIS).scalar_one()
    head = connection.execute(_HEAD).first()
    number, previous = (head.id, head.hash) if head else (0, genesis)
    rows = []
    for entry in entries:
        number += 1
        at = (entry["at"] - UNIX_EPOCH) // MICROSECOND  # type: ignore[operator] # an entry's instant is a datetime
        digest = hash_entry(number, [at, *(entry[name] for name in _TEXT_FIELDS)], previous)
        rows.append({**entry, "id": number, "previous": previous, "hash": digest})
        previous = digest
    connection.execute(_INSERT_ENTRIES, rows)
    return number, previous


S = TypeVar("S")
T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 10.0
READER_THREADS = 8
"""Reads at once. They have threads of their own: whoever else hangs in a thread keeps no delivery from being read."""
POOL_SIZE = READER_THREADS + 1
"""One for each reader and one for the writer; they stay open."""
MAX_CONFLICT_RETRIES = 3
"""How often a lone operation is run again because somebody else changed its row first."""
MAX_BATCH_SIZE = 80
"""How many operations share a commit at most: more would let the first of a burst wait for the last."""
MOVED_TO_KEY = "moved_to"
"""The key of a database whose contents were moved, with the address of the new one."""
YIELDS_BETWEEN_BATCHES = 5
"""For so many turns of the loop the next commit waits. That is what a call needs to connect and to say its first word,
which the next group's transaction would hold up."""


class IntentNotJournaledError(PublisherError):
    """An intent may be committed, but the journal has refused its line: its call may not begin.

    `result` is what the operation gives, which shares its transaction with others.
    """

    def __init__(self, result: object, cause: Exception) -> None:
        super().__init__(str(cause))
        self.result, self.__cause__ = result, cause


class ConcurrentUpdateError(PublisherError):
    """The row changed between reading and writing: somebody else was first, and nothing was done."""


@dataclass(slots=True)
class Transaction:
    """One transaction in the making: its connection, its audit entries, the intents to journal once it is committed.

    The entries are written last, because whoever shares the database waits for them.
    """

    connection: Connection
    journal_records: list[JournalRecord] = field(default_factory=list)
    audit_entries: list[Mapping[str, object]] = field(default_factory=list)


BatchOperation = Callable[[Transaction, Sequence[Any]], Sequence[Any]]
"""Does the same to several things in one transaction; gives one result for each, in order."""


@dataclass(slots=True)
class _QueuedWrite:
    operation: BatchOperation
    item: Any
    future: asyncio.Future[Any]


def open_engine(url: str) -> Engine:
    """Open a database by its URL; SQLite is set to survive a power cut, and its writers to begin as writers.

    Errors do not tell what was to be written: the words of posts must not reach the log.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(
            parsed, hide_parameters=True, pool_size=POOL_SIZE, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}
        )
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return _open_postgres(parsed)


def _open_postgres(url: URL) -> Engine:
    """Open PostgreSQL so that a commit is on its disk, and a lost server or a frozen worker is noticed in seconds."""
    asked = url.query.get("options", "")
    options = " ".join(
        [asked if isinstance(asked, str) else " ".join(asked), *(f"-c {item}" for item in SESSION_OPTIONS)]
    )
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_size=POOL_SIZE,
        pool_pre_ping=True,
        connect_args={**CONNECT_ARGS, "options": options.strip()},
    )


def sqlite_file(url: str) -> Path | None:
    """Give the file behind a SQLite URL, or None for another database."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


_PRAGMAS = ("PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")


def _configure_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 # SQLAlchemy's own adapter class
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

    def __init__(self, engine: Engine, runtime: Runtime, journal: IntentJournal | None = None) -> None:
        self.engine = engine
        self.runtime = runtime
        self.journal = journal
        self.is_shared = engine.dialect.name != "sqlite"
        """Whether other workers, on other machines, may be at work on the same books."""
        self.expected_identity: str | None = None
        """Which tables these are, as long as it matters that they stay the same."""
        self.unreported_errors: set[str] = set()
        """What has kept a write from being done, and has not been told yet."""
        self._queue: asyncio.Queue[_QueuedWrite] = asyncio.Queue()
        self._writer_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._reader_threads = ThreadPoolExecutor(max_workers=READER_THREADS, thread_name_prefix="reader")
        self._writer_task: asyncio.Task[None] | None = None

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query that changes nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._reader_threads, self._read, query)

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self.engine.connect() as raw:
            return query(raw.execution_options(reads_only=True))

    async def write(self, operation: Callable[[Transaction], T]) -> T:
        """Run an operation and return once it is committed and its intents are journalled."""
        return await self.write_batched(lambda transaction, _things: [operation(transaction)], None)

    async def write_batched(self, operation: Callable[[Transaction, Sequence[S]], Sequence[T]], item: S) -> T:
        """Like `write`, for work that costs less when many things have it done at once."""
        if self._writer_task is None:
            self._writer_task = asyncio.create_task(self._run_writer())
        queued = _QueuedWrite(operation, item, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(queued)
        result: T = await queued.future
        return result

    async def close(self) -> None:
        """Finish what was ordered and let go of the database."""
        if self._writer_task is not None:
            await self._queue.join()
            self._writer_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer_task
        self._writer_thread.shutdown()
        self._reader_threads.shutdown(cancel_futures=True)
        if self.journal is not None:
            self.journal.close()
        self.engine.dispose()

    async def _run_writer(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            writes = [await self._queue.get()]
            while len(writes) < MAX_BATCH_SIZE and not self._queue.empty():
                writes.append(self._queue.get_nowait())
            answers = await loop.run_in_executor(self._writer_thread, self._commit_batch, writes)
            for queued, answer in answers:
                self._record_error(answer)
                _set_result(queued, answer)
                self._queue.task_done()
            for _ in range(YIELDS_BETWEEN_BATCHES):
                await asyncio.sleep(0)

    def _record_error(self, result: object) -> None:
        if isinstance(result, Exception) and (code := write_error_code(result)):
            self.unreported_errors.add(code)
        elif isinstance(result, IntentNotJournaledError | OSError):
            self.unreported_errors.add(JOURNAL_UNWRITABLE)

    def _commit_batch(
        self,
        writes: Sequence[_QueuedWrite],
        retries: int = MAX_CONFLICT_RETRIES,
        retry_window: RetryWindow | None = None,
    ) -> list[tuple[_QueuedWrite, Any]]:
        """Give each order's result, or the error that it ended with.

        What was lost together with the connection is done again once there is a new one, unless it was committed.
        """
        try:
            answers, intents = self._execute_batch(writes)
        except Exception as error:  # noqa: BLE001 # whatever it was, it goes to those who ordered
            if is_connection_lost(error) and (retry_window := retry_window or RetryWindow()).wait_to_retry():
                return self._commit_batch(writes, retries, retry_window)
            if (
                is_connection_lost(error)
                or isinstance(error, CommitUnknownError)
                or write_error_code(error) == DATABASE_BUSY
            ):
                return [(queued, error) for queued in writes]
            if len(writes) > 1:
                return [
                    answer for queued in writes for answer in self._commit_batch([queued], retry_window=retry_window)
                ]
            if (isinstance(error, ConcurrentUpdateError) or is_serialization_failure(error)) and retries:
                return self._commit_batch(writes, retries - 1, retry_window)
            return [(writes[0], error)]
        refusal = self._append_journal(intents)
        return [
            (queued, IntentNotJournaledError(result, refusal) if announces and refusal else result)
            for queued, result, announces in answers
        ]

    def _execute_batch(
        self, writes: Sequence[_QueuedWrite]
    ) -> tuple[list[tuple[_QueuedWrite, Any, bool]], list[JournalRecord]]:
        """Give each order's result, and whether it hangs on an intent that is still to be journalled."""
        answers: list[tuple[_QueuedWrite, Any, bool]] = []
        intents: list[JournalRecord] = []
        entries: list[Mapping[str, object]] = []
        transaction_id: TransactionId | None = None
        try:
            with self.engine.begin() as connection:
                if not self.is_shared:
                    _require_not_moved(connection)
                for work, alike in _group_by_operation(writes).items():
                    transaction = Transaction(connection)
                    results = work(transaction, [queued.item for queued in alike])
                    answers += (
                        (queued, result, bool(transaction.journal_records))
                        for queued, result in zip(alike, results, strict=True)
                    )
                    intents += transaction.journal_records
                    entries += transaction.audit_entries
                for _ in entries:
                    self.runtime.hit_failpoint_now("audit.before_append")
                head = append_entries(connection, entries) if entries else None
                if intents:
                    self.runtime.hit_failpoint_now("intent.before_commit")
                transaction_id = read_transaction_id(connection, head) if self.is_shared else None
        except DBAPIError as error:
            if transaction_id is None or not is_connection_lost(error) or not did_commit(self.engine, transaction_id):
                raise
        return answers, intents

    def _append_journal(self, records: Sequence[JournalRecord]) -> Exception | None:
        """Journal what is committed; when the disk refuses, no call of those intents may start."""
        if not records or self.journal is None:
            return None
        try:
            self.runtime.hit_failpoint_now("intent.after_commit")
            self.journal.append(records)
            self.runtime.hit_failpoint_now("journal.after_append")
        except Exception as error:  # noqa: BLE001 # whatever it was, these calls may not start
            return error
        return None


def _require_not_moved(connection: Connection) -> None:
    """Refuse an order that has waited its turn while the contents were moved: nobody would ever read it."""
    if to := connection.scalar(select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == MOVED_TO_KEY)):
        raise RefusedError("database_moved", to=to)


def _group_by_operation(writes: Sequence[_QueuedWrite]) -> Mapping[BatchOperation, list[_QueuedWrite]]:
    alike: dict[BatchOperation, list[_QueuedWrite]] = {}
    for queued in writes:
        alike.setdefault(queued.operation, []).append(queued)
    return alike


def _set_result(write: _QueuedWrite, result: object) -> None:
    if write.future.cancelled():
        return
    if isinstance(result, Exception):
        write.future.set_exception(result)
    else:
        write.future.set_result(result)


def is_corrupt(error: BaseException) -> bool:
    """Tell whether SQLite says that its file is damaged or no database at all."""
    original = getattr(error, "orig", error)
    return isinstance(original, sqlite3.DatabaseError) and any(
        word in str(original) for word in ("malformed", "not a database", "corrupt")
    )


def try_lock(transaction: Transaction, name: str) -> bool:
    """Whether nobody else is at this kind of work; if so, nobody else is until this transaction ends."""
    if transaction.connection.dialect.name == "sqlite":
        return True
    return bool(
        transaction.connection.scalar(select(func.pg_try_advisory_xact_lock(func.hashtext(f"publisher/{name}"))))
    )
