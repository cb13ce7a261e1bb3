"""Reads what the database knows of posts with the bare driver, without opening the store, to keep `check` fast."""

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from publisher.domain.delivery import DESIRED_NO_SEND, REVISABLE_STATES
from publisher.domain.post import ONCE_OCCURRENCE, PostId

_SQLITE = "sqlite:///"
QUERY_TIMEOUT_SECONDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPost:
    """What the database knows of a post.

    `is_waiting`: one of its deliveries may still lead to a call. `counts_as_open`: the daemon counts it among those
    that a new schedule may not drop in great number without confirmation.
    """

    is_waiting: bool
    counts_as_open: bool


def read_known_posts(url: str) -> Mapping[PostId, KnownPost] | None:
    """Return the posts in the store; None if there is no store yet, or it does not answer. Changes nothing."""
    rows = _read_rows(url, _QUERY)
    return None if rows is None else _known_posts(rows)


def read_schedule_hash(url: str) -> str | None:
    """Return the hash of the schedule in force; None if there is none, or the store does not answer."""
    rows = _read_rows(url, "SELECT sha256 FROM schedule ORDER BY id DESC LIMIT 1")
    return rows[0][0] if rows else None


def _read_rows(url: str, query: str) -> Sequence[tuple[Any, ...]] | None:
    if url.startswith(_SQLITE):
        file = Path(url.removeprefix(_SQLITE))
        if not file.is_file():
            return None
        read_only = f"{file.as_uri()}?mode=ro"
        try:
            with contextlib.closing(sqlite3.connect(read_only, uri=True, timeout=QUERY_TIMEOUT_SECONDS)) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.Error:
            return None
    psycopg = import_module("psycopg")  # loaded only where it is needed: half of all workspaces use SQLite
    try:
        server = "postgresql://" + url.partition("://")[2]
        with psycopg.connect(server, connect_timeout=QUERY_TIMEOUT_SECONDS) as connection:
            rows: Sequence[tuple[Any, ...]] = connection.execute(query).fetchall()
            return rows
    except psycopg.Error:
        return None


def _known_posts(rows: Iterable[tuple[Any, ...]]) -> Mapping[PostId, KnownPost]:
    return {
        PostId(post): KnownPost(is_waiting=bool(is_waiting), counts_as_open=bool(is_kept and (is_waiting or repeats)))
        for post, is_kept, repeats, is_waiting in rows
    }


def _quote(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))


_DELIVERY = "SELECT 1 FROM delivery WHERE delivery.post = post.id AND"
_QUERY = f"""
    SELECT
        id,
        is_scheduled AND NOT is_cancelled AND corrected_by IS NULL,
        NOT EXISTS ({_DELIVERY} occurrence = '{ONCE_OCCURRENCE}')
            OR EXISTS ({_DELIVERY} occurrence <> '{ONCE_OCCURRENCE}'),
        EXISTS ({_DELIVERY} state IN ({_quote(REVISABLE_STATES)}) AND desired NOT IN ({_quote(DESIRED_NO_SEND)}))
    FROM post
"""  # noqa: S608 # of our own constants only
"""One row for each post: is it in the schedule, does it repeat or wait to be filed, may it still lead to a call."""
