"""The database: how it opens, and the one writer thread that commits operations together."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache, partial, wraps
from itertools import count
from operator import itemgetter
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import (
    Connection,
    Dialect,
    Engine,
    NullPool,
    Row,
    Select,
    UpdateBase,
    create_engine,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from publisher.domain.audit_chain import ENTRY_FIELDS, hash_entry
from publisher.domain.errors import PublisherError, RefusedError
from publisher.runtime.clock import Runtime
from publisher.runtime.logs import log
from publisher.store.db.intent_journal import IntentJournal, JournalRecord
from publisher.store.db.postgres import (
    CONNECT_ARGS,
    JOURNAL_UNWRITABLE,
    SESSION_OPTIONS,
    RetryWindow,
    TransactionId,
    did_commit,
    is_connection_lost,
    is_serialization_failure,
    is_unavailable,
    read_transaction_id,
    write_error_code,
)
from publisher.store.db.sqlite_files import connect_sqlite, require_safe_companions
from publisher.store.db.tables import AUDIT, DATABASE_INFO, MICROSECOND, UNIX_EPOCH

GENESIS_KEY = "audit_genesis"
"""The key with the value that the first audit entry of a database is chained to."""
_LOCK_GENESIS = (
    select(DATABASE_INFO.c.value)
    .where(DATABASE_INFO.c.key == GENESIS_KEY)
    .with_for_update()
)
_INSERT_ENTRY = insert(AUDIT)
_MISSING_IN_SCHEMA_SQLSTATES = frozenset({"42P01", "42703"})
"""No such table, no such column."""
_HEAD = select(AUDIT.c.id, AUDIT.c.hash).order_by(AUDIT.c.id.desc()).limit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledStatement:
    """A statement for the driver: text, constants, and the mapping of row values to parameters."""

    text: str
    constants: Mapping[str, Any]
    converters: Sequence[tuple[str, Callable[[Any], Any]]]
    to_parameters: Callable[[dict[str, Any]], Any]


@lru_cache(maxsize=200)
def compile_statement(
    statement: UpdateBase, dialect: Dialect, keys: tuple[str, ...]
) -> CompiledStatement:
    """Return a statement, prepared for rows with these keys."""
    compiled = statement.compile(dialect=dialect, column_keys=list(keys))
    converters = {
        name: converter
        for name in compiled.params
        if (
            converter := compiled.binds[name]
            .type.dialect_impl(dialect)
            .bind_processor(dialect)
        )
    }
    constants = {
        name: value for name, value in compiled.params.items() if name not in keys
    }
    return CompiledStatement(
        text=compiled.string,
        constants={
            name: converters[name](value) if name in converters else value
            for name, value in constants.items()
        },
        converters=[item for item in converters.items() if item[0] in keys],
        to_parameters=itemgetter(*compiled.positiontup)
        if compiled.positiontup
        else dict,
    )


def execute_rows(
    connection: Connection, statement: UpdateBase, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Execute a constant statement for each of at least one row, and return the rows written.

    The return value is the number of rows of the table that it has written. The rows have the same
    keys: parameters, and all columns that are written, as no default of a column is applied.
    SQLAlchemy's own `execute` prepares every row from the beginning. That takes longer than the
    database needs for it.
    """
    compiled = compile_statement(statement, connection.dialect, tuple(rows[0]))
    parameters = []
    for row in rows:
        values = {**compiled.constants, **row}
        for name, convert in compiled.converters:
            values[name] = convert(values[name])
        parameters.append(compiled.to_parameters(values))
    return connection.exec_driver_sql(compiled.text, parameters).rowcount


def append_entries(
    connection: Connection, entries: Sequence[Mapping[str, object]]
) -> tuple[int, str]:
    """Number, chain and insert audit entries, and return the number and hash of the last one.

    Other workers wait for this lock until the transaction ends, so this comes last in a
    transaction. The head is read in a statement of its own after the wait. Only then does it show
    the commits of the others.
    """
    genesis: str = connection.execute(_LOCK_GENESIS).scalar_one()
    head = connection.execute(_HEAD).first()
    number, previous = (head.id, head.hash) if head else (0, genesis)
    rows = []
    for entry in entries:
        number += 1
        at = (entry["at"] - UNIX_EPOCH) // MICROSECOND  # type: ignore[operator] # an entry's instant is a datetime
        digest = hash_entry(
            number, [at, *(entry[name] for name in ENTRY_FIELDS[1:])], previous
        )
        rows.append({**entry, "id": number, "previous": previous, "hash": digest})
        previous = digest
    execute_rows(connection, _INSERT_ENTRY, rows)
    return number, previous


