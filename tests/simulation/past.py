"""A long past: thousands of deliveries that ended before a storm, with their audit entries."""

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from publisher.domain.audit_chain import ENTRY_FIELDS, hash_entry
from tests.simulation.simulation import Simulation
from tests.simulation.workspace import identity_of, instant, platform_of

MINUTE_MICROS = 60_000_000
HOUR_MICROS = 60 * MINUTE_MICROS
NEWEST_HOURS, OLDEST_HOURS = 48, 2880
"""How many hours ago they ended: no rate limit looks back so far."""
STANDING_EACH = 60
"""One of so many deliveries is still live on its account."""
ENDS = ("expired", "cancelled", "failed", "removed", "retracted")
INSTANT_SUFFIXES = ("_at", "_since")
Row = dict[str, Any]


def grow(simulation: Simulation, number: int) -> None:
    """Add so many ended deliveries, copied from live ones, while no daemon runs."""
    with (
        contextlib.closing(
            sqlite3.connect(simulation.workspace.database)
        ) as connection,
        connection,
    ):
        connection.row_factory = sqlite3.Row
        examples = _rows(
            connection, "SELECT * FROM delivery WHERE state = 'published' ORDER BY id"
        )
        first = _next_id(connection, "delivery")
        copies = [
            _copy(simulation, examples[place % len(examples)], place)
            for place in range(number)
        ]
        for row_id, row in enumerate(copies, first):
            row["id"] = row_id
        _insert(
            connection, "rendered_post", [_words(connection, row) for row in copies]
        )
        _insert(connection, "attempt", [_attempt(connection, row) for row in copies])
        _insert(connection, "delivery", copies)
        _insert(connection, "audit", list(_entries(connection, copies)))
    simulation.past = range(first, first + number)
    simulation.remember_past()


def _copy(simulation: Simulation, example: Row, place: int) -> Row:
    """Return a copy that ended long ago; of a repeating post it is another occurrence."""
    rounds, hours = divmod(place, OLDEST_HOURS - NEWEST_HOURS)
    back = NEWEST_HOURS + hours
    row = {**example, "example": example["id"]}
    row |= {
        name: row[name] and row[name] - back * HOUR_MICROS
        for name in example
        if name.endswith(INSTANT_SUFFIXES)
    }
    if simulation.workspace.every[row["post"]].cron:
        row["due_at"] = (row["due_at"] // HOUR_MICROS * 60 + rounds) * MINUTE_MICROS
        row["scheduled_at"] = row["due_at"]
        row["occurrence"] = instant(row["due_at"] / 1e6).isoformat()
    else:
        row["post"] = f"old-{place:05d}"
    row |= {
        "state": ENDS[place % len(ENDS)],
        "reason": "of_old",
        "remote_id": None,
        "published_at": None,
    }
    if place % STANDING_EACH == 0:
        row |= {"state": "published", "reason": None, "published_at": row["due_at"]}
        row["remote_id"] = _standing(simulation, row["account"], row["due_at"] / 1e6)
    return row


def _standing(simulation: Simulation, account: str, at: float) -> str:
    """Create the live post of a past delivery, and return its id."""
    state = simulation.platforms.state
    state.clock_shift = at - simulation.now
    name = simulation.platforms.post_by_hand(
        platform_of(account), identity_of(account), "往期提醒", "往期提醒"
    )
    state.clock_shift = 0.0
    return name


def _words(connection: sqlite3.Connection, row: Row) -> Row:
    """Return a delivery's rendered post, with a marker of its own."""
    [example] = _rows(
        connection,
        "SELECT * FROM rendered_post WHERE fingerprint = ?",
        row["rendered_hash"],
    )
    body = json.loads(example["body"])
    body["marker"]["code"] = f"OLD-{row['id']}"
    row["rendered_hash"] = hashlib.sha256(f"old/{row['id']}".encode()).hexdigest()
    return {
        **example,
        "fingerprint": row["rendered_hash"],
        "body": json.dumps(body, ensure_ascii=False),
    }


def _attempt(connection: sqlite3.Connection, row: Row) -> Row:
    """Return a delivery's attempt, copied from its example."""
    [example] = _rows(
        connection,
        "SELECT * FROM attempt WHERE delivery = ? ORDER BY id LIMIT 1",
        row.pop("example"),
    )
    instants = dict.fromkeys(("baseline_at", "intended_at", "ended_at"), row["due_at"])
    row["attempts"] = 1
    known = {
        "id": _next_id(connection, "attempt") + row["id"],
        "delivery": row["id"],
        "number": 1,
    }
    return {**example, **instants, **known, "rendered_hash": row["rendered_hash"]}


def _entries(connection: sqlite3.Connection, copies: Sequence[Row]) -> Iterator[Row]:
    """Yield the audit entries of each delivery, chained to the newest one."""
    [last] = _rows(connection, "SELECT * FROM audit ORDER BY id DESC LIMIT 1")
    number, previous = last["id"], last["hash"]
    for row in copies:
        label = "" if row["occurrence"] == "once" else f"#{row['occurrence']}"
        subject = f"{row['post']}{label}@{row['account']}"
        detail = json.dumps(
            {
                "version": row["version"],
                "attempt": 1,
                "fencing_token": 1,
                "reason": row["reason"],
            }
        )
        for event, before, after in (
            ("planned", None, "pending"),
            ("Ended", "pending", row["state"]),
        ):
            number += 1
            values = (
                last["at"],
                "maintenance",
                "maintenance",
                event,
                subject,
                before,
                after,
                detail,
            )
            digest = hash_entry(number, values, previous)
            yield dict(zip(ENTRY_FIELDS, values, strict=True)) | {
                "id": number,
                "previous": previous,
                "hash": digest,
            }
            previous = digest


def _rows(connection: sqlite3.Connection, query: str, *facts: object) -> list[Row]:
    return [dict(row) for row in connection.execute(query, facts)]


def _next_id(connection: sqlite3.Connection, table: str) -> int:
    [(newest,)] = connection.execute(
        f"SELECT coalesce(max(id), 0) FROM {table}"  # noqa: S608 # our names
    ).fetchall()
    return int(newest) + 1


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    names = ", ".join(f'"{name}"' for name in rows[0])
    marks = ", ".join(f":{name}" for name in rows[0])
    connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)  # noqa: S608 # our own names
