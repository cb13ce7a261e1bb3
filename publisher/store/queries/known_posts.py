"""Reads the database's posts with the bare driver, not the store, to keep `check` fast."""

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

from publisher.domain.delivery import (
    DESIRED_NO_SEND,
    REVISABLE_STATES,
    WAITING_STATES,
    DesiredState,
    State,
)
from publisher.domain.errors import RefusedError
from publisher.domain.post import ONCE_OCCURRENCE, FiledTexts, OccurrenceKey, PostId
from publisher.store.db.sqlite_files import connect_sqlite

_SQLITE = "sqlite:///"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUERY_TIMEOUT_SECONDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPost:
    """The database's knowledge of a post.

    `is_waiting` means that one of its deliveries may still lead to a call. `counts_as_open` means
    that the daemon counts it among the posts that a new schedule may not drop in great number
    without confirmation.
    """

    is_waiting: bool
    counts_as_open: bool


def has_database(url: str) -> bool:
    """Return False if it is certain that there is no database yet: a missing SQLite file."""
    return not url.startswith(_SQLITE) or Path(url.removeprefix(_SQLITE)).is_file()


def read_known_posts(url: str) -> Mapping[PostId, KnownPost] | None:
    """Return the posts in the store, or None if there is no store yet, or no answer.

    The call changes nothing.
    """
    rows = _read(url, _QUERY)
    if rows is None:
        return None
    return {
        PostId(post): KnownPost(
            is_waiting=bool(is_waiting),
            counts_as_open=bool(is_kept and (is_waiting or repeats)),
        )
        for post, is_kept, repeats, is_waiting in rows
    }


def read_filed_texts(url: str) -> Sequence[FiledTexts]:
    """Return the texts that wait for their calls, by due time.

    Return none without a store that answers. The call changes nothing.
    """
    return group_filed_texts(_read(url, FILED_TEXTS_QUERY) or ())


def _read(url: str, query: str) -> Sequence[tuple[Any, ...]] | None:
    """Return the rows of a query; None if there is no database, or it does not answer."""
    if url.startswith(_SQLITE):
        file = Path(url.removeprefix(_SQLITE))
        if not file.is_file():
            return None
        try:
            with contextlib.closing(
                connect_sqlite(file, "ro", QUERY_TIMEOUT_SECONDS)
            ) as connection:
                return connection.execute(query).fetchall()
        except (sqlite3.Error, RefusedError):
            return None
    # loaded only where it is needed: half of all workspaces use SQLite
    psycopg = import_module("psycopg")
    try:
        server = "postgresql://" + url.partition("://")[2]
        with psycopg.connect(
            server, connect_timeout=QUERY_TIMEOUT_SECONDS
        ) as connection:
            found: Sequence[tuple[Any, ...]] = connection.execute(query).fetchall()
            return found
    except psycopg.Error:
        return None


def group_filed_texts(rows: Iterable[Sequence[Any]]) -> list[FiledTexts]:
    """Return the texts of FILED_TEXTS_QUERY by occurrence.

    They are separate if a person has moved some accounts of an occurrence.
    """
    found = []
    for (post, occurrence), deliveries in groupby(
        rows, key=lambda row: (row[0], row[1])
    ):
        same = list(deliveries)
        has_started = any(bool(row[-1]) for row in same)
        waiting = sorted(
            (row for row in same if row[-2]), key=lambda row: tuple(row[4:7])
        )
        for times, together in groupby(waiting, key=lambda row: tuple(row[4:7])):
            own = list(together)
            due_at, scheduled_at, expires_at = (
                _EPOCH + timedelta(microseconds=at) for at in times
            )
            found.append(
                FiledTexts(
                    key=OccurrenceKey(post=post, occurrence=occurrence),
                    content_hash=own[0][7],
                    due_at=due_at,
                    scheduled_at=scheduled_at,
                    expires_at=expires_at,
                    has_started=has_started,
                    texts={row[2]: row[3] for row in own},
                )
            )
    return sorted(found, key=lambda filed: (filed.due_at, filed.key.post))


def _quote(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))


_DELIVERY = "SELECT 1 FROM delivery WHERE delivery.post = post.id AND"
_QUERY = f"""
    SELECT
        id,
        is_scheduled AND NOT is_cancelled AND corrected_by IS NULL,
        NOT EXISTS ({_DELIVERY} occurrence = '{ONCE_OCCURRENCE}')
            OR EXISTS ({_DELIVERY} occurrence <> '{ONCE_OCCURRENCE}'),
        EXISTS (
            {_DELIVERY} state IN ({_quote(REVISABLE_STATES)})
                AND desired NOT IN ({_quote(DESIRED_NO_SEND)})
        )
    FROM post
"""  # noqa: S608 # of our own constants only
"""One row for each post: scheduled, repeating or waiting to be filed, or open to a call.

The columns are: is it in the schedule, does it repeat or wait to be filed, may it still lead to a
call.
"""
_UNSENT_STATES = _quote({*WAITING_STATES, State.HELD})
_IS_WAITING = f"state IN ({_UNSENT_STATES}) AND desired = '{DesiredState.AS_PLANNED}'"  # of our own
FILED_TEXTS_QUERY = f"""
    SELECT
        post, occurrence, account, rendered_hash, due_at, scheduled_at, expires_at, content_hash,
        CASE WHEN {_IS_WAITING} THEN 1 ELSE 0 END,
        CASE
            WHEN state = '{State.SENDING}' OR (attempts > 0 AND first_attempt_deadline IS NULL)
            THEN 1 ELSE 0
        END
    FROM delivery
    WHERE (post, occurrence) IN (SELECT post, occurrence FROM delivery WHERE {_IS_WAITING})
    ORDER BY post, occurrence, account
"""  # noqa: S608 # the same
"""The deliveries of each occurrence that waits for calls.

They show the waiting deliveries, and the called ones.
"""
