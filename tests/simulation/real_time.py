"""When things were really written down, whatever the clock of the process showed that wrote them."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

INSERTED, ENDED, CLEARED = (
    ("AFTER INSERT", "TRUE"),
    ("AFTER UPDATE OF ended_at", "OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL"),
    ("AFTER UPDATE OF cleared_at", "OLD.cleared_at IS NULL AND NEW.cleared_at IS NOT NULL"),
)
TRIGGERS = (
    ("attempt", "id", "intended_at", INSERTED),
    ("attempt", "id", "ended_at", ENDED),
    ("audit", "id", "at", INSERTED),
    ("readback", "id", "at", INSERTED),
    ("schedule", "id", "accepted_at", INSERTED),
    ("alert", "id", "at", INSERTED),
    ("alert", "id", "cleared_at", CLEARED),
    ("observed_post", "remote_id", "seen_at", INSERTED),
)
"""Which instants are noted: the table, its key, the column that the host's clock fills, the statement and where."""


@dataclass(slots=True)
class TrueTime:
    """The true instants of rows, in seconds of `now`, by table, key and column.

    What is rolled back is noted again when it is written again.
    """

    now: Callable[[], float]
    instants: dict[str, dict[str, dict[str, float]]] = field(default_factory=lambda: defaultdict(dict))

    def follow(self, connection: sqlite3.Connection, _record: Any = None) -> None:
        """Note the rows that a connection writes from now on. Nothing of it stands in the database's file."""
        connection.create_function("note_true_time", 3, self._note)
        for table, key, column, (statement, where) in TRIGGERS:
            connection.execute(
                f"CREATE TEMP TRIGGER true_{table}_{column} {statement} ON main.{table} WHEN {where} "
                f"BEGIN SELECT note_true_time('{table}', NEW.{key}, '{column}'); END"
            )

    def _note(self, table: str, row: object, column: str) -> None:
        self.instants[table].setdefault(str(row), {})[column] = self.now()

    def of_attempt(self, row: int) -> float:
        """Give the instant at which an attempt was announced; the beginning of time for what was there before."""
        return self.instants["attempt"].get(str(row), {}).get("intended_at", 0.0)
