"""A run that tests may change, with its rows by name, and the mutations that must be found."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.chaos.checker.artefacts import Artefacts

Row = dict[str, Any]
HOUR = 3600.0
MICRO = 1_000_000
REMOVED: Row = {"removed": True, "visible": False, "state": "removed"}


class SampleRun(Artefacts):
    """A run of one post for each scenario, with its name.

    The first of several deliveries counts.
    """

    def row(self, name: str, number: int = 0) -> Row:
        """Return the delivery of a scenario, or another one of its deliveries."""
        return [row for row in self.rows["delivery"] if row["post"] == name][number]

    def attempts(self, name: str) -> list[Row]:
        return [
            row
            for row in self.rows["attempt"]
            if row["delivery"] == self.row(name)["id"]
        ]

    def readbacks(self, name: str) -> list[Row]:
        return [
            row
            for row in self.rows["readback"]
            if row["delivery"] == self.row(name)["id"]
        ]

    def audit(self, name: str, event: str) -> list[Row]:
        """Return the entries about a scenario's deliveries, or a scope like `post:NAME`."""
        named = (f"{name}@", f"{name}#")
        entries = [row for row in self.rows["audit"] if row["event"] == event]
        return [
            row
            for row in entries
            if row["subject"] == name or row["subject"].startswith(named)
        ]

    def alert(self, name: str) -> Row:
        return next(
            row for row in self.rows["alert"] if row["subject"].startswith(f"{name}@")
        )

    def words(self, row: Row) -> Row:
        """Return the rendered post of a delivery."""
        return next(
            one
            for one in self.rows["rendered_post"]
            if one["fingerprint"] == row["rendered_hash"]
        )

    def copy(self, name: str) -> Row:
        wanted = self.row(name)["remote_id"]
        return next(post for post in self.documents["posts"] if post["id"] == wanted)

    def parts(self) -> list[Row]:
        """Return the further parts of the thread with several parts, as on the platform."""
        thread = self.copy("parts")["id"]
        return [
            post
            for post in self.documents["posts"]
            if post["extra"].get("thread") == thread
        ]

    def duty(self, name: str) -> Row:
        return next(
            one for one in self.documents["plan"]["duties"] if one["post"] == name
        )

    def status(self, name: str) -> Row:
        return next(one for one in self.documents["status"] if one["post"] == name)

    def entry(self, post: Row, kind: str) -> Row:
        return next(
            one
            for one in self.lists["log"]
            if one["post_id"] == post["id"] and one["kind"] == kind
        )

    def call(self, name: str) -> Row:
        """Return the call that made the published post."""
        seq = self.entry(self.copy(name), "act")["call"]
        return next(one for one in self.lists["log"] if one["seq"] == seq)

    def reply(self, call: Row) -> Row:
        return next(
            one
            for one in self.lists["log"]
            if one["kind"] == "reply" and one["call"] == call["seq"]
        )

    def add_entry(self, like: Row, **changes: Any) -> None:
        self.lists["log"].append(
            {**like, "seq": self.lists["log"][-1]["seq"] + 1, **changes}
        )

    def make_twice(self, copy: Row, **changes: Any) -> None:
        """Let the platform make a post twice in one call."""
        self.documents["posts"].append({**copy, "id": "twice", **changes})
        self.add_entry(self.entry(copy, "act"), post_id="twice")

    def add_unknown_post(self, *, later: int = 0) -> None:
        """Add an unseen Weibo post by somebody, then `later` posts that are removed in the end."""
        [known] = (
            one
            for one in self.documents["posts"]
            if one["id"] == self.by_hand["remote_id"]
        )
        made = {
            **known,
            "id": "unknown",
            "text": "不明内容",
            "created": known["created"] + 60,
        }
        self.documents["posts"] += [
            made,
            *({**made, "id": f"removed-{n}", **REMOVED} for n in range(later)),
        ]

    @property
    def by_hand(self) -> Row:
        """Return the monitor's sighting of a post that a person made on Weibo."""
        seen = (
            one for one in self.rows["observed_post"] if not one["predates_monitoring"]
        )
        return next(one for one in seen if one["account"].startswith("weibo"))

    def see_late(self, seconds: float) -> None:
        """Leave a call open while a person posts, and let that post be seen late.

        It is seen so many seconds after the outcome is known.
        """
        seen, [sent] = self.by_hand, self.audit("edited-unknown", "published")
        found = {"at": seen["seen_at"], "before": "submitted", "after": "published"}
        self.add_row("audit", sent, **found)
        sent["after"] = "submitted"
        seen["seen_at"] += round(seconds * MICRO)
        alert = next(
            one
            for one in self.rows["alert"]
            if one["subject"] == f"account:{seen['account']}/by-hand"
        )
        alert["at"] = seen["seen_at"]

    def add_row(self, table: str, like: Row, **changes: Any) -> None:
        self.rows[table].append(
            {**like, "id": max(row["id"] for row in self.rows[table]) + 1, **changes}
        )

    def accept(self, text: str, begins: float, ends: float) -> None:
        """Let a version of the schedule be in force between two instants, and drop others there."""
        versions = self.rows["schedule"]
        kept = [
            one for one in versions if not begins <= one["accepted_at"] / MICRO <= ends
        ]
        kept.append(
            {**versions[-1], "text": text, "accepted_at": round(begins * MICRO)}
        )
        self.rows["schedule"] = sorted(kept, key=lambda one: one["accepted_at"])


Mutation = Callable[[SampleRun], object]
MUTATIONS: dict[str, dict[str, Mutation]] = defaultdict(dict)
"""For each invariant, the mutations of a good run that its own check must find, by name."""


def breaks(invariant: str) -> Callable[[Mutation], Mutation]:
    """Register a function that changes a good run so that it breaks an invariant."""

    def register(mutation: Mutation) -> Mutation:
        MUTATIONS[invariant][mutation.__name__] = mutation
        return mutation

    return register
