"""The pieces of a made-up run, found by the name of the story that they belong to, and what can be wrong with them."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.chaos.checker.artefacts import Artefacts
from tests.chaos.checker_tests.run_builder import Row
from tests.chaos.checker_tests.run_scenarios import STORIES

Spoil = Callable[[Artefacts], object]
SPOILED: dict[str, dict[str, Spoil]] = defaultdict(dict)
"""For each invariant, the spoilings that its own check must see, by name."""


def breaks(invariant: str) -> Callable[[Spoil], Spoil]:
    """Register a function that spoils a good run so that it breaks an invariant."""

    def register(spoil: Spoil) -> Spoil:
        SPOILED[invariant][spoil.__name__] = spoil
        return spoil

    return register


def reported(name: str) -> str:
    """The id of the post that reports a story in the full run."""
    return f"post-{list(STORIES).index(name) + 1}"


def row_of(run: Artefacts, name: str, table: str = "delivery") -> Row:
    assert run.rows
    return next(row for row in run.rows[table] if row["post"] == reported(name))


def attempts_of(run: Artefacts, name: str) -> list[Row]:
    assert run.rows
    return [one for one in run.rows["attempt"] if one["delivery"] == row_of(run, name)["id"]]


def acts_on(run: Artefacts, name: str, event: str) -> list[Row]:
    assert run.rows
    return [
        one
        for one in run.rows["audit"]
        if one["subject"].startswith((f"{reported(name)}@", f"{reported(name)}#")) and one["event"] == event
    ]


def copy_of(run: Artefacts, name: str) -> Row:
    wanted = row_of(run, name)["remote_id"]
    return next(post for post in run.documents["posts"] if post["id"] == wanted)


def duty_of(run: Artefacts, name: str) -> Row:
    return next(one for one in run.documents["plan"]["duties"] if one["post"] == reported(name))


def status_of(run: Artefacts, name: str) -> Row:
    return next(one for one in run.documents["status"] if one["post"] == reported(name))


def entry_of(run: Artefacts, post: Row, kind: str) -> Row:
    return next(one for one in run.lists["log"] if one["post_id"] == post["id"] and one["kind"] == kind)


def call_of(run: Artefacts, name: str) -> Row:
    """The call that made what stands."""
    seq = entry_of(run, copy_of(run, name), "act")["call"]
    return next(one for one in run.lists["log"] if one["seq"] == seq)


def add_entry(run: Artefacts, like: Row, **changes: Any) -> Row:
    entry = {**like, "seq": len(run.lists["log"]) + 1, **changes}
    run.lists["log"].append(entry)
    return entry
