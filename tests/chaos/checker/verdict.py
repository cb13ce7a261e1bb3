"""Every invariant, its required artefacts, and the verdict over a run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import approvals, creations, endings, records, safeguards, windows
from .artefacts import read_folder
from .decoder import history_of
from .history import History, NotJudgedError, Violation

Check = Callable[[History], Iterator[Violation]]
PLATFORMS = ("log", "posts")
STORE = ("database",)
CALLS = (*PLATFORMS, *STORE, "settings")
"""The artefacts that show the attempt of a call."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """One promise, and the artefacts that are needed to judge it."""

    id: str
    name: str
    check: Check
    needs: Sequence[str]


INVARIANTS: Sequence[Invariant] = (
    Invariant("I1", "at most one", creations.at_most_one, CALLS),
    Invariant(
        "I2",
        "no silent end",
        endings.nothing_ends_silently,
        (*STORE, "plan", "settings"),
    ),
    Invariant(
        "I3", "intent before call", creations.intent_before_call, (*CALLS, "journal")
    ),
    Invariant("I4", "sent as frozen", creations.sent_as_frozen, CALLS),
    Invariant(
        "I5", "approved by people", approvals.approved_by_people, (*STORE, "settings")
    ),
    Invariant("I6", "only in its window", windows.only_in_its_window, CALLS),
    Invariant(
        "I7", "unknown is never retried blindly", records.not_again_blindly, CALLS
    ),
    Invariant("I8", "published is true", creations.published_is_true, CALLS),
    Invariant("I9", "no loss", endings.nothing_is_lost, (*STORE, "plan", "settings")),
    Invariant("I10", "trouble raises an alert", endings.trouble_raises_alert, STORE),
    Invariant(
        "I11",
        "every live post is explained",
        creations.live_is_explained,
        (*CALLS, "plan"),
    ),
    Invariant("I12", "legal steps only", records.legal_steps, STORE),
    Invariant("I13", "one sender", creations.one_sender, CALLS),
    Invariant("I14", "pause holds", windows.pause_holds, (*CALLS, "actions")),
    Invariant("I15", "limits are kept", windows.limits_are_kept, CALLS),
    Invariant("I16", "retract wins", windows.retract_wins, (*CALLS, "actions")),
    Invariant("I17", "one occurrence once", records.once_each, (*STORE, "plan")),
    Invariant("I18", "the audit is whole", records.audit_is_whole, (*STORE, "actions")),
    Invariant(
        "I19", "secrets stay secret", safeguards.secrets_stay_secret, ("canaries",)
    ),
    Invariant("I20", "faults stay local", windows.faults_stay_local, ("timings",)),
    Invariant("I21", "one occurrence, one text", creations.one_text, STORE),
    Invariant(
        "I22", "reload is all or nothing", records.all_or_nothing, (*STORE, "plan")
    ),
    Invariant(
        "I23",
        "only allowed places",
        safeguards.only_allowed_places,
        (*STORE, "settings"),
    ),
    Invariant("I24", "bounded", safeguards.bounded, ("metrics", "settings")),
    Invariant(
        "I25", "replayable", safeguards.replayable, (*PLATFORMS, *STORE, "replay")
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvariantFinding:
    """The findings on one invariant. `why_not` is the reason why it was not fully judged."""

    invariant: Invariant
    violations: Sequence[Violation]
    why_not: str | None

    @property
    def word(self) -> str:
        return (
            "violated" if self.violations else "not judged" if self.why_not else "kept"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVerdict:
    findings: Sequence[InvariantFinding]

    @property
    def is_whole(self) -> bool:
        return not any(finding.violations for finding in self.findings)

    @property
    def judged(self) -> int:
        return sum(finding.word != "not judged" for finding in self.findings)

    def of(self, invariant: str) -> InvariantFinding:
        return next(
            finding for finding in self.findings if finding.invariant.id == invariant
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "whole": self.is_whole,
            "judged": self.judged,
            "invariants": [_as_json(finding) for finding in self.findings],
        }


def _as_json(finding: InvariantFinding) -> dict[str, Any]:
    return {
        "id": finding.invariant.id,
        "name": finding.invariant.name,
        "verdict": finding.word.replace(" ", "_"),
        "why_not": finding.why_not,
        "violations": [
            {"subject": one.subject, "what": one.what, "evidence": list(one.evidence)}
            for one in finding.violations
        ],
    }


def judge(folder: Path) -> RunVerdict:
    """Judge the run in a folder of artefacts. Raises ValueError if they cannot be understood."""
    return judge_history(history_of(read_folder(folder)))


def judge_history(history: History) -> RunVerdict:
    return RunVerdict(
        findings=[judge_invariant(invariant, history) for invariant in INVARIANTS]
    )


def judge_invariant(invariant: Invariant, history: History) -> InvariantFinding:
    missing = [name for name in invariant.needs if name not in history.given]
    if missing:
        return InvariantFinding(
            invariant=invariant, violations=(), why_not=f"missing: {', '.join(missing)}"
        )
    violations: list[Violation] = []
    try:
        for violation in invariant.check(history):
            # what was found before a check gives up still counts
            violations.append(violation)  # noqa: PERF402
    except NotJudgedError as error:
        return InvariantFinding(
            invariant=invariant, violations=violations, why_not=str(error)
        )
    return InvariantFinding(invariant=invariant, violations=violations, why_not=None)
