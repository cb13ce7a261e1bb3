"""Good runs: whatever may rightly happen is no violation, and the runs show all that may happen."""

import ast
import json
import re
import sys
from itertools import chain
from pathlib import Path

import pytest

from tests.chaos.checker.decoder import history_of
from tests.chaos.checker.transitions import STATES, STEPS
from tests.chaos.checker.verdict import INVARIANTS, judge_history
from tests.chaos.checker_tests.sound_runs import full_run, good_run

ROOT = Path(__file__).parents[3]
RUNS = 1000
OUTCOMES = {
    "published", "submitted", "rejected", "rate_limited", "busy", "credential_expired", "blocked", "not_sent",
    "unknown", None,
}  # fmt: skip
FINDINGS = {"published", "submitted", "rejected", "not_found", "possible_match", "deleted", "rate_limited", "unknown"}


@pytest.mark.parametrize("share", range(4))
def test_a_good_run_is_judged_whole_and_to_the_end(share):
    """A thousand good runs: every invariant is judged, and none is violated."""
    for seed in range(share, RUNS, 4):
        verdict = judge_history(history_of(good_run(seed)))
        found = [(finding.invariant.id, finding.why_not, finding.violations) for finding in verdict.findings]
        assert [item for item in found if item[1] or item[2]] == [], f"seed {seed}"


def test_the_good_runs_show_every_state_outcome_and_finding():
    """A generator that left something out would prove nothing about it."""
    runs = [full_run(1), *(good_run(seed) for seed in range(50))]
    tables = [run.rows for run in runs if run.rows]
    acts = list(chain.from_iterable(table["audit"] for table in tables))
    assert {act[name] for act in acts for name in ("before", "after")} - {None} == STATES
    assert {row["outcome"] for table in tables for row in table["attempt"]} == OUTCOMES
    assert {row["result"] for table in tables for row in table["readback"]} == FINDINGS


def test_the_table_of_steps_is_the_one_in_the_docs():
    """Written down twice, by two hands: a step that only one of them has is a mistake of one of them."""
    drawn: dict[tuple[str, str], tuple[frozenset[str], frozenset[str]]] = {}
    state = ""
    for line in (ROOT / "docs" / "states.md").read_text("utf-8").splitlines():
        if heading := re.fullmatch(r"## (\w+)", line):
            state = heading[1]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] not in {"event", "---"}:
            drawn[state, cells[0]] = (frozenset(cells[1].split(", ")), frozenset(cells[2].split(", ")))
    assert drawn == STEPS


def test_the_checker_knows_nothing_of_the_product():
    """It imports the standard library, psycopg and itself."""
    for file in (ROOT / "tests" / "chaos" / "checker").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                assert name.split(".")[0] in {*sys.stdlib_module_names, "psycopg", "checker"}, f"{file}: {name}"


def test_every_invariant_of_the_failure_model_has_its_check():
    """I1 to I25, in their order; and the page on the checker names each artefact that one of them needs."""
    assert [invariant.id for invariant in INVARIANTS] == [f"I{number}" for number in range(1, 26)]
    lines = (ROOT / "docs" / "checker.md").read_text("utf-8").splitlines()
    table = "\n".join(line for line in lines if line.startswith("| `"))
    assert {need for invariant in INVARIANTS for need in invariant.needs if need not in table} == set()


@pytest.mark.parametrize(("is_said", "is_kept"), [(True, True), (False, False)])
def test_a_journal_may_lack_what_it_says_it_has_removed(is_said, is_kept):
    """A compacted journal names the instant up to which lines are gone; without it they are missed."""
    run = full_run(1)
    (_line, oldest), *others = run.journal
    run.journal = [*([(1, {"kept_since": oldest["at"]})] if is_said else []), *others]
    assert (judge_history(history_of(run)).of("I3").word == "kept") is is_kept


def test_what_cannot_be_judged_is_said_and_never_passed():
    """Without an artefact, each invariant that needs it is not judged, and says what is missing; the others are."""
    for name in ("log", "plan", "orders", "settings"):
        run = full_run(2)
        run.lists.pop(name, None)
        run.documents.pop(name, None)
        verdict = judge_history(history_of(run))
        for finding in verdict.findings:
            is_needed = name in finding.invariant.needs
            assert (finding.word == "not judged") == is_needed, finding.invariant.id
            assert not is_needed or name in (finding.why_not or "")
    assert json.dumps(verdict.as_json())