H = TypeVar("H", bound="HasDatabase")
P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 10.0
READER_THREADS = 8
"""Concurrent reads.

They have threads of their own. Other work that hangs in a thread blocks no read.
"""
POOL_SIZE = READER_THREADS + 1
"""A connection for each reader and one for the writer; they stay open."""
MAX_SNAPSHOTS = READER_THREADS
"""Each keeps a connection; the pool has ten more than POOL_SIZE."""
MAX_CONFLICT_RETRIES = 3
"""How often a single operation is run again because another transaction changed its row first."""
MAX_BATCH_SIZE = 80
"""The maximum number of operations in a commit.

With more, the first of a burst would wait too long for the last.
"""
MOVED_TO_KEY = "moved_to"
"""The key in a database with moved contents. Its value is the address of the new database."""
_MOVED_TO = select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == MOVED_TO_KEY)
GROUP_WINDOW_SECONDS = 0.002
"""The time that several waiting writes wait for more.

They do not wait if a call cannot start before one of them.
"""
YIELDS_BETWEEN_BATCHES = 5
"""The number of event loop turns before the next commit.

A call needs them to connect and to send its first bytes. The transaction of the next batch would
delay both.
"""


class IntentNotJournaledError(PublisherError):
    """The intent is committed but not in the journal, so its call must not begin.

    The line could not be written to the journal. `result` is the operation's result, since it may
    share its transaction with others.
    """

    def __init__(self, result: object, cause: Exception) -> None:
        super().__init__(str(cause))
        self.result, self.__cause__ = result, cause


class ConcurrentUpdateError(PublisherError):
    """The row changed between reading and writing.

    Another transaction was first, and nothing was written.
    """


@dataclass(slots=True)
class Transaction:
    """An open transaction: connection, audit entries, intents to journal after it, alerts to log.

    The audit entries are written last, because other workers wait for their lock.
    """

    connection: Connection
    journal_records: list[JournalRecord] = field(default_factory=list)
    audit_entries: list[Mapping[str, object]] = field(default_factory=list)
    raised_alerts: list[Mapping[str, object]] = field(default_factory=list)


Values = Mapping[str, object] | None
"""The parameters of a query."""
BatchOperation = Callable[[Transaction, Sequence[Any]], Sequence[Any]]
"""Apply one operation to several items in one transaction. Return one result for each, in order."""


@dataclass(slots=True)
class _QueuedWrite:
    operation: BatchOperation
    item: Any
    future: asyncio.Future[Any]


def open_engine(url: str) -> Engine:
    """Return an engine with commits that survive a power cut, and with errors that hide parameters.

    Texts must not be logged. On PostgreSQL a lost server or a frozen worker is noticed within
    seconds.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(
            parsed,
            hide_parameters=True,
            pool_size=POOL_SIZE,
            connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
        )

        def require_safe_files(*_connection: object) -> None:
            if parsed.database:
                require_safe_companions(Path(parsed.database))

        def configure(connection: Any, _record: object) -> None:  # noqa: ANN401 # SQLAlchemy's own adapter class
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA foreign_keys=ON")
            # the file keeps it; setting needs a lock
            if cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                cursor.execute("PRAGMA journal_mode=WAL")
            cursor.close()

        def begin(connection: Connection) -> None:
            # a writer takes the write lock at once, so that it does not fail later
            reads_only = connection.get_execution_options().get("reads_only", False)
            connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

        event.listen(engine, "do_connect", require_safe_files)
        event.listen(engine, "connect", configure)
        event.listen(engine, "begin", begin)
        return engine
    given = parsed.query.get("options", "")
    options = [
        given if isinstance(given, str) else " ".join(given),
        *(f"-c {item}" for item in SESSION_OPTIONS),
    ]
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_size=POOL_SIZE,
        pool_pre_ping=True,
        connect_args={**CONNECT_ARGS, "options": " ".join(options).strip()},
    )


READ_ONLY_TIMEOUT_SECONDS = 5


def open_read_only_engine(url: str) -> Engine:
    """Return a read-only engine that creates no database.

    It changes nothing, and waits READ_ONLY_TIMEOUT_SECONDS at most.
    """
    file = sqlite_file(url)
    if file is not None:
        connect = partial(connect_sqlite, file, "ro", READ_ONLY_TIMEOUT_SECONDS)
        return create_engine(
            "sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True
        )
    options = f"-c default_transaction_read_only=on -c statement_timeout={READ_ONLY_TIMEOUT_SECONDS}s"
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        poolclass=NullPool,
        connect_args={**CONNECT_ARGS, "options": options},
    )


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite URL; None for another database."""
    parsed = make_url(url)
    return (
        Path(parsed.database)
        if parsed.get_backend_name() == "sqlite" and parsed.database
        else None
    )


