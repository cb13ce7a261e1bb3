"""What changes a run: where each thing of it stands, and the changes that must be found."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.chaos.checker.artefacts import Artefacts

Row = dict[str, Any]
Mutation = Callable[[Artefacts], object]
MUTATIONS: dict[str, dict[str, Mutation]] = defaultdict(dict)
"""For each invariant, the mutations of a good run that its own check must find, by name."""


def breaks(invariant: str) -> Callable[[Mutation], Mutation]:
    """Register a function that changes a good run so that it breaks an invariant."""

    def register(mutation: Mutation) -> Mutation:
        MUTATIONS[invariant][mutation.__name__] = mutation
        return mutation

    return register


def row_of(run: Artefacts, name: str, number: int = 0) -> Row:
    """Return the delivery of a scenario; of several ones, the first, or the one of that number."""
    return [row for row in run.rows["delivery"] if row["post"] == name][number]


def attempts_of(run: Artefacts, name: str, table: str = "attempt") -> list[Row]:
    return [row for row in run.rows[table] if row["delivery"] == row_of(run, name)["id"]]


def readbacks_of(run: Artefacts, name: str) -> list[Row]:
    return attempts_of(run, name, "readback")


def audit_of(run: Artefacts, name: str, event: str) -> list[Row]:
    subjects = (f"{name}@", f"{name}#")
    return [row for row in run.rows["audit"] if row["subject"].startswith(subjects) and row["event"] == event]


def alert_of(run: Artefacts, name: str) -> Row:
    return next(row for row in run.rows["alert"] if row["subject"].startswith(f"{name}@"))


def copy_of(run: Artefacts, name: str) -> Row:
    wanted = row_of(run, name)["remote_id"]
    return next(post for post in run.documents["posts"] if post["id"] == wanted)


def duty_of(run: Artefacts, name: str) -> Row:
    return next(one for one in run.documents["plan"]["duties"] if one["post"] == name)


def status_of(run: Artefacts, name: str) -> Row:
    return next(one for one in run.documents["status"] if one["post"] == name)


def words_of(run: Artefacts, row: Row) -> Row:
    """Return the rendered post of a delivery or of an attempt."""
    return next(one for one in run.rows["rendered_post"] if one["fingerprint"] == row["rendered_hash"])


def entry_of(run: Artefacts, post: Row, kind: str) -> Row:
    return next(one for one in run.lists["log"] if one["post_id"] == post["id"] and one["kind"] == kind)


def call_of(run: Artefacts, name: str) -> Row:
    """Return the call that made what is published."""
    seq = entry_of(run, copy_of(run, name), "act")["call"]
    return next(one for one in run.lists["log"] if one["seq"] == seq)


def reply_to(run: Artefacts, call: Row) -> Row:
    return next(one for one in run.lists["log"] if one["kind"] == "reply" and one["call"] == call["seq"])


def add_entry(run: Artefacts, like: Row, **changes: Any) -> None:
    run.lists["log"].append({**like, "seq": run.lists["log"][-1]["seq"] + 1, **changes})


def add_row(run: Artefacts, table: str, like: Row, **changes: Any) -> None:
    run.rows[table].append({**like, "id": max(row["id"] for row in run.rows[table]) + 1, **changes})


def accept(run: Artefacts, at: float, text: str) -> None:
    """Let a version of the schedule come into force at some instant."""
    add_row(run, "schedule", run.rows["schedule"][-1], text=text, accepted_at=round(at * 1e6))
    run.rows["schedule"].sort(key=lambda one: one["accepted_at"])
