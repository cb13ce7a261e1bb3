"""From SQLite to PostgreSQL: everything in one transaction, compared, and only then the old books are closed."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

from sqlalchemy import Connection, RowMapping, Table, delete, func, insert, select
from sqlalchemy.engine import make_url
from sqlmodel import SQLModel

from publisher.domain.errors import RefusedError
from publisher.domain.events import Actor
from publisher.store.engine import MOVED, open_engine
from publisher.store.home import remember_home
from publisher.store.ledger import entry
from publisher.store.rows import DATABASE_INFO, MEDIA
from publisher.store.sealing import append_entries
from publisher.world import World

PAGE, FEW = 500, 5
"""How many rows are in memory at once; pictures are megabytes each."""
CAME = "came"
"""The key of books that came from elsewhere: the hash of all that came."""


async def move(source: str, target: str, world: World, by: Actor) -> Mapping[str, int]:
    """Copy the books of one prepared database into another, empty one; returns how many rows each table has.

    The target's transaction holds all or nothing, and the source is marked as moved when that is committed: a process
    that dies in between does it again. Raises RefusedError when the target holds anything else, or
    differs after the copy.
    """
    return await asyncio.to_thread(_move, source, target, world, by)


def _move(source: str, target: str, world: World, by: Actor) -> Mapping[str, int]:
    old, new = open_engine(source), open_engine(target)
    shown = make_url(target).set(query={}).render_as_string(hide_password=True)  # a query may hold one as well
    try:
        with old.begin() as theirs:  # on SQLite this keeps every other writer out
            with new.begin() as ours:
                counts = _copy(theirs, ours)
                moved = entry(world.now(), by, event="database_moved", subject="database", detail=counts)
                append_entries(ours, [moved])
            world.die_here("migrate.mid")
            append_entries(theirs, [{**moved, "event": "database_moved_away"}])
            theirs.execute(insert(DATABASE_INFO).values(key=MOVED, value=shown))
    finally:
        old.dispose()
        new.dispose()
    return counts


def _copy(theirs: Connection, ours: Connection) -> Mapping[str, int]:
    """Copy every row, unless just that was done before; give the number of rows of each table."""
    digests, counts = _digests(theirs)
    came = ours.scalar(select(DATABASE_INFO.c.value).where(DATABASE_INFO.c.key == CAME).with_for_update())
    if came == _seal(digests):
        return counts
    if came is not None or any(ours.scalar(select(func.count()).select_from(table)) for table in _tables()):
        raise RefusedError("target_not_empty")
    ours.execute(delete(DATABASE_INFO))
    for table in (*_tables(), DATABASE_INFO):
        for rows in _pages(theirs, table):
            ours.execute(insert(table), [dict(row) for row in rows])
        _go_on_counting(ours, table)
    if _digests(ours) != (digests, counts):
        raise RefusedError("copy_differs")
    ours.execute(insert(DATABASE_INFO).values(key=CAME, value=_seal(digests)))
    remember_home(ours)
    return counts


def _tables() -> list[Table]:
    """Return every table but `database_info`, where even an empty database has rows."""
    return [table for table in SQLModel.metadata.sorted_tables if table is not DATABASE_INFO]


def _pages(connection: Connection, table: Table) -> Iterator[Sequence[RowMapping]]:
    size = FEW if table is MEDIA else PAGE
    query = select(table).order_by(*table.primary_key.columns)
    rows = connection.execute(query.execution_options(stream_results=True, max_row_buffer=size))
    yield from rows.mappings().partitions(size)


def _go_on_counting(connection: Connection, table: Table) -> None:
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


def _seal(digests: Mapping[str, str]) -> str:
    return sha256(repr(sorted(digests.items())).encode()).hexdigest()
