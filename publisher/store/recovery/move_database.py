"""From SQLite to PostgreSQL: everything in one transaction, compared, and only then the old books are closed."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

from sqlalchemy import Connection, RowMapping, Table, delete, func, insert, select
from sqlalchemy.engine import make_url
from sqlmodel import SQLModel

from publisher.domain.errors import RefusedError
from publisher.domain.events import Actor
from publisher.runtime.clock import Runtime
from publisher.store.audit.append import audit_entry
from publisher.store.db.database import MOVED_TO_KEY, append_entries, open_engine
from publisher.store.db.mappers import DATABASE_INFO, MEDIA
from publisher.store.recovery.identity import store_identity

ROWS_PER_PAGE, PICTURES_PER_PAGE = 500, 5
"""How many rows are in memory at once; pictures are megabytes each."""
COPIED_FROM_KEY = "copied_from"
"""The key of books that came from elsewhere: the hash of all that came."""


async def copy_to_postgres(source: str, target: str, runtime: Runtime, by: Actor) -> Mapping[str, int]:
    """Copy the books of one prepared database into another, empty one; returns how many rows each table has.

    The target's transaction holds all or nothing, and the source is marked as moved when that is committed: a process
    that dies in between does it again. Raises RefusedError when the target holds anything else, or
    differs after the copy.
    """
    return await asyncio.to_thread(_move_database, source, target, runtime, by)


def _move_database(source: str, target: str, runtime: Runtime, by: Actor) -> Mapping[str, int]:
    old, new = open_engine(source), open_engine(target)
    shown = make_url(target).set(query={}).render_as_string(hide_password=True)  # a query may hold one as well
    try:
        with old.begin() as theirs:  # on SQLite this keeps every other writer out
            with new.begin() as ours:
                counts = _copy(theirs, ours)
                moved = audit_entry(runtime.now(), by, event="database_moved", subject="database", detail=counts)
                append_entries(ours, [moved])
            runtime.hit_failpoint_now("migrate.mid")
            append_entries(theirs, [{**moved, "event": "database_moved_away"}])
            theirs.execute(insert(DATABASE_INFO).values(key=MOVED_TO_KEY, value=shown))
    finally:
        old.dispose()
        new.dispose()
    return counts


def _copy(source: Connection, target: Connection) -> Mapping[str, int]:
    """Copy every row, unless just that was done before; give the number of rows of each table."""
    digests, counts = _digests(source)
    came = target.scalar(select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == COPIED_FROM_KEY).with_for_update())
    if came == _combined_digest(digests):
        return counts
    if came is not None or any(target.scalar(select(func.count()).select_from(table)) for table in _tables()):
        raise RefusedError("target_not_empty")
    target.execute(delete(DATABASE_INFO))
    for table in (*_tables(), DATABASE_INFO):
        for rows in _pages(source, table):
            target.execute(insert(table), [dict(row) for row in rows])
        _reset_sequences(target, table)
    if _digests(target) != (digests, counts):
        raise RefusedError("copy_differs")
    target.execute(insert(DATABASE_INFO).values(key=COPIED_FROM_KEY, value=_combined_digest(digests)))
    store_identity(target)
    return counts


def _tables() -> list[Table]:
    """Return every table but `database_info`, where even an empty database has rows."""
    return [table for table in SQLModel.metadata.sorted_tables if table is not DATABASE_INFO]


def _pages(connection: Connection, table: Table) -> Iterator[Sequence[RowMapping]]:
    size = PICTURES_PER_PAGE if table is MEDIA else ROWS_PER_PAGE
    query = select(table).order_by(*table.primary_key.columns)
    rows = connection.execute(query.execution_options(stream_results=True, max_row_buffer=size))
    yield from rows.mappings().partitions(size)


def _reset_sequences(connection: Connection, table: Table) -> None:
    """Let new rows be numbered behind those that came."""
    for column in table.primary_key.columns:
        sequence = connection.scalar(select(func.pg_get_serial_sequence(table.name, column.name)))
        if sequence is not None:
            highest = select(func.coalesce(func.max(column), 0) + 1).scalar_subquery()
            connection.execute(select(func.setval(sequence, highest, False)))  # noqa: FBT003 # it has no keyword


def _digests(connection: Connection) -> tuple[Mapping[str, str], Mapping[str, int]]:
    """Hash every table, and count its rows. Each database sorts text in its own way, so rows are hashed one by one."""
    digests, counts = {}, {}
    for table in (*_tables(), DATABASE_INFO):
        rows = sorted(_digest(row) for page in _pages(connection, table) for row in page)
        digests[table.name] = sha256(b"".join(rows)).hexdigest()
        counts[table.name] = len(rows)
    return digests, counts


def _digest(row: RowMapping) -> bytes:
    spelled = (sha256(value).hexdigest() if isinstance(value, bytes) else repr(value) for value in row.values())
    return sha256("\x1f".join(spelled).encode()).digest()


def _combined_digest(digests: Mapping[str, str]) -> str:
    return sha256(repr(sorted(digests.items())).encode()).hexdigest()
