"""Reads the ids of known posts with the bare driver, without opening the store, to keep `check` fast."""

import contextlib
import sqlite3
from importlib import import_module
from pathlib import Path

from publisher.domain.post import PostId

_SQLITE = "sqlite:///"
_QUERY = "SELECT id FROM post"
QUERY_TIMEOUT_SECONDS = 3


def read_known_posts(url: str) -> frozenset[PostId] | None:
    """Return the ids of the posts in the store; None if there is no store yet, or it does not answer.

    Changes nothing.
    """
    if url.startswith(_SQLITE):
        file = Path(url.removeprefix(_SQLITE))
        if not file.is_file():
            return None
        read_only = f"{file.as_uri()}?mode=ro"
        try:
            with contextlib.closing(sqlite3.connect(read_only, uri=True, timeout=QUERY_TIMEOUT_SECONDS)) as connection:
                return frozenset(PostId(row[0]) for row in connection.execute(_QUERY))
        except sqlite3.Error:
            return None
    psycopg = import_module("psycopg")  # loaded only where it is needed: half of all workspaces use SQLite
    try:
        server = "postgresql://" + url.partition("://")[2]
        with psycopg.connect(server, connect_timeout=QUERY_TIMEOUT_SECONDS) as connection:
            return frozenset(PostId(row[0]) for row in connection.execute(_QUERY))
    except psycopg.Error:
        return None
