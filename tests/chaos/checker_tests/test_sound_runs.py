"""A good run: a permitted event is no violation, and the run shows every permitted event."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from tests.chaos.artefacts import LISTED
from tests.chaos.checker.decoder import history_of
from tests.chaos.checker.transitions import STATES, STEPS
from tests.chaos.checker.verdict import INVARIANTS, judge_history
from tests.chaos.checker_tests.broken_actions import expire_on_the_way, pause_on_the_way
from tests.chaos.checker_tests.mutation import HOUR

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[3]
OUTCOMES = {
    "published", "submitted", "rejected", "rate_limited", "busy", "credential_expired", "blocked",
    "not_sent", "unknown", None,
}  # fmt: skip
FINDINGS = {
    "published",
    "submitted",
    "rejected",
    "not_found",
    "possible_match",
    "deleted",
    "rate_limited",
    "unknown",
}


@pytest.mark.parametrize("fixture", ["run", "exact_run"])
def test_the_sample_run_is_judged_whole_and_to_the_end(request, fixture):
    """Every invariant is judged and none is violated, with and without true instants of rows."""
    verdict = judge_history(history_of(request.getfixturevalue(fixture)))
    found = [
        (finding.invariant.id, finding.why_not, finding.violations)
        for finding in verdict.findings
    ]
    assert [item for item in found if item[1] or item[2]] == []


def test_the_sample_run_shows_every_state_outcome_and_finding(run):
    """A run that left something out would prove nothing about it."""
    rows = run.rows
    assert {act[name] for act in rows["audit"] for name in ("before", "after")} - {
        None
    } == STATES
    assert {row["outcome"] for row in rows["attempt"]} == OUTCOMES
    assert {row["result"] for row in rows["readback"]} == FINDINGS


def recover_from_the_journal(run):
    """An older database had another number for the delivery, and took the call from a journal."""
    line = next(
        line
        for _number, line in run.journals[0]
        if line["delivery"] == run.row("found")["id"]
    )
    line["delivery"] += 500
    calls = [{name: line[name] for name in ("rendered_hash", "at")}]
    run.add_row(
        "audit",
        run.rows["audit"][0],
        event="attempts_recovered",
        detail=json.dumps({"calls": calls}),
    )


def recover_two_calls(run):
    """A failover lost a refused call and the next one; both came back from a journal."""
    calls = run.attempts("busy")[:2]
    calls[0].update(outcome=None, detail=None)
    detail = {
        "calls": [
            {"rendered_hash": one["rendered_hash"], "at": one["intended_at"] / 1e6}
            for one in calls
        ]
    }
    run.add_row(
        "audit",
        run.rows["audit"][0],
        event="attempts_recovered",
        detail=json.dumps(detail),
    )


def hold_up(run):
    """The network keeps a call until its outcome is unknown and the account's next call is sent."""
    call, [first] = run.call("found"), run.attempts("found")
    after = next(
        one
        for one in run.rows["attempt"]
        if one["login"] == first["login"] and one["id"] > first["id"]
    )
    first["ended_at"] = after["intended_at"] - 1_000_000
    for entry in (
        one for one in run.lists["log"] if call["seq"] in {one["seq"], one.get("call")}
    ):
        entry["t"] = after["intended_at"] / 1e6 + 0.001
    call["began"] = call["t"]


def post_as_a_person(run):
    """A person makes a post that was prepared, and no call of ours does."""
    call, made = run.call("plain"), run.entry(run.copy("plain"), "act")
    run.lists["log"] = [
        one
        for one in run.lists["log"]
        if call["seq"] not in {one["seq"], one.get("call")}
    ]
    run.add_entry(made, endpoint=None, call=None)


def push_off_the_list(run):
    """A person posts so much between two looks that the first post is never on a look's list."""
    run.add_unknown_post(later=LISTED["weibo"])


def see_when_known(run):
    """A person's post during an open call may be that call's, and is reported with the outcome."""
    run.see_late(2 * HOUR)


def drop_the_rest(run):
    """Posts leave the schedule while the rest of a large version is planned. A small one follows."""
    run.documents["settings"]["together"] = 2
    run.documents["plan"]["versions"][3]["duties"] += [
        [f"rest-{number}", "once", "weibo-a"] for number in range(3)
    ]


