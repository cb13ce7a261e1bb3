"""The verdict, from what the platforms saw and what staff are shown.

The database are asked for two things that no platform can know: which answers were heard, and what they were taken for.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.checker.shaping import post_id
from tests.chaos.faults import CREATING, REFUSED, RETRY_AFTER

NUMBER = re.compile(r"第(\d{4})期")
"""The number in a post's title, by which its copies are known on every platform."""
RULES = frozenset({"not_published_twice", "poison", "original_held"})
"""The holds that a rule demands after deaths and lost replies: a second absence, a delivery that was in the hand of
three workers that died, and what follows a post that is held itself. There may be few: a daemon could hold too soon."""
ABSENT = "not_published"
"""The hold of a first absence: always right where the platform allows no other call, however many there are."""
NOT_LIVE = frozenset({"held", "failed", "expired", "cancelled", "retracted", "removed"})
UNMADE = frozenset({*RULES, ABSENT, "captcha"})
"""Holds of what was never made."""
UNSEEN = frozenset({"uncheckable", "undeletable"})
"""Holds of what no list ever shows: only what is mass-sent may end so, made or not, and there may be few."""
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
REFUSALS = ("api_error",)
"""Faults of which one must have struck an account for each of its deliveries that failed."""
REFUSED_AS = frozenset(f"{platform}_{code}" for platform, code in REFUSED.items())
"""The codes that refuse for good; anyone who takes another one for a refusal has lost a post."""
SLACK, HEARD_WITHIN = 0.3, 2.0
TOO_MANY = 429
FOREIGN = "wrong_account"
LONG_AGO = float("-inf")
MAKING = frozenset(endpoint for endpoints in CREATING.values() for endpoint in endpoints)
MOST_HELD, FEW_HELD = 0.05, 25
"""Share of the duties that may be held; a small campaign kills each of them more often, so some always may."""
BY_PEOPLE = frozenset({"edited"})
"""Holds that the campaign's own people bring about, as often as they edit; they count for nothing in that share."""

