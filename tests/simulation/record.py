"""What a run has left: deliveries, attempts, calls and their true instants, read without the product."""

import json
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tests.simulation.platforms import CREATING
from tests.simulation.real_time import ENDED as OVER
from tests.simulation.simulation import Simulation
from tests.simulation.workspace import identity_of

SLACK = 1.5
"""Seconds that a call may take to arrive once it has started."""
LONGEST_READ = 60.0
PREFIX = b"publisher audit 1\n"
HASHED = ("at", "role", "name", "event", "subject", "before", "after", "detail", "previous")
"""What a hash of the audit begins with, and the columns that it covers besides the number."""


def name_of(row: Any) -> str:
    label = "" if row["occurrence"] == "once" else f"#{row['occurrence']}"
    return f"{row['post']}{label}@{row['account']}"


def deliveries(simulation: Simulation) -> list[Any]:
    """Give the deliveries of the run; what ended before it is none of its own."""
    past = simulation.past
    return simulation.rows("SELECT * FROM delivery WHERE id < ? OR id >= ? ORDER BY id", past.start, past.stop)


def past_of(simulation: Simulation) -> list[Any]:
    """Give what ended before the run, as it stands."""
    columns = "id, post, occurrence, account, state, attempts, remote_id"
    query = f"SELECT {columns} FROM delivery WHERE id >= ? AND id < ? ORDER BY id"  # noqa: S608 # names of columns
    return simulation.rows(query, simulation.past.start, simulation.past.stop)


def attempts(simulation: Simulation, delivery: int) -> list[Any]:
    return simulation.rows("SELECT * FROM attempt WHERE delivery = ? ORDER BY number", delivery)


def story(simulation: Simulation, row: Any) -> list[Any]:
    return simulation.rows("SELECT * FROM audit WHERE subject = ? ORDER BY id", name_of(row))


def words_of(simulation: Simulation, rendition: str) -> dict[str, Any]:
    """Give final words by their name; nothing where the database do not keep them any more."""
    rows = simulation.rows("SELECT body FROM rendered_post WHERE fingerprint = ?", rendition)
    return json.loads(rows[0]["body"]) if rows else {}


def begun(simulation: Simulation, attempt: Any) -> float:
    """Give the true instant at which an attempt was announced."""
    return simulation.true_time.of("attempt", attempt["id"])


def over(simulation: Simulation, attempt: Any) -> float:
    """Give the true instant at which an attempt was written down as over."""
    return simulation.true_time.of("attempt", attempt["id"], OVER)


def written(simulation: Simulation, entry: Any) -> float:
    """Give the true instant of an entry of the audit."""
    return simulation.true_time.of("audit", entry["id"])


def looked(simulation: Simulation, look: Any) -> float:
    """Give the true instant at which a read began: by the clock that showed it, unless that was set meanwhile."""
    stored = simulation.true_time.of("readback", look["id"])
    asked = look["at"] / 1e6 - simulation.ahead_at(stored)
    return asked if stored - LONGEST_READ < asked < stored else stored


def calls(simulation: Simulation) -> list[dict[str, Any]]:
    """Give the creating calls that reached a platform, each with what it made and the attempt that it was made for."""
    log = simulation.log
    made = {line["call"]: line["post_id"] for line in log if line["kind"] == "act" and line["endpoint"] in CREATING}
    received = [line for line in log if line["kind"] == "recv" and line["endpoint"] in CREATING]
    announced: dict[str, list[Any]] = defaultdict(list)
    for row in simulation.rows("SELECT * FROM attempt ORDER BY id"):
        announced[identity_of(row["account"])].append(row)

    def attempt_for(call: Mapping[str, Any]) -> Any:
        since = call["t"] - simulation.shape.waits.lease - SLACK
        mine = [row for row in announced[call["account"]] if since <= begun(simulation, row) <= call["t"] + 0.01]
        return mine[-1] if mine else None

    return [{**line, "made": made.get(line["seq"]), "attempt": attempt_for(line)} for line in received]


def calls_for(simulation: Simulation) -> list[tuple[dict[str, Any], Any]]:
    """Give the creating calls, each with the delivery that it was made for."""
    rows = {row["id"]: row for row in deliveries(simulation)}
    found = [(call, rows.get(call["attempt"]["delivery"])) for call in calls(simulation) if call["attempt"]]
    return [(call, row) for call, row in found if row is not None]


def is_ruled(simulation: Simulation, row: Any) -> bool:
    """Whether a person has ever decided about it."""
    return any(entry["event"] == "resolved" for entry in story(simulation, row))


class Version:
    """A version of the schedule: since when it is in force, and its posts."""

    def __init__(self, simulation: Simulation, row: Any) -> None:
        self.since = simulation.true_time.of("schedule", row["id"])
        self.text = row["text"] or simulation.old_versions[row["id"]]
        self.posts = {post["id"]: post for post in tomllib.loads(self.text)["post"]}

    def title(self, post: str) -> str | None:
        return self.posts[post]["title"] if post in self.posts else None
