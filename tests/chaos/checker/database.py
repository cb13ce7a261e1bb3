"""The rows of a run's database, by column name, from a SQLite file or a PostgreSQL server."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

TABLES = {
    "delivery": "id",
    "attempt": "id",
    "readback": "id",
    "audit": "id",
    "alert": "id",
    "rendered_post": "fingerprint",
    "schedule": "id",
    "media": "sha256",
    "observed_post": "account",
    "database_info": "key",
}
"""The tables that are read, and the column that orders each."""

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def rows_of_file(file: Path) -> Rows:
    """Read a SQLite file without changing it. Raises ValueError when it is none."""
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        try:
            known = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            return {
                table: [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY {key}")]  # noqa: S608
                for table, key in TABLES.items()
                if table in known
            }
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{file}: {error}") from error


def rows_of_server(url: str) -> Rows:
    """Read a PostgreSQL database. Raises ValueError when it cannot be read."""
    import psycopg  # noqa: PLC0415 # needed for this kind of database only
    from psycopg.rows import dict_row  # noqa: PLC0415 # same

    try:
        with psycopg.connect(url, row_factory=dict_row) as connection:
            connection.read_only = True
            found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            known = {row["tablename"] for row in found}
            return {
                table: connection.execute(f"SELECT * FROM {table} ORDER BY {key}").fetchall()  # noqa: S608
                for table, key in TABLES.items()
                if table in known
            }
    except psycopg.Error as error:
        raise ValueError(f"PostgreSQL: {error}") from error
