"""The expectations of a campaign beside the promises: held deliveries, reasons and log lines.

A hold or a refusal is expected where an injected fault demands it, once for each time that it has
struck. Only the checker says whether anything was doubled, lost or wrong.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.faults import REFUSED
from tests.chaos.findings import CampaignFinding

RULES = frozenset({"poison", "original_held"})
"""The holds that a rule demands after deaths and lost replies.

They are for a delivery of three workers that died, and for a post that follows a held one. There
may be few: a daemon could hold too soon.
"""
ABSENT = "not_published"
"""The hold of an absence.

Any number is right for a second absence, and where the platform allows no other call.
"""
MOST_CALLS = 2
"""So many calls are made without a person."""
NOT_LIVE = frozenset({"held", "failed", "expired", "cancelled", "retracted", "removed"})
EXPLAINED = {
    "captcha": ("captcha",),
    "wrong_account": ("wrong_account",),
    "auth": ("expire_token",),
    "account": ("api_error",),
    "possible_match": ("rewrite",),
    "uncheckable": ("list_late", "empty_list"),
    ABSENT: ("duplicate", "review"),
}
"""Holds, with the faults that demand them.

One of these must have struck the account for each such hold.
"""
UNDER_REVIEW = "review_possible"
"""The hold of a post that a review may hide.

It applies to urgent posts, to posts that expire before the review's end, and to others that a short
list cannot show any more.
"""
REFUSALS = ("api_error",)
"""Faults for failed deliveries. One must have struck an account for each of its failed ones."""
REFUSED_AS = frozenset(f"{platform}_{code}" for platform, code in REFUSED.items())
"""The codes that refuse for good. A daemon that takes another one for a refusal loses a post."""
MOST_HELD, FEW_HELD = 0.05, 25
"""Share of the duties that may be held, and a number that always may.

A small campaign kills each duty more often.
"""
BY_PEOPLE = frozenset({"edited", "identity_changed"})
"""Holds by the campaign's own people, as often as they edit posts and change accounts."""
COUNTED_APART = frozenset({*BY_PEOPLE, UNDER_REVIEW})
"""Holds that do not count in the share of held duties.

They are holds by people, and the holds that always follow a lost reply to an urgent post on a
platform that hides reviews.
"""

Duty = tuple[str, str]
"""A post and an account."""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The demands on the duties of a campaign.

    It has the permitted end states of each duty (divided by `|`), and the platform's own name of
    each account. It also has the posts that follow others, the posts edited on their way, and the
    mass-sent duties. For accounts it has the ones on platforms without a second call, and the ones
    with hidden reviews.

    `cut_beside_others` are the calls that deaths have cut open while other workers ran. The record
    of a worker that died is closed to these, so each may be an absence without a second call.
    """

    wanted: Mapping[Duty, str]
    identities: Mapping[str, str]
    follows: Mapping[str, str] = field(default_factory=dict)
    edited: frozenset[str] = frozenset()
    only_once: frozenset[str] = frozenset()
    mass_sent: frozenset[Duty] = frozenset()
    cut_beside_others: int = 0
    hiding: frozenset[str] = frozenset()


@dataclass(slots=True)
class Expectations:
    """The strikes of each fault on each account, and the holds and refusals that they explain."""

    task: Task
    struck: Counter[tuple[str, str]] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    created: int = 0

    def findings(
        self, log: Iterable[Row], status: Sequence[Row]
    ) -> Iterator[CampaignFinding]:
        """Compare the status with the faults in the log.

        Yield unexplained holds and refusals, and too many holds.
        """
        for entry in log:
            if entry["kind"] == "recv":
                self.struck.update(
                    (entry["account"], fault)
                    for fault in (entry["fault"] or "").split("+")
                )
            is_ours = entry["kind"] == "act" and entry["endpoint"] and entry["post_id"]
            self.created += bool(is_ours) and not entry.get("thread")
        shown = {(row["post"], row["account"]): row for row in status}
        for duty in self.task.wanted.keys() & shown.keys():
            row, name = shown[duty], "@".join(duty)
            if hold := self.hold_of(row, shown):
                self.held[hold] += 1
                if not self._demands(hold, row):
                    yield CampaignFinding(
                        by="campaign",
                        invariant="I9",
                        what=f"held as {hold} without a cause: {name}",
                    )
            elif row["state"] == "failed":
                self.refused += 1
                if row["reason"] not in REFUSED_AS or not self._strikes(duty, REFUSALS):
                    yield CampaignFinding(
                        by="campaign",
                        invariant="I9",
                        what=f"failed ({row['reason']}) without a cause: {name}",
                    )
        held = sum(
            number
            for reason, number in self.held.items()
            if reason not in COUNTED_APART
        )
        most = max(FEW_HELD, MOST_HELD * len(self.task.wanted)) + min(
            self.held[ABSENT], self.task.cut_beside_others
        )
        if held > most:
            share = 100 * held / len(self.task.wanted)
            what = f"{held} of {len(self.task.wanted)} held by rule, {share:.1f} %: {dict(self.held)}"
            yield CampaignFinding(by="campaign", invariant="HELD", what=what)

    def hold_of(self, row: Row, shown: Mapping[Duty, Row]) -> str | None:
        """Return the rule that makes a duty wait for a person, or None."""
        if row["state"] == "held":
            return str(row["reason"])
        original = shown.get((self.task.follows.get(row["post"], ""), row["account"]))
        is_without = (
            row["state"] in {"pending", "due"}
            or row["reason"] == "original_not_published"
        )
        return (
            "original_held"
            if is_without and original is not None and original["state"] in NOT_LIVE
            else None
        )

    def _demands(self, hold: str, row: Row) -> bool:
        """True if a rule demands the hold here."""
        post, account = duty = row["post"], row["account"]
        is_second = hold == ABSENT and row["attempts"] >= MOST_CALLS
        if (
            hold in RULES
            or is_second
            or (hold in BY_PEOPLE and post in self.task.edited)
        ):
            return True
        if hold == UNDER_REVIEW:
            return account in self.task.hiding
        if duty in self.task.mass_sent:
            is_demanded = hold == (
                "undeletable"
                if "retracted" in self.task.wanted[duty]
                else "uncheckable"
            )
        else:
            is_demanded = hold == ABSENT and account in self.task.only_once
        return is_demanded or self._strikes(duty, EXPLAINED.get(hold, ()))

    def _strikes(self, duty: Duty, kinds: Sequence[str]) -> bool:
        """True if one more such fault has struck the account; it is used up."""
        identity = self.task.identities[duty[1]]
        found = next((kind for kind in kinds if self.struck[identity, kind] > 0), None)
        if found:
            self.struck[identity, found] -= 1
        return found is not None