class Snapshot:
    """One transaction for several reads, which begins with the first of them."""

    def __init__(self, engine: Engine, threads: ThreadPoolExecutor) -> None:
        self.engine = engine
        self.is_over = False
        self._threads = threads
        self._connection: Connection | None = None
        self._running: Future[Any] | None = None

    def start(self, query: Callable[[Connection], T]) -> Future[T]:
        """Run a query in a thread, after the one before it."""

        def run(before: Future[Any] | None) -> T:
            if before is not None:
                wait([before])
            try:
                return query(self._open())
            except (
                BaseException
            ):  # PostgreSQL answers nothing more in a transaction that failed
                if self._connection is not None:
                    self._connection.rollback()
                raise

        running = self._threads.submit(run, self._running)
        self._running = running
        return running

    def _open(self) -> Connection:
        if self._connection is None:
            options: dict[str, Any] = {"reads_only": True}
            if self.engine.dialect.name != "sqlite":
                options |= {
                    "isolation_level": "REPEATABLE READ",
                    "postgresql_readonly": True,
                }
            self._connection = self.engine.connect().execution_options(**options)
        return self._connection

    def end(self) -> Future[None]:
        self.is_over = True

        def close() -> None:
            if self._running is not None:
                wait([self._running])
            if self._connection is not None:
                self._connection.close()

        return self._threads.submit(close)


_SNAPSHOT: ContextVar[Snapshot | None] = ContextVar("snapshot", default=None)