ONE_OFF = "post-"
"""Begins the posts that are judged here; what repeats is for the checker."""
MINUTELY_TITLE = "每分钟提醒"

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
    early: list[str] = field(default_factory=list)
    too_many: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    refused: int = 0
    held: Counter[str] = field(default_factory=Counter)

    @property
    def violations(self) -> list[str]:
        return [*self.doubles, *self.lost, *self.wrong, *self.early, *self.too_many, *self.complaints, *self.missed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What was asked for: the state in which each duty must end (or one of several, divided by `|`), the platform's own
    name of each account, which post follows which, which were edited on their way, the accounts whose platform allows
    no second call, and the duties that are mass-sent.
    """

    wanted: Mapping[Duty, str]
    identities: Mapping[str, str]
    follows: Mapping[str, str] = field(default_factory=dict)
    edited: frozenset[str] = frozenset()
    only_once: frozenset[str] = frozenset()
    mass_sent: frozenset[Duty] = frozenset()


@dataclass(slots=True)
class Seen:
    """What the log reports: the posts that were created, and how often each kind of fault struck each account."""

    created: list[str] = field(default_factory=list)
    struck: Counter[tuple[str, str]] = field(default_factory=Counter)
    hasty: list[tuple[str, float, float]] = field(default_factory=list)
    """Account, instant of a 429, and of a creating call soon after it."""
    foreign: list[tuple[str, float]] = field(default_factory=list)
    """Account, and instant of an answer that named another one."""

    def explains(self, account: str, kinds: Sequence[str]) -> bool:
        """Whether one more such fault struck the account; it is used up."""
        found = next((kind for kind in kinds if self.struck[account, kind] > 0), None)
        if found:
            self.struck[account, found] -= 1
        return found is not None


def judge(
    task: Task,
    log: Iterable[Mapping[str, Any]],
    posts: Iterable[Mapping[str, Any]],
    status: Rows,
    *,
    heard: Iterable[tuple[str, float]] = (),
    believed: Iterable[tuple[str, float, str | None]] = (),
) -> Verdict:
    """Compare what was asked for with the platforms and the status.

    `heard` names the accounts, by the platform's name, and the instants at which an answer to wait was heard: one that
    was lost on its way asks for nothing. `believed` reports every call, in order: its account, its beginning, and for
    what its answer was taken.
    """
    verdict, wanted = Verdict(), task.wanted
    seen = _read_log(log)
    verdict.early += _too_early(seen, heard)
    verdict.wrong += _credulous(seen, believed)
    copies = _copies(verdict, task, seen.created, posts)
    shown = _shown(verdict, status)
    for duty, state in wanted.items():
        row = shown.get(duty)
        hold = row and hold_of(row, shown, task)
        _judge_one(
            verdict,
            duty,
            state,
            made=copies[duty],
            row=row,
            hold=hold and _excused(hold, duty, task, seen),
        )
        if row and _was_refused(row) and not copies[duty] and seen.explains(task.identities[duty[1]], REFUSALS):
            verdict.lost.pop()
            verdict.refused += 1
    verdict.wrong += [f"in the status, but never planned: {_name(duty)}" for duty in shown.keys() - wanted.keys()]
    held = sum(number for reason, number in verdict.held.items() if reason not in BY_PEOPLE)
    if held > max(FEW_HELD, MOST_HELD * len(wanted)):
        share = 100 * held / len(wanted)
        verdict.too_many.append(f"{held} of {len(wanted)} held by rule, {share:.1f} %: {dict(verdict.held)}")
    return verdict


def _was_refused(row: Mapping[str, Any]) -> bool:
    return row["state"] == "failed" and row["reason"] in REFUSED_AS


def _read_log(log: Iterable[Mapping[str, Any]]) -> Seen:
    """Go through the log once."""
    seen, asked = Seen(), dict[str, float]()
    for entry in log:
        account, kind = entry.get("account", ""), entry["kind"]
        if kind == "act" and entry["endpoint"] and entry["post_id"] and not entry.get("thread"):
            seen.created.append(entry["post_id"])
        if kind != "recv":
            if kind == "reply" and entry["status"] == TOO_MANY:
                asked[account] = entry["t"]
            if kind == "reply" and FOREIGN in (entry["fault"] or "").split("+"):
                seen.foreign.append((account, entry["t"]))
            continue
        if entry["endpoint"] in MAKING and entry["t"] < asked.get(account, LONG_AGO) + RETRY_AFTER - SLACK:
            seen.hasty.append((account, asked[account], entry["t"]))
        for fault in (entry["fault"] or "").split("+"):
            seen.struck[account, fault] += 1
    return seen


def _too_early(seen: Seen, heard: Iterable[tuple[str, float]]) -> Iterable[str]:
    """Report the calls that came while the platform had asked, and was heard to ask, for a wait."""
    known = set(heard) if seen.hasty else set()
    for account, asked, called in seen.hasty:
        if any(who == account and asked - SLACK <= at <= min(called, asked + HEARD_WITHIN) for who, at in known):
            yield f"called {called - asked:.1f} s after a 429 on {account}, not {RETRY_AFTER}"


def _credulous(seen: Seen, believed: Iterable[tuple[str, float, str | None]]) -> Iterable[str]:
    """Report the calls that were believed although the answer named another account."""
    calls = list(believed) if seen.foreign else []
    for account, at in seen.foreign:
        begun = [outcome for who, begun, outcome in calls if who == account and begun <= at]
        if begun and begun[-1] == "published":
            yield f"took an answer for its own that named another account: {account}"


def _excused(hold: str, duty: Duty, task: Task, seen: Seen) -> str | None:
    """Give the hold if a rule demands it here."""
    if hold in RULES or (hold == "edited" and duty[0] in task.edited):
        return hold
    if hold == ABSENT and duty[1] in task.only_once and duty not in task.mass_sent:
        return hold
    if duty in task.mass_sent and hold == ("undeletable" if "retracted" in task.wanted[duty] else "uncheckable"):
        return hold
    return hold if seen.explains(task.identities[duty[1]], EXPLAINED.get(hold, ())) else None


def hold_of(row: Mapping[str, Any], shown: Mapping[Duty, Mapping[str, Any]], task: Task) -> str | None:
    """Name the rule for which a duty waits for a person; None when it does not."""
    if row["state"] == "held":
        return str(row["reason"])
    original = shown.get((task.follows.get(row["post"], ""), row["account"]))
    is_without = row["state"] in {"pending", "due"} or row["reason"] == "original_not_published"
    return "original_held" if is_without and original is not None and original["state"] in NOT_LIVE else None


def _copies(
    verdict: Verdict, task: Task, created: Sequence[str], posts: Iterable[Mapping[str, Any]]
) -> Mapping[Duty, list[Mapping[str, Any]]]:
    """Give the platform's copies for each duty; report doubles, and copies that nobody planned."""
    duties = {(post.rsplit("-", 1)[1], task.identities[account]): (post, account) for post, account in task.wanted}
    by_id = {post["id"]: _known_by(post) for post in posts}
    verdict.creations = len(created)
    copies: dict[Duty, list[Mapping[str, Any]]] = defaultdict(list)
    for made_id in created:
        post = by_id[made_id]
        duty = duties.get((post["number"], post["account"]))
        if post["is_minutely"]:
            continue
        if duty is None:
            verdict.wrong.append(f"on {post['account']} stands what nobody planned: {made_id}")
        else:
            copies[duty].append(post)
    for duty, made in copies.items():
        if len(made) > 1:
            verdict.doubles.append(f"made {len(made)} times: {_name(duty)}")
    return copies


def _known_by(post: Mapping[str, Any]) -> Mapping[str, Any]:
    """What of a post is needed; there may be very many."""
    number = NUMBER.search(post["title"] or post["text"])
    return {
        **{name: post[name] for name in ("id", "account", "removed")},
        "number": number[1] if number else "",
        "is_minutely": MINUTELY_TITLE in f"{post['title']} {post['text']}",
    }


def is_at_rest(unfinished: Iterable[tuple[str, str, str, str | None]], held: Collection[tuple[str, str]]) -> bool:
    """Whether all that has not ended is waiting for a post that a person has to decide on first."""
    return all(
        state in {"pending", "due"} and follows is not None and (follows, account) in held
        for _post, account, state, follows in unfinished
    )


def _shown(verdict: Verdict, status: Rows) -> Mapping[Duty, Mapping[str, Any]]:
    shown: dict[Duty, Mapping[str, Any]] = {}
    owners: dict[tuple[str, str], Duty] = {}
    for row in status:
        duty = (row["post"], row["account"])
        if not row["post"].startswith(ONE_OFF):
            continue
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
    if hold:
        verdict.held[hold] += 1
        if made and hold in UNMADE:
            verdict.wrong.append(f"held as {hold}, yet it was made: {_name(duty)}")
        return
    state = row["state"]
    if state not in wanted.split("|"):
        verdict.lost.append(f"{state} ({row['reason']}), not {wanted}: {_name(duty)}")
        return
    standing = [post["id"] for post in made if not post["removed"]]
    if standing != ([post_id(row["remote_id"])] if state == "published" else []):
        verdict.wrong.append(f"{state}, but on the platform stands {standing}: {_name(duty)}")


def _name(duty: Duty) -> str:
    return "@".join(duty)
