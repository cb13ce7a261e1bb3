"""The conformance kit itself: bad adapters must fail it, with the right rule."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from publisher.simulator.faults import FAULT_KINDS
from publisher.testing.conformance.faults import (
    ANSWERED_FAULTS,
    FAILED_READ_FAULTS,
    LATE_REPLY_FAULTS,
    UNKNOWN_OUTCOME_FAULTS,
    UNREADABLE_LIST_FAULTS,
)

ROOT = Path(__file__).parents[2]
BROKEN = re.compile(r"^FAILED .*::Test(\w+)::(\w+)(?:\[(.*)\])? - .*BrokenRuleError: (\w+):", re.MULTILINE)


@pytest.fixture(scope="module")
def broken():
    """Run the kit over the bad adapters, and return the rules that each broke, with the tests that found it."""
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, "tests/adapters/bad_adapters.py"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for who, test, what, rule in BROKEN.findall(run.stdout):
        found[who][rule].add(f"{test} {what}".strip())
    assert sum(len(tests) for rules in found.values() for tests in rules.values()) == run.stdout.count("FAILED ")
    return found


def test_the_kit_catches_a_lie_about_a_lost_reply_f21_f22_f24(broken):
    """NotSent after a timeout or a lost reply breaks the rule of honest outcomes, and nothing else."""
    assert set(broken["Hasty"]) == {"honest_outcome"}
    found = broken["Hasty"]["honest_outcome"]
    assert "test_unknown_outcome_stays_unknown drop_after" in found
    assert "test_unknown_outcome_stays_unknown truncate" in found
    assert "test_late_reply_is_unknown delay-seconds=1.5" in found


def test_the_kit_catches_a_stolen_post_f53_f55(broken):
    """Adopting the newest post of page one breaks both rules of reading."""
    rules = broken["Greedy"]
    assert set(rules) == {"matches_own_posts_only", "find_past_baseline"}
    assert "test_ignores_external_posts" in rules["matches_own_posts_only"]
    assert "test_finds_its_post_behind_many" in rules["find_past_baseline"]


def test_the_kit_uses_every_fault_of_the_simulator():
    """Each kind of fault is tried on some call, so that none is forgotten when one is added."""
    tried = {
        fault.kind
        for fault in (
            *UNKNOWN_OUTCOME_FAULTS,
            *LATE_REPLY_FAULTS,
            *ANSWERED_FAULTS,
            *UNREADABLE_LIST_FAULTS,
            *FAILED_READ_FAULTS,
        )
    }
    tried |= {"rewrite", "gone"}  # an adapter only passes it on: a post counts as removed after two reads
    assert tried >= set(FAULT_KINDS)