class Database:
    """Run reads concurrently, and all writes in one thread that commits waiting writes together.

    A write operation is plain code inside a transaction that others may share. It must wait for
    nothing but the database. If one operation of a batch fails, the batch is rolled back and each
    operation is run again alone. So an operation returns its result, and changes only the database,
    or state that may be changed twice or without effect.
    """

    def __init__(
        self, engine: Engine, runtime: Runtime, journal: IntentJournal | None = None
    ) -> None:
        self.engine = engine
        self.runtime = runtime
        self.journal = journal
        self.is_shared = engine.dialect.name != "sqlite"
        """True if workers on other machines may use the same database."""
        self.expected_identity: str | None = None
        """The identity of the tables, if they must stay the same while this process runs."""
        self.write_errors: dict[str, float] = {}
        """The codes of write errors, each with its last instant in monotonic seconds."""
        self._queue: asyncio.PriorityQueue[tuple[bool, int, _QueuedWrite]] = (
            asyncio.PriorityQueue()
        )
        self._numbers = count()
        self._writer_thread = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="writer"
        )
        self._reader_threads = ThreadPoolExecutor(
            max_workers=READER_THREADS, thread_name_prefix="reader"
        )
        self._writer_task: asyncio.Task[None] | None = None
        self._snapshots = 0

    async def read(
        self,
        query: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `query(connection, *args, **kwargs)`, which changes nothing."""
        snapshot = _SNAPSHOT.get()
        if (
            snapshot is not None
            and snapshot.engine is self.engine
            and not snapshot.is_over
        ):
            return await asyncio.wrap_future(
                snapshot.start(lambda connection: query(connection, *args, **kwargs))
            )

        def run() -> T:
            with self.engine.connect() as connection:
                reader = connection.execution_options(reads_only=True)
                return query(reader, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(
            self._reader_threads, run
        )

    async def read_scalar(self, query: Select[Any], parameters: Values = None) -> Any:  # noqa: ANN401 # as the column is
        return await self.read(Connection.scalar, query, parameters)

    async def read_scalars(
        self, query: Select[Any], parameters: Values = None
    ) -> Sequence[Any]:
        return await self.read(
            lambda connection: connection.scalars(query, parameters).all()
        )

    async def read_rows(
        self, query: Select[Any], parameters: Values = None
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        return await self.read(
            lambda connection: connection.execute(query, parameters).all()
        )

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """Let all reads in this context see one moment, in one transaction.

        Writes are not seen in it. If many snapshots are open, each read sees its own moment: a slow
        one must not keep others from the connections.
        """
        if self._snapshots >= MAX_SNAPSHOTS:
            yield
            return
        self._snapshots += 1
        snapshot = Snapshot(self.engine, self._reader_threads)
        token = _SNAPSHOT.set(snapshot)
        try:
            yield
        finally:
            _SNAPSHOT.reset(token)
            self._snapshots -= 1
            await asyncio.shield(asyncio.wrap_future(snapshot.end()))

    async def write(
        self,
        operation: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `operation(transaction, *args, **kwargs)`.

        Return its result once it is committed and its intents journaled.
        """
        return await self.write_batched(
            lambda transaction, _items: [operation(transaction, *args, **kwargs)], None
        )

    async def write_batched(
        self,
        operation: Callable[[Transaction, Sequence[S]], Sequence[T]],
        item: S,
        *,
        goes_first: bool = False,
    ) -> T:
        """Run an operation like `write`, batched with the same operation on other waiting items.

        An operation that `goes_first` runs before all others, however long they have waited.
        """
        if self._writer_task is None:
            self._writer_task = asyncio.create_task(self._run_writer())
        queued = _QueuedWrite(
            operation, item, asyncio.get_running_loop().create_future()
        )
        self._queue.put_nowait((not goes_first, next(self._numbers), queued))
        result: T = await queued.future
        return result

    def record_write_error(self, code: str) -> None:
        """Record that a write has failed now. An alert reports it."""
        self.write_errors[code] = self.runtime.monotonic()

    async def close(self) -> None:
        """Finish the queued writes, then close the journal and all connections."""
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
            waiting = [await self._queue.get()]
            if not self._queue.empty() and waiting[0][0]:
                await asyncio.sleep(GROUP_WINDOW_SECONDS)
            while len(waiting) < MAX_BATCH_SIZE and not self._queue.empty():
                waiting.append(self._queue.get_nowait())
            writes = [queued for _rank, _number, queued in waiting]
            results = await loop.run_in_executor(
                self._writer_thread, self._commit_batch, writes
            )
            for queued, result in results:
                if isinstance(result, Exception) and (code := write_error_code(result)):
                    self.record_write_error(code)
                elif isinstance(result, IntentNotJournaledError | OSError):
                    self.record_write_error(JOURNAL_UNWRITABLE)
                if not queued.future.cancelled():
                    if isinstance(result, Exception):
                        queued.future.set_exception(result)
                    else:
                        queued.future.set_result(result)
                self._queue.task_done()
            for _ in range(YIELDS_BETWEEN_BATCHES):
                await asyncio.sleep(0)

    def _commit_batch(
        self,
        writes: Sequence[_QueuedWrite],
        retries: int = MAX_CONFLICT_RETRIES,
        retry_window: RetryWindow | None = None,
    ) -> list[tuple[_QueuedWrite, Any]]:
        """Return each write's result, or the error that it ended with.

        Writes lost with the connection run again on a new connection, unless they were committed.
        """
        try:
            results, records = self._execute_batch(writes)
        except Exception as error:  # noqa: BLE001 # every error goes to those who queued the writes
            if (
                is_connection_lost(error)
                and (retry_window := retry_window or RetryWindow()).wait_to_retry()
            ):
                return self._commit_batch(writes, retries, retry_window)
            if is_unavailable(error):
                return [(queued, error) for queued in writes]
            if len(writes) > 1:
                return [
                    result
                    for queued in writes
                    for result in self._commit_batch(
                        [queued], retry_window=retry_window
                    )
                ]
            if (
                isinstance(error, ConcurrentUpdateError)
                or is_serialization_failure(error)
            ) and retries:
                return self._commit_batch(writes, retries - 1, retry_window)
            return [(writes[0], error)]
        journal_error: Exception | None = None
        if records and self.journal is not None:
            try:
                self.runtime.hit_failpoint_now("intent.after_commit")
                self.journal.append(records)
                self.runtime.hit_failpoint_now("journal.after_append")
            except Exception as error:  # noqa: BLE001 # after any error the calls of these intents must not start
                journal_error = error
        return [
            (
                queued,
                IntentNotJournaledError(result, journal_error)
                if has_records and journal_error
                else result,
            )
            for queued, result, has_records in results
        ]

    def _execute_batch(
        self, writes: Sequence[_QueuedWrite]
    ) -> tuple[list[tuple[_QueuedWrite, Any, bool]], list[JournalRecord]]:
        """Commit the writes. Return each one's result, and True if its intents must be journaled.

        Raises RefusedError if the database was moved while the writes were waiting. Nobody would
        read them.
        """
        writes_by_operation: dict[BatchOperation, list[_QueuedWrite]] = {}
        for queued in writes:
            writes_by_operation.setdefault(queued.operation, []).append(queued)
        results: list[tuple[_QueuedWrite, Any, bool]] = []
        records: list[JournalRecord] = []
        entries: list[Mapping[str, object]] = []
        alerts: list[Mapping[str, object]] = []
        transaction_id: TransactionId | None = None
        try:
            with self.engine.begin() as connection:
                if not self.is_shared and (to := connection.scalar(_MOVED_TO)):
                    raise RefusedError("database_moved", to=to)
                for operation, group in writes_by_operation.items():
                    transaction = Transaction(connection)
                    group_results = operation(
                        transaction, [queued.item for queued in group]
                    )
                    results += (
                        (queued, result, bool(transaction.journal_records))
                        for queued, result in zip(group, group_results, strict=True)
                    )
                    records += transaction.journal_records
                    entries += transaction.audit_entries
                    alerts += transaction.raised_alerts
                # counted by entry: how many share a commit depends on the load, a kill must not
                for _ in entries:
                    self.runtime.hit_failpoint_now("audit.before_append")
                head = append_entries(connection, entries) if entries else None
                if records:
                    self.runtime.hit_failpoint_now("intent.before_commit")
                transaction_id = (
                    read_transaction_id(connection, head) if self.is_shared else None
                )
        except DBAPIError as error:
            if (
                transaction_id is None
                or not is_connection_lost(error)
                or not did_commit(self.engine, transaction_id)
            ):
                raise
        for alert in alerts:
            log.info("alert_raised", **alert)
        return results, records


class HasDatabase(Protocol):
    """The parts of a method's object that `in_transaction` needs."""

    @property
    def database(self) -> Database: ...


def in_transaction(
    method: Callable[Concatenate[H, Transaction, P], T],
) -> Callable[Concatenate[H, P], Coroutine[Any, Any, T]]:
    """Run each call of a method as `Database.write` does, with an open transaction as argument.

    The transaction is the first argument. The caller awaits the method without it.
    """

    @wraps(method)
    async def write(part: H, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await part.database.write(
            lambda transaction: method(part, transaction, *args, **kwargs)
        )

    return write


def is_corrupt(error: BaseException) -> bool:
    """Return True if SQLite reports that its file is damaged, or is no database."""
    original = getattr(error, "orig", error)
    return isinstance(original, sqlite3.DatabaseError) and any(
        word in str(original) for word in ("malformed", "not a database", "corrupt")
    )


def is_incomplete(error: BaseException) -> bool:
    """Return True if the database lacks a table or a column that this version uses."""
    original = getattr(error, "orig", error)
    if isinstance(original, sqlite3.OperationalError):
        return any(
            words in str(original)
            for words in ("no such table", "no such column", "has no column")
        )
    return getattr(original, "sqlstate", None) in _MISSING_IN_SCHEMA_SQLSTATES


def wait_for_lock(transaction: Transaction, name: str, *, is_shared: bool) -> None:
    """Hold this lock until the transaction ends: together with others that share it, or alone.

    On SQLite every transaction that writes is alone anyway.
    """
    if transaction.connection.dialect.name != "sqlite":
        lock = (
            func.pg_advisory_xact_lock_shared
            if is_shared
            else func.pg_advisory_xact_lock
        )
        transaction.connection.execute(select(lock(func.hashtext(f"publisher/{name}"))))


def try_lock(transaction: Transaction, name: str) -> bool:
    """Return True if no other transaction holds this lock; then this one holds it until it ends."""
    if transaction.connection.dialect.name == "sqlite":
        return True
    return bool(
        transaction.connection.scalar(
            select(func.pg_try_advisory_xact_lock(func.hashtext(f"publisher/{name}")))
        )
    )
