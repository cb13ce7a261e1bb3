"""The tests of each fault of docs/failure-model.md, and the page that a run of them writes.

A case names its faults itself (`id="F30-html"`); where it does not, its test does, in the function's name
(`test_f07_…`) or in the first line of its docstring (`F07: …`, `F28 to F37`).
"""

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "docs" / "failure-model.md"
PAGE = ROOT / "docs" / "faults.md"
HEAD = """\
# Faults and the tests that show them

<!-- Written by scripts/test --faults; edits here are overwritten. -->

What must follow from each fault stands in [failure-model.md](failure-model.md). This page lists the tests that name
it, as files and functions under `tests/`, and what came of each when it was last run.

{run}
"""
FINISHED = ("failed", "passed", "skipped")
FAULTS = "faults"
REMEMBERED = "faults/results"
"""Where pytest keeps each test's last result: a run of a part changes that part only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row of the failure model."""

    number: str
    wrong: str
    now: str


def faults() -> list[Fault]:
    """Return the faults of the failure model, in order."""
    lines = MODEL.read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| F\d\d \|", line)]
    return [Fault(number=row[0], wrong=row[1], now=row[4]) for row in cells]


def numbers_in(name: str, docstring: str | None) -> frozenset[str]:
    """Return the faults that a test names; `name` may end with its case in brackets."""
    function, _, case = name.partition("[")
    promise = (docstring or "").strip().partition("\n")[0]
    if its_own := re.findall(r"\bF\d\d\b", case):
        return frozenset(its_own)
    found = {f"F{number}" for number in re.findall(r"(?:_|^)f(\d\d)(?=_|$)", function)}
    found |= set(re.findall(r"\bF\d\d\b", promise))
    for first, last in re.findall(r"\bF(\d\d)(?:-| to )F(\d\d)\b", promise):
        found |= {f"F{number:02}" for number in range(int(first), int(last) + 1)}
    return frozenset(found)


def numbers_of(item: pytest.Item) -> frozenset[str]:
    if item.nodeid.startswith("tests/repo/"):  # these are about the numbers themselves
        return frozenset()
    return numbers_in(item.name, getattr(getattr(item, "function", None), "__doc__", None))


class FaultReport:
    """Runs the tests that name a fault, and no others, and writes the last result of each to the page."""

    def __init__(self, config: pytest.Config) -> None:
        self.is_whole = config.args == config.getini("testpaths")
        self.is_worker = hasattr(config, "workerinput")
        self.shown: dict[str, list[str]] = {}
        self.outcomes: dict[str, str] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        named = {item.nodeid: numbers_of(item) for item in items}
        config.hook.pytest_deselected(items=[item for item in items if not named[item.nodeid]])
        items[:] = [item for item in items if named[item.nodeid]]
        for item in items:
            item.user_properties.append((FAULTS, sorted(named[item.nodeid])))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            worst = min(report.outcome, self.outcomes.get(report.nodeid, report.outcome))  # failed, passed, skipped
            self.outcomes[report.nodeid] = worst
            self.shown[report.nodeid] = dict(report.user_properties).get(FAULTS, [])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.is_worker or not self.outcomes or session.config.cache is None:
            return
        reported = {nodeid: [self.outcomes[nodeid], *faults] for nodeid, faults in self.shown.items()}
        earlier = {} if self.is_whole else session.config.cache.get(REMEMBERED, {})
        results = {**earlier, **reported}
        session.config.cache.set(REMEMBERED, results)
        PAGE.write_text(page(results), "utf-8")


def page(results: Mapping[str, Sequence[str]]) -> str:
    """Return the page, given the result of each test followed by the faults that it names."""
    run = f"The last run was of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, on {_commit()}: {_counted(results.values())}."
    lines = ["| fault | what goes wrong | tests | result |", "|---|---|---|---|"]
    for fault in faults():
        shown = {nodeid: reported for nodeid, reported in sorted(results.items()) if fault.number in reported}
        remark = "" if fault.now == "done" else f"**{fault.now}**"
        result = "<br>".join(filter(None, [_counted(shown.values()), remark]))
        lines.append(f"| {' | '.join([fault.number, fault.wrong, _listed(shown), result])} |")
    return HEAD.format(run=run) + "\n" + "\n".join(lines) + "\n"


def _listed(tests: Iterable[str]) -> str:
    """List tests file by file, each function once, with the number of its cases."""
    files: dict[str, Counter[str]] = {}
    for test in tests:
        file, _, name = test.removeprefix("tests/").partition("::")
        files.setdefault(file, Counter())[name.partition("[")[0]] += 1
    return "<br>".join(
        f"{file}: " + ", ".join(f"`{name}`" + (f" ({number})" if number > 1 else "") for name, number in names.items())
        for file, names in files.items()
    )


def _counted(results: Iterable[Sequence[str]]) -> str:
    reported = Counter(outcome for outcome, *_numbers in results)
    return ", ".join(f"{reported[outcome]} {outcome}" for outcome in FINISHED if reported[outcome])


def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD")
    if not commit:
        return "no commit"
    return f"commit {commit}" + (" with changes that were not committed yet" if _git("status", "--porcelain") else "")


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
