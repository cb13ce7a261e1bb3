"""The verdict, from what the platforms saw and what staff are shown; nothing else is asked."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NUMBER = re.compile(r"第(\d{4})期")
"""The number in a post's title, by which its copies are known on every platform."""
RULES = frozenset({"absent", "absent_twice", "poison", "original_held"})
"""The holds that a rule demands after deaths and lost replies: proven absence that may not be answered by another
call, a delivery that was in the hand of three workers that died, and what follows a post that is held itself."""
MOST_HELD, FEW_HELD = 0.03, 10
"""Share of the duties that may be held; a small campaign kills each of them more often, so some always may."""
ENDED = frozenset({"published", "retracted", "cancelled", "failed", "expired", "removed"})

Duty = tuple[str, str]
"""A post and an account."""
Rows = Sequence[Mapping[str, Any]]


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What was found. A campaign is passed when nothing is wrong."""

    creations: int = 0
    doubles: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    held: Counter[str] = field(default_factory=Counter)

    @property
    def violations(self) -> list[str]:
        return [*self.doubles, *self.lost, *self.wrong]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What was asked for: the state in which each duty must end, the platform's own name of each account, and which
    post follows which.
    """

    wanted: Mapping[Duty, str]
    identities: Mapping[str, str]
    follows: Mapping[str, str] = field(default_factory=dict)


def judge(task: Task, log: Rows, posts: Rows, status: Rows) -> Verdict:
    """Compare what was asked for with the platforms and the status."""
    verdict, wanted = Verdict(), task.wanted
    copies = _copies(verdict, task, log, posts)
    shown = _shown(verdict, status)
    for duty, state in wanted.items():
        row = shown.get(duty)
        _judge_one(verdict, duty, state, made=copies[duty], row=row, hold=row and hold_of(row, shown, task))
    verdict.wrong += [f"in the status, but never planned: {_name(duty)}" for duty in shown.keys() - wanted.keys()]
    if sum(verdict.held.values()) > max(FEW_HELD, MOST_HELD * len(wanted)):
        verdict.wrong.append(f"too many held: {dict(verdict.held)}")
    return verdict


def hold_of(row: Mapping[str, Any], shown: Mapping[Duty, Mapping[str, Any]], task: Task) -> str | None:
    """Name the rule for which a duty waits for a person; None when it does not."""
    if row["state"] == "held":
        return str(row["reason"])
    original = shown.get((task.follows.get(row["post"], ""), row["account"]))
    return "original_held" if row["state"] == "due" and original and original["state"] == "held" else None


def is_settled(task: Task, status: Rows) -> bool:
    """Whether every duty has come to rest, as far as it can without a person."""
    shown = {(row["post"], row["account"]): row for row in status}
    return shown.keys() >= task.wanted.keys() and all(
        row["state"] in ENDED or hold_of(row, shown, task) for row in shown.values()
    )


def _copies(verdict: Verdict, task: Task, log: Rows, posts: Rows) -> Mapping[Duty, list[Mapping[str, Any]]]:
    """Give the platform's copies for each duty; tell doubles, and copies that nobody planned."""
    duties = {(post.rsplit("-", 1)[1], task.identities[account]): (post, account) for post, account in task.wanted}
    by_id = {post["id"]: post for post in posts}
    created = [entry["post_id"] for entry in log if entry["kind"] == "act" and entry["endpoint"] and entry["post_id"]]
    verdict.creations = len(created)
    copies: dict[Duty, list[Mapping[str, Any]]] = defaultdict(list)
    for post_id in created:
        post = by_id[post_id]
        number = NUMBER.search(post["title"] or post["text"])
        duty = duties.get((number[1] if number else "", post["account"]))
        if duty is None:
            verdict.wrong.append(f"on {post['account']} stands what nobody planned: {post_id}")
        else:
            copies[duty].append(post)
    for duty, made in copies.items():
        if len(made) > 1:
            verdict.doubles.append(f"made {len(made)} times: {_name(duty)}")
    return copies


def _shown(verdict: Verdict, status: Rows) -> Mapping[Duty, Mapping[str, Any]]:
    shown: dict[Duty, Mapping[str, Any]] = {}
    owners: dict[tuple[str, str], Duty] = {}
    for row in status:
        duty = (row["post"], row["account"])
        if duty in shown or row["occurrence"] != "once":
            verdict.wrong.append(f"planned twice: {_name(duty)}")
        shown[duty] = row
        if row["remote_id"] and owners.setdefault((row["account"], row["remote_id"]), duty) != duty:
            verdict.wrong.append(f"one post is claimed by two: {_name(duty)}")
    return shown


def _judge_one(
    verdict: Verdict, duty: Duty, wanted: str, *, made: Rows, row: Mapping[str, Any] | None, hold: str | None
) -> None:
    """Judge one duty by its line in the status and its copies on the platform."""
    if row is None:
        verdict.lost.append(f"not in the status: {_name(duty)}")
        return
    if hold in RULES:
        verdict.held[hold] += 1
        if made:
            verdict.wrong.append(f"held as {hold}, yet it was made: {_name(duty)}")
        return
    state = row["state"]
    if state != wanted:
        verdict.lost.append(f"{state} ({row['reason']}), not {wanted}: {_name(duty)}")
        return
    standing = [post["id"] for post in made if not post["removed"]]
    if standing != ([row["remote_id"]] if wanted == "published" else []):
        verdict.wrong.append(f"{state}, but on the platform stands {standing}: {_name(duty)}")


def _name(duty: Duty) -> str:
    return "@".join(duty)
