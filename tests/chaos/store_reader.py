"""Read-only SQL on the database: for pace and figures."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IN_SENDING = (
    "SELECT count(*) FROM delivery WHERE state = 'sending' AND worker = '{worker}'"
)
STATES = """SELECT state, count(*) FROM delivery
WHERE post LIKE 'post-%' OR post LIKE 'family-%' GROUP BY state"""
OPEN = """SELECT post, account, state, follows FROM delivery
WHERE post NOT LIKE 'daily-%' AND state NOT IN
('published', 'retracted', 'cancelled', 'failed', 'expired', 'removed', 'held')"""
NEXT = """SELECT coalesce(max(next_action_at), 0) FROM delivery
WHERE state IN ('unknown', 'submitted', 'retrying', 'retracting')"""
KNOWN = "SELECT DISTINCT post FROM delivery"
NOT_LIVE = """SELECT post, account FROM delivery
WHERE state IN ('held', 'failed', 'expired', 'cancelled', 'retracted', 'removed')"""
FINISHED = """SELECT post FROM delivery GROUP BY post
HAVING sum(CASE WHEN state = 'published' THEN 0 ELSE 1 END) = 0"""
BEGUN = """SELECT post FROM delivery WHERE post LIKE 'post-%' GROUP BY post
HAVING sum(CASE WHEN attempts > 0 THEN 1 ELSE 0 END) > 0
AND sum(CASE WHEN state IN ('claimed', 'retrying', 'due', 'pending') THEN 1 ELSE 0 END) > 0"""
LATE = "SELECT count(*) FROM delivery WHERE state = 'due' AND due_at < {now}"
ON_THE_WAY = "SELECT DISTINCT post FROM delivery WHERE state IN ('claimed', 'retrying')"
IN_DOUBT = """SELECT post, account FROM delivery
WHERE state IN ('sending', 'unknown', 'submitted', 'retrying')
AND post LIKE 'post-%'"""
OPEN_OUTCOME = """SELECT post, account FROM delivery
WHERE state IN ('unknown', 'submitted', 'sending')
AND post LIKE 'post-%'"""
HELD_EDITED = (
    "SELECT post, account FROM delivery WHERE state = 'held' AND reason = 'edited'"
)
IN_HAND = """SELECT post, account, state FROM delivery
WHERE state IN ('claimed', 'sending') AND worker = '{worker}' AND post LIKE 'post-%'"""
LIVE = "SELECT post, account FROM delivery WHERE state = 'published' AND post LIKE 'post-%'"
LEFT = """SELECT DISTINCT account FROM delivery WHERE state IN ('pending', 'due') AND attempts = 0
AND post LIKE 'post-%' AND due_at < {until} AND account NOT LIKE '{besides}%' AND follows IS NULL
AND coalesce(reason, '') <> 'awaiting_approval'
AND account NOT IN (SELECT account FROM delivery
    WHERE state IN ('sending', 'unknown', 'submitted', 'retrying'))"""
"""Accounts of all platforms but one that had a post to send at an instant, and none in doubt."""
CALLED_SINCE = "SELECT count(*) FROM attempt WHERE intended_at >= {since} AND account NOT LIKE '{besides}%'"
UNTRIED = """SELECT post FROM delivery WHERE post LIKE 'post-%' GROUP BY post
HAVING max(attempts) = 0 AND min(state) = 'pending' AND max(state) = 'pending'"""
"""Posts without any attempt yet."""
PAUSED = "SELECT scope FROM pause"
ACCEPTED = "SELECT text FROM schedule WHERE text IS NOT NULL"
STATES_OF = "SELECT state, count(*) FROM delivery WHERE post = '{post}' GROUP BY state"
TRIED_OF = "SELECT count(*) FROM delivery WHERE post = '{post}' AND attempts > 0"
CALLED_FIRST = """SELECT d.post, min(a.intended_at) FROM attempt a
JOIN delivery d ON d.id = a.delivery
GROUP BY d.post"""
SITUATIONS = """SELECT DISTINCT state FROM delivery WHERE state IN ('unknown', 'submitted')
UNION SELECT 'wechat_due' FROM delivery WHERE account LIKE 'wechat%' AND follows IS NULL
AND state IN ('pending', 'due', 'retrying') AND due_at <= {until}"""
"""The situation of a daemon that starts now: names of `kill_plan.SITUATION`."""


@dataclass(frozen=True, slots=True)
class CampaignDatabase:
    """The database of a campaign: a file, or the URL of a server."""

    file: Path
    url: str | None = None

    def rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a query, or none where the tables do not exist yet."""
        return self._of_server(query) if self.url else self._of_file(query)

    def count(self, query: str) -> int:
        return int((self.rows(query) or [(0,)])[0][0])

    def _of_file(self, query: str) -> Sequence[tuple[Any, ...]]:
        try:
            with closing(
                sqlite3.connect(
                    f"{self.file.resolve().as_uri()}?mode=ro", uri=True, timeout=10
                )
            ) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.OperationalError as error:
            # killed before the first migration was through
            if "no such table" in str(error) or not self.file.exists():
                return []
            raise

    def _of_server(self, query: str) -> Sequence[tuple[Any, ...]]:
        import psycopg  # noqa: PLC0415 # needed for this sort of database only

        try:
            with psycopg.connect(str(self.url)) as connection:
                connection.read_only = True
                return connection.execute(query).fetchall()
        except psycopg.errors.UndefinedTable:
            return []
