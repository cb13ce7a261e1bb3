"""Mutated runs: one small thing is wrong in each, and the check of the invariant that it breaks must find it."""

import pytest

from tests.chaos.checker.decoder import history_of
from tests.chaos.checker.verdict import INVARIANTS, judge_invariant
from tests.chaos.checker_tests import broken_runs  # noqa: F401 # it registers its mutations
from tests.chaos.checker_tests.broken_actions import EXACT
from tests.chaos.checker_tests.mutation import MUTATIONS

CASES = [(invariant, name) for invariant, mutations in MUTATIONS.items() for name in mutations]


def assert_found(run, number):
    [invariant] = (one for one in INVARIANTS if one.id == number)
    found = judge_invariant(invariant, history_of(run))
    assert found.violations
    assert all(one.subject and one.what and one.evidence for one in found.violations)


@pytest.mark.parametrize(("invariant", "name"), CASES)
def test_each_mutation_is_found_by_the_check_of_its_invariant(run, invariant, name):
    """What was sound before is a violation of that invariant after, with a subject and with evidence."""
    MUTATIONS[invariant][name](run)
    assert_found(run, invariant)


@pytest.mark.parametrize("invariant", EXACT)
def test_each_mutation_of_true_instants_is_found(exact_run, invariant):
    """Where a run knows when each row was written, the order of intents and of what people do is judged exactly."""
    EXACT[invariant](exact_run)
    assert_found(exact_run, invariant)


def test_every_invariant_can_be_broken():
    """A check that no mutation could trip would be worth nothing (I1-I25)."""
    assert MUTATIONS.keys() == {invariant.id for invariant in INVARIANTS}