@pytest.mark.parametrize(
    ("invariant", "change"),
    [
        ("I3", recover_from_the_journal),
        ("I3", hold_up),
        ("I6", expire_on_the_way),
        ("I7", recover_two_calls),
        ("I11", push_off_the_list),
        ("I11", see_when_known),
        ("I14", pause_on_the_way),
        ("I22", drop_the_rest),
        *((invariant, post_as_a_person) for invariant in ("I1", "I3", "I8", "I11")),
    ],
)
def test_what_may_rightly_happen_is_no_violation(run, invariant, change):
    """Events that the simulation cannot cause, but the real world can, are no violation."""
    change(run)
    assert judge_history(history_of(run)).of(invariant).violations == []


def test_the_table_of_steps_is_the_one_in_the_docs():
    """The table of steps is the same in code and docs. A step in only one of them is a mistake."""
    drawn: dict[tuple[str, str], tuple[frozenset[str], frozenset[str]]] = {}
    state = ""
    for line in (ROOT / "docs" / "states.md").read_text("utf-8").splitlines():
        if heading := re.fullmatch(r"## (\w+)", line):
            state = heading[1]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] not in {"event", "---"}:
            drawn[state, cells[0]] = (
                frozenset(cells[1].split(", ")),
                frozenset(cells[2].split(", ")),
            )
    assert drawn == STEPS


def test_the_checker_knows_nothing_of_the_product():
    """It imports the standard library, psycopg and itself."""
    for file in (ROOT / "tests" / "chaos" / "checker").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            names += (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom) and not node.level
                else []
            )
            for name in names:
                assert name.split(".")[0] in {
                    *sys.stdlib_module_names,
                    "psycopg",
                    "checker",
                }, f"{file}: {name}"


def test_every_invariant_of_the_failure_model_has_its_check():
    """I1 to I25 have checks in order, and the page on the checker names each needed artefact."""
    assert [invariant.id for invariant in INVARIANTS] == [
        f"I{number}" for number in range(1, 26)
    ]
    lines = (ROOT / "docs" / "checker.md").read_text("utf-8").splitlines()
    table = "\n".join(line for line in lines if line.startswith("| `"))
    assert {
        need
        for invariant in INVARIANTS
        for need in invariant.needs
        if need not in table
    } == set()


@pytest.mark.parametrize(
    ("is_said", "is_old", "word"),
    [(1, 1, "kept"), (0, 1, "violated"), (1, 0, "violated")],
)
def test_a_journal_may_lack_old_lines_that_it_says_it_has_removed(
    run, is_said, is_old, word
):
    """A compacted journal names the instant of its newest removed line.

    Lines younger than 90 days are never removed.
    """
    [[(_line, oldest), *others]] = run.journals
    run.journals = [
        [*([(1, {"kept_since": oldest["at"]})] if is_said else []), *others]
    ]
    last = run.rows["audit"][-1]
    run.add_row("audit", last, at=last["at"] + (91 if is_old else 1) * 86_400_000_000)
    assert judge_history(history_of(run)).of("I3").word == word


def test_a_compacted_journal_excuses_no_other(run):
    """The second host's journal was never compacted, so a missing line may have been its own."""
    [[(_line, oldest), *others]] = run.journals
    run.journals = [[(1, {"kept_since": oldest["at"]}), *others], []]
    last = run.rows["audit"][-1]
    run.add_row("audit", last, at=last["at"] + 91 * 86_400_000_000)
    assert judge_history(history_of(run)).of("I3").word == "violated"


@pytest.mark.parametrize("name", ["log", "plan", "actions", "settings"])
def test_what_cannot_be_judged_is_said_and_never_passed(run, name):
    """Without an artefact, each invariant that needs it is not judged and says so. Others are."""
    run.lists.pop(name, None)
    run.documents.pop(name, None)
    verdict = judge_history(history_of(run))
    for finding in verdict.findings:
        is_needed = name in finding.invariant.needs
        assert (finding.word == "not judged") == is_needed, finding.invariant.id
        assert not is_needed or name in (finding.why_not or "")
    assert json.dumps(verdict.as_json())
