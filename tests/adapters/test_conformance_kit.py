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
    UNKNOWN_OUTCOME_FAULTS,
    UNREADABLE_LIST_FAULTS,
)
from tests.adapters.receiver import KEY

ROOT = Path(__file__).parents[2]
BAD_ADAPTERS = "tests/adapters/bad_adapters.py"
MIN_FAULTS_OF_A_DOUBLE = 30
"""How many checks need a fault that the double of the webhook makes itself."""
SIDE_EFFECTS = {
    "Greedy": {"fault_has_effect"},
    "Wordless": {"fault_has_effect"},
    "Talkative": {"probe_reports_failure"},
}
"""Rules that a bug breaks as a consequence.

A fault finds nothing to change in the adapter's calls or words, or the adapter's probe lies.
"""
BROKEN = re.compile(
    r"^FAILED .*::Test(\w+)::(\w+)(?:\[(.*)\])? - .*BrokenRuleError: (\w+):",
    re.MULTILINE,
)


PLANTED = {
    "Hasty": {"honest_outcome": "test_unknown_outcome_stays_unknown drop_after"},
    "Opaque": {
        "server_error_is_named": "test_a_server_error_is_no_changed_interface status-code=503"
    },
    "Greedy": {
        "matches_own_posts_only": "test_ignores_external_posts",
        "find_past_baseline": "test_finds_its_post_behind_many",
    },
    "Fooled": {"matches_own_posts_only": "test_ignores_lookalikes none"},
    "BlindInList": {
        "right_account_only": "test_a_list_of_another_account_proves_nothing"
    },
    "BlindInRecent": {
        "right_account_only": "test_recent_posts_of_another_account_are_not_shown"
    },
    "BlindInProbe": {
        "right_account_only": "test_a_login_of_another_account_is_blocked"
    },
    "BlindInTicket": {
        "right_account_only": "test_a_post_of_another_account_is_not_followed"
    },
    "Forgetful": {"one_idempotency_key": "test_all_attempts_carry_one_key"},
    "Trusting": {
        "retraction_confirmed": "test_unknown_result_is_not_claimed html-code=404"
    },
    "Plain": {"whole_content": "test_publishes_all_of_it_for_all"},
    "Thrifty": {"whole_content": "test_publishes_every_picture"},
    "Wordless": {"whole_content": "test_publishes_all_of_it_for_all"},
    "Unlinked": {"whole_content": "test_publishes_all_of_it_for_all"},
    "Private": {"visible_to_all": "test_publishes_all_of_it_for_all"},
    "Nostalgic": {
        "matches_own_posts_only": "test_ignores_posts_from_before_the_baseline newest known"
    },
    "Willful": {"client_given": "test_finds_its_post_behind_many"},
    "Talkative": {"no_secret_leaks": "test_never_leaks_a_secret None"},
    "Creative": {"one_create": "test_ignores_external_posts"},
    "Linkless": {"length_measured": "test_counts_links"},
    "Impatient": {"find_past_baseline": "test_waits_out_what_the_platform_does_late"},
    "Careless": {"whole_content": "test_publishes_nothing_without_its_pictures html"},
    "Wasteful": {"media_stored_once": "test_stores_its_pictures_once"},
    "Lying": {"fault_has_effect": "test_never_claims_more_than_the_reply captcha"},
    "Defective": {"fault_has_effect": "test_unknown_outcome_stays_unknown no_id"},
}
"""The planted bugs, each with the rules it breaks.

For each rule, one test that must find it is named.
"""


def run_kit(*options):
    """Run the kit over the bad adapters.

    Return the rules that each adapter broke, with the tests, and all the printed output.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rf",
        "--tb=no",
        "-p",
        "no:cacheprovider",
    ]
    run = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for who, test, what, rule in BROKEN.findall(run.stdout):
        found[who][rule].add(f"{test} {what}".strip())
    assert sum(
        len(tests) for rules in found.values() for tests in rules.values()
    ) == run.stdout.count("FAILED ")
    return found, run.stdout


@pytest.fixture(scope="module")
def broken():
    """Run the tests that must find the planted bugs, and no others."""
    tests = {
        (bug, test.partition(" ")[0], test.partition(" ")[2])
        for bug, rules in PLANTED.items()
        for test in rules.values()
    }
    names = [
        f"Test{bug}::{test}" + (f"[{case}]" if case else "")
        for bug, test, case in tests
    ]
    return run_kit(*(f"{BAD_ADAPTERS}::{name}" for name in sorted(names)))


@pytest.mark.long
@pytest.mark.parametrize("bug", PLANTED)
def test_the_kit_catches_a_planted_bug_f21_f22_f24_f53_f55(broken, bug):
    """Each planted bug breaks its rule, in the test that is meant for it."""
    found, _ = broken
    for rule, test in PLANTED[bug].items():
        assert test in found[bug][rule]


@pytest.mark.long
def test_a_secret_in_the_open_is_located(broken):
    """A failure names the field of an exposed secret and its location.

    It quotes the place without the secret.
    """
    _, printed = broken
    assert (
        "no_secret_leaks: key is in the result of check_health: Unknown(reason='refused with …'"
        in printed
    )
    assert KEY not in printed


@pytest.mark.extra
def test_a_planted_bug_breaks_no_other_rule():
    """The whole kit finds, with each bad adapter, the rules that it breaks and no others."""
    found, _ = run_kit(BAD_ADAPTERS, "-k", "not Lying")
    rules = {
        bug: set(broken) - SIDE_EFFECTS.get(bug, set()) for bug, broken in found.items()
    }
    assert rules == {
        bug: set(wanted) for bug, wanted in PLANTED.items() if bug != "Lying"
    }
    assert len(found["Defective"]["fault_has_effect"]) >= MIN_FAULTS_OF_A_DOUBLE


def test_the_kit_uses_every_fault_of_the_simulator():
    """Each kind of fault is tried on some call, so that none is forgotten when one is added."""
    tried = {
        fault.kind
        for fault in (
            *UNKNOWN_OUTCOME_FAULTS,
            *ANSWERED_FAULTS,
            *UNREADABLE_LIST_FAULTS,
            *FAILED_READ_FAULTS,
        )
    }
    # an adapter only passes it on: a post counts as removed after two reads
    tried |= {
        "rewrite",
        "gone",
    }
    assert tried >= set(FAULT_KINDS)
