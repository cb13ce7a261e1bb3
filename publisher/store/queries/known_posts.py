"""One question to the books without opening them: which posts do they know? Loads no more than a driver."""

import contextlib
import sqlite3
from importlib import import_module
from pathlib import Path

from publisher.domain.post import PostId

_SQLITE = "sqlite:///"
_POSTGRES = "postgresql://"
_QUERY = "SELECT id FROM post"
QUERY_TIMEOUT_SECONDS = 3
"""Seconds."""


def read_known_posts(url: str) -> frozenset[PostId] | None:
    """Name the posts that the books know; None where there are no books yet, or none that answer. Changes nothing."""
    if url.startswith(_SQLITE):
        return _from_sqlite(Path(url.removeprefix(_SQLITE)))
    return _from_postgres(_POSTGRES + url.partition("://")[2])


def _from_sqlite(file: Path) -> frozenset[PostId] | None:
    if not file.is_file():
        return None
    try:
        with contextlib.closing(
            sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=QUERY_TIMEOUT_SECONDS)
        ) as connection:
            return frozenset(PostId(row[0]) for row in connection.execute(_QUERY))
    except sqlite3.Error:
        return None


def _from_postgres(url: str) -> frozenset[PostId] | None:
    psycopg = import_module("psycopg")  # half the workspaces never need it
    try:
        with psycopg.connect(url, connect_timeout=QUERY_TIMEOUT_SECONDS) as connection:
            return frozenset(PostId(row[0]) for row in connection.execute(_QUERY))
    except psycopg.Error:
        return None
