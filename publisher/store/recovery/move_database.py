"""Move of a database from SQLite to PostgreSQL.

It is copied in one transaction and compared. Then the source is closed.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

from sqlalchemy import Connection, RowMapping, Table, delete, func, insert, select
from sqlalchemy.engine import make_url
from sqlmodel import SQLModel

from publisher.domain.delivery import Actor
from publisher.domain.errors import RefusedError
from publisher.runtime.clock import Runtime
from publisher.store.comparison import void_authority
from publisher.store.database_identity import store_identity
from publisher.store.db.database import (
    MOVED_TO_KEY,
    Transaction,
    append_entries,
    open_engine,
)
from publisher.store.db.rows import audit_entry
from publisher.store.db.tables import DATABASE_INFO, MEDIA
from publisher.store.recovery.folder import FOLDER_KEY

ROWS_PER_PAGE, IMAGES_PER_PAGE = 500, 5
"""How many rows are in memory at once; an image has several megabytes."""
COPIED_FROM_KEY = "copied_from"
"""Key of a copied database: the hash of everything that was copied."""


async def copy_to_postgres(
    source: str, target: str, runtime: Runtime, by: Actor, *, is_newest: bool = False
) -> Mapping[str, int]:
    """Copy a prepared database into an empty one, and mark the source as moved.

    Approvals and sign-ins are void in the copy unless the source `is_newest`, and no older file put
    in its place. It may lack that they were withdrawn.

    Return the rows of each table. The target is written in one transaction, and the source marked
    after its commit. After a crash in between it can be run again. Raises RefusedError when the
    target holds anything else, or differs after the copy.
    """

    def move() -> Mapping[str, int]:
        old, new = open_engine(source), open_engine(target)
        # a query may hold one as well
        shown = make_url(target).set(query={}).render_as_string(hide_password=True)
        try:
            with (
                old.begin() as from_source
            ):  # on SQLite this keeps every other writer out
                with new.begin() as to_target:
                    counts = _copy(from_source, to_target)
                    entry = audit_entry(
                        runtime.now(),
                        by,
                        event="database_moved",
                        subject="database",
                        detail=counts,
                    )
                    unit = Transaction(to_target)
                    if not is_newest:
                        void_authority(unit, runtime.now(), by, "moved")
                    append_entries(to_target, [entry, *unit.audit_entries])
                runtime.hit_failpoint_now("migrate.mid")
                append_entries(from_source, [{**entry, "event": "database_moved_away"}])
                from_source.execute(
                    insert(DATABASE_INFO).values(key=MOVED_TO_KEY, value=shown)
                )
        finally:
            old.dispose()
            new.dispose()
        return counts

    return await asyncio.to_thread(move)


def _copy(source: Connection, target: Connection) -> Mapping[str, int]:
    """Copy every row, unless exactly that was done before. Return the row counts by table."""
    digests, counts = _digests(source)
    digest = sha256(repr(sorted(digests.items())).encode()).hexdigest()
    copied_from = select(DATABASE_INFO.c.value).where(
        DATABASE_INFO.c.key == COPIED_FROM_KEY
    )
    copied = target.scalar(copied_from.with_for_update())
    if copied == digest:
        return counts
    if copied is not None or any(
        target.scalar(select(func.count()).select_from(table)) for table in _tables()
    ):
        raise RefusedError("target_not_empty")
    target.execute(delete(DATABASE_INFO))
    for table in (*_tables(), DATABASE_INFO):
        for rows in _pages(source, table):
            target.execute(insert(table), [dict(row) for row in rows])
        for (
            column
        ) in table.primary_key.columns:  # new rows are numbered after the copied ones
            sequence = target.scalar(
                select(func.pg_get_serial_sequence(table.name, column.name))
            )
            if sequence is not None:
                next_value = select(
                    func.coalesce(func.max(column), 0) + 1
                ).scalar_subquery()
                target.execute(select(func.setval(sequence, next_value, False)))  # noqa: FBT003 # it has no keyword
    if _digests(target) != (digests, counts):
        raise RefusedError("copy_differs")
    target.execute(insert(DATABASE_INFO).values(key=COPIED_FROM_KEY, value=digest))
    # a server has none
    target.execute(delete(DATABASE_INFO).where(DATABASE_INFO.c.key == FOLDER_KEY))
    store_identity(target)
    return counts


def _tables() -> list[Table]:
    """Return every table except `database_info`.

    That table has rows even in an empty database.
    """
    return [
        table for table in SQLModel.metadata.sorted_tables if table is not DATABASE_INFO
    ]


def _pages(connection: Connection, table: Table) -> Iterator[Sequence[RowMapping]]:
    size = IMAGES_PER_PAGE if table is MEDIA else ROWS_PER_PAGE
    query = select(table).order_by(*table.primary_key.columns)
    rows = connection.execute(
        query.execution_options(stream_results=True, max_row_buffer=size)
    )
    yield from rows.mappings().partitions(size)


def _digests(connection: Connection) -> tuple[Mapping[str, str], Mapping[str, int]]:
    """Hash every table, and count its rows.

    Rows are hashed one by one, as each database sorts text in its own way.
    """

    def digest_row(row: RowMapping) -> bytes:
        values = (
            sha256(value).hexdigest() if isinstance(value, bytes) else repr(value)
            for value in row.values()
        )
        return sha256("\x1f".join(values).encode()).digest()

    digests, counts = {}, {}
    for table in (*_tables(), DATABASE_INFO):
        rows = sorted(
            digest_row(row) for page in _pages(connection, table) for row in page
        )
        digests[table.name] = sha256(b"".join(rows)).hexdigest()
        counts[table.name] = len(rows)
    return digests, counts
