"""Every invariant, what it needs to be judged, and the verdict over a run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import ended, guarded, kept, made, timed
from .history import History, NotJudgedError, Violation
from .reading import read_folder
from .shaping import history_of

Check = Callable[[History], Iterator[Violation]]
PLATFORMS = ("log", "posts")
STORE = ("database",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """One promise, and the artefacts without which nobody can say whether it was kept."""

    id: str
    name: str
    check: Check
    needs: Sequence[str]


INVARIANTS: Sequence[Invariant] = (
    Invariant(id="I1", name="at most one", check=made.at_most_one, needs=(*PLATFORMS, *STORE, "settings")),
    Invariant(id="I2", name="no silent end", check=ended.nothing_ends_silently, needs=(*STORE, "plan", "settings")),
    Invariant(
        id="I3",
        name="intent before call",
        check=made.intent_before_call,
        needs=(*PLATFORMS, *STORE, "journal", "settings"),
    ),
    Invariant(id="I4", name="sent as frozen", check=made.sent_as_frozen, needs=(*PLATFORMS, *STORE, "settings")),
    Invariant(id="I5", name="two people", check=guarded.two_people, needs=(*STORE, "plan", "approvals")),
    Invariant(
        id="I6", name="only in its window", check=timed.only_in_its_window, needs=(*PLATFORMS, *STORE, "settings")
    ),
    Invariant(
        id="I7",
        name="unknown is never retried blindly",
        check=kept.not_again_blindly,
        needs=(*PLATFORMS, *STORE, "settings"),
    ),
    Invariant(id="I8", name="published is true", check=made.published_is_true, needs=(*PLATFORMS, *STORE, "settings")),
    Invariant(id="I9", name="no loss", check=ended.nothing_is_lost, needs=(*STORE, "plan", "settings")),
    Invariant(id="I10", name="trouble is told", check=ended.trouble_is_told, needs=STORE),
    Invariant(
        id="I11",
        name="every live post is explained",
        check=made.live_is_explained,
        needs=(*PLATFORMS, *STORE, "plan", "settings"),
    ),
    Invariant(id="I12", name="legal steps only", check=kept.legal_steps, needs=STORE),
    Invariant(id="I13", name="one sender", check=made.one_sender, needs=(*PLATFORMS, *STORE, "settings")),
    Invariant(id="I14", name="pause holds", check=timed.pause_holds, needs=(*PLATFORMS, *STORE, "orders", "settings")),
    Invariant(id="I15", name="limits are kept", check=timed.limits_are_kept, needs=(*PLATFORMS, *STORE, "settings")),
    Invariant(
        id="I16", name="retract wins", check=timed.retract_wins, needs=(*PLATFORMS, *STORE, "orders", "settings")
    ),
    Invariant(id="I17", name="one occurrence once", check=kept.once_each, needs=(*STORE, "plan")),
    Invariant(id="I18", name="the audit is whole", check=kept.audit_is_whole, needs=(*STORE, "orders")),
    Invariant(id="I19", name="secrets stay secret", check=guarded.secrets_stay_secret, needs=("canaries",)),
    Invariant(id="I20", name="faults stay local", check=timed.faults_stay_local, needs=("timings",)),
    Invariant(id="I21", name="one occurrence, one text", check=made.one_text, needs=STORE),
    Invariant(id="I22", name="reload is all or nothing", check=kept.all_or_nothing, needs=(*STORE, "plan")),
    Invariant(id="I23", name="only allowed places", check=guarded.only_allowed_places, needs=(*STORE, "settings")),
    Invariant(id="I24", name="bounded", check=guarded.bounded, needs=("metrics", "settings")),
    Invariant(id="I25", name="replayable", check=guarded.replayable, needs=(*PLATFORMS, *STORE, "replay")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of one invariant. `why_not` says why it was not judged, as a whole or to the end."""

    invariant: Invariant
    violations: Sequence[Violation]
    why_not: str | None

    @property
    def word(self) -> str:
        return "violated" if self.violations else "not judged" if self.why_not else "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    findings: Sequence[Finding]

    @property
    def is_whole(self) -> bool:
        return not any(finding.violations for finding in self.findings)

    @property
    def judged(self) -> int:
        return sum(finding.word != "not judged" for finding in self.findings)

    def of(self, invariant: str) -> Finding:
        return next(finding for finding in self.findings if finding.invariant.id == invariant)

    def as_json(self) -> dict[str, Any]:
        return {
            "whole": self.is_whole,
            "judged": self.judged,
            "invariants": [_as_json(finding) for finding in self.findings],
        }


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.invariant.id,
        "name": finding.invariant.name,
        "verdict": finding.word.replace(" ", "_"),
        "why_not": finding.why_not,
        "violations": [
            {"subject": one.subject, "what": one.what, "evidence": list(one.evidence)} for one in finding.violations
        ],
    }


def judge(folder: Path) -> Verdict:
    """Judge the run whose artefacts stand in a folder. Raises ValueError when they cannot be understood."""
    return judge_history(history_of(read_folder(folder)))


def judge_history(history: History) -> Verdict:
    return Verdict(findings=[_judged(invariant, history) for invariant in INVARIANTS])


def _judged(invariant: Invariant, history: History) -> Finding:
    missing = [name for name in invariant.needs if name not in history.given]
    if missing:
        return Finding(invariant=invariant, violations=(), why_not=f"missing: {', '.join(missing)}")
    violations: list[Violation] = []
    try:
        for violation in invariant.check(history):
            violations.append(violation)  # noqa: PERF402 # what was found before a check gives up still counts
    except NotJudgedError as error:
        return Finding(invariant=invariant, violations=violations, why_not=str(error))
    return Finding(invariant=invariant, violations=violations, why_not=None)
