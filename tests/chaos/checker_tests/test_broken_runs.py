"""Spoiled runs: one small thing is wrong in each, and the invariant that it breaks must be the one to say so."""

import pytest

from tests.chaos.checker.decoder import history_of
from tests.chaos.checker.verdict import INVARIANTS, judge_history
from tests.chaos.checker_tests import broken_actions, broken_runs  # noqa: F401 # they register what they break
from tests.chaos.checker_tests.broken_actions import with_instants
from tests.chaos.checker_tests.pieces import SPOILED
from tests.chaos.checker_tests.sound_runs import full_run

SEEDS = (1, 2, 3)
CASES = [(invariant, name) for invariant, spoils in SPOILED.items() for name in spoils]


@pytest.mark.parametrize(("invariant", "name"), CASES)
def test_each_spoiling_is_seen_by_the_check_of_its_invariant(invariant, name):
    """What was whole before is a violation of that invariant after, with a subject and with evidence."""
    for seed in SEEDS:
        run = full_run(seed)
        SPOILED[invariant][name](run)
        found = judge_history(history_of(run)).of(invariant)
        assert found.violations, f"seed {seed}"
        assert all(one.subject and one.what and one.evidence for one in found.violations)


def test_every_invariant_can_be_broken():
    """A check that no spoiling could trip would be worth nothing (I1-I25)."""
    assert SPOILED.keys() == {invariant.id for invariant in INVARIANTS}


def test_the_full_run_is_whole_before_it_is_spoiled():
    """Otherwise the cases above would prove nothing."""
    for seed in SEEDS:
        verdict = judge_history(history_of(full_run(seed)))
        assert verdict.is_whole
        assert verdict.judged == len(INVARIANTS)


def test_a_run_whose_true_instants_are_known_is_whole_before_it_is_spoiled():
    """Where a run knows when each row was written, the order of intents and of what people do is judged exactly."""
    for seed in SEEDS:
        found = judge_history(history_of(with_instants(full_run(seed)))).findings
        assert [one.violations for one in found if one.violations] == []
