"""When things were really written down, whatever the clock of the process showed that wrote them."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MADE, ENDED = "made", "ended"
TRIGGERS = (
    *((table, MADE, "AFTER INSERT", "TRUE") for table in ("attempt", "audit", "readback", "schedule")),
    ("attempt", ENDED, "AFTER UPDATE OF ended_at", "OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL"),
)
"""What is noted of which table, at which statement, and where."""


@dataclass(slots=True)
class TrueTime:
    """The true instants of rows, in seconds of `now`. What is rolled back is noted again when it is written again."""

    now: Callable[[], float]
    instants: dict[tuple[str, int, str], float] = field(default_factory=dict)

    def follow(self, connection: sqlite3.Connection, _record: Any = None) -> None:
        """Note the rows that a connection writes from now on. Nothing of it stands in the database's file."""
        connection.create_function("note_true_time", 3, self._note)
        for table, what, when, where in TRIGGERS:
            connection.execute(
                f"CREATE TEMP TRIGGER true_{table}_{what} {when} ON main.{table} WHEN {where} "
                f"BEGIN SELECT note_true_time('{table}', NEW.id, '{what}'); END"
            )

    def _note(self, table: str, row: int, what: str) -> None:
        self.instants[table, row, what] = self.now()

    def of(self, table: str, row: int, what: str = MADE) -> float:
        """Give the instant of a row; the beginning of time for what was there before."""
        return self.instants.get((table, row, what), 0.0)
