"""What a campaign expects beside the promises: who waits for a person, why, how many, and what the daemons logged.

A hold or a refusal is expected where a fault that was injected demands it, once for each time that it has struck.
Whether anything was doubled, lost or wrong is the checker's to say.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.faults import REFUSED
from tests.chaos.findings import Finding

RULES = frozenset({"not_published_twice", "poison", "original_held"})
"""The holds that a rule demands after deaths and lost replies: a second absence, a delivery that was in the hand of
three workers that died, and what follows a post that is held itself. There may be few: a daemon could hold too soon."""
ABSENT = "not_published"
"""The hold of a first absence: always right where the platform allows no other call, however many there are."""
NOT_LIVE = frozenset({"held", "failed", "expired", "cancelled", "retracted", "removed"})
EXPLAINED = {
    "captcha": ("captcha",),
    "wrong_account": ("wrong_account",),
    "auth": ("expire_token",),
    "account": ("api_error",),
    "permission": ("api_error",),
    "possible_match": ("rewrite",),
    "late_response": ("list_late", "empty_list"),
    ABSENT: ("duplicate", "review"),
}
"""Holds, each with the faults that demand it: one of these must have struck the account for each such hold."""
UNDER_REVIEW = "review_possible"
"""The hold of what a review may hide: of urgent posts, of those that expire before its end, and of others that a short
list cannot show any more."""
REFUSALS = ("api_error",)
"""Faults of which one must have struck an account for each of its deliveries that failed."""
REFUSED_AS = frozenset(f"{platform}_{code}" for platform, code in REFUSED.items())
"""The codes that refuse for good; anyone who takes another one for a refusal has lost a post."""
MOST_HELD, FEW_HELD = 0.05, 25
"""Share of the duties that may be held; a small campaign kills each of them more often, so some always may."""
BY_PEOPLE = frozenset({"edited", "identity_changed"})
"""Holds that the campaign's own people bring about, as often as they edit posts and change accounts."""
COUNTED_APART = frozenset({*BY_PEOPLE, UNDER_REVIEW})
"""Those, and the holds that a lost reply to an urgent post always leads to on a platform that hides reviews; they count
for nothing in that share."""

Duty = tuple[str, str]
"""A post and an account."""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What was asked for: the state in which each duty must end (or one of several, divided by `|`), the platform's own
    name of each account, which post follows which, which were edited on their way, the accounts whose platform allows
    no second call, the duties that are mass-sent, and the accounts whose platform hides what it reviews.

    `cut_beside_others` are the calls that deaths have cut open while other workers ran: these cannot read in the
    record of the worker that died that a call had not begun, so each may be an absence where no second call is allowed.
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
    """How often each kind of fault has struck each account, and what of the holds and refusals it explains."""

    task: Task
    struck: Counter[tuple[str, str]] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    created: int = 0

    def findings(self, log: Iterable[Row], status: Sequence[Row]) -> Iterator[Finding]:
        """Hold what staff are shown against the faults in the log; give what nothing explains, and too many holds."""
        for entry in log:
            if entry["kind"] == "recv":
                self.struck.update((entry["account"], fault) for fault in (entry["fault"] or "").split("+"))
            is_ours = entry["kind"] == "act" and entry["endpoint"] and entry["post_id"]
            self.created += bool(is_ours) and not entry.get("thread")
        shown = {(row["post"], row["account"]): row for row in status}
        for duty in self.task.wanted.keys() & shown.keys():
            row, name = shown[duty], "@".join(duty)
            if hold := self.hold_of(row, shown):
                self.held[hold] += 1
                if not self._demands(hold, duty):
                    yield Finding(by="campaign", invariant="I9", what=f"held as {hold} without a cause: {name}")
            elif row["state"] == "failed":
                self.refused += 1
                if row["reason"] not in REFUSED_AS or not self._strikes(duty, REFUSALS):
                    yield Finding(
                        by="campaign", invariant="I9", what=f"failed ({row['reason']}) without a cause: {name}"
                    )
        held = sum(number for reason, number in self.held.items() if reason not in COUNTED_APART)
        most = max(FEW_HELD, MOST_HELD * len(self.task.wanted)) + min(self.held[ABSENT], self.task.cut_beside_others)
        if held > most:
            share = 100 * held / len(self.task.wanted)
            what = f"{held} of {len(self.task.wanted)} held by rule, {share:.1f} %: {dict(self.held)}"
            yield Finding(by="campaign", invariant="HELD", what=what)

    def hold_of(self, row: Row, shown: Mapping[Duty, Row]) -> str | None:
        """Name the rule for which a duty waits for a person; None when it does not."""
        if row["state"] == "held":
            return str(row["reason"])
        original = shown.get((self.task.follows.get(row["post"], ""), row["account"]))
        is_without = row["state"] in {"pending", "due"} or row["reason"] == "original_not_published"
        return "original_held" if is_without and original is not None and original["state"] in NOT_LIVE else None

    def _demands(self, hold: str, duty: Duty) -> bool:
        """True if a rule demands the hold here."""
        post, account = duty
        if hold in RULES or (hold in BY_PEOPLE and post in self.task.edited):
            return True
        if hold == UNDER_REVIEW:
            return account in self.task.hiding
        if duty in self.task.mass_sent:
            is_demanded = hold == ("undeletable" if "retracted" in self.task.wanted[duty] else "uncheckable")
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
