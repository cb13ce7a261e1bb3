"""Each planted mistake names its broken promise, changes the program, and can be undone."""

import pytest

from tests.chaos.mutants import MODULES, broken_by, plant

FEWEST = 14


def test_there_are_enough_mutants():
    """A sweep over a few mistakes would prove little."""
    assert len(MODULES) >= FEWEST


@pytest.mark.parametrize("name", MODULES)
def test_a_mutant_changes_the_program_until_it_is_undone(name):
    """Its docstring names an invariant. Planting replaces something, and undoing restores that."""
    assert broken_by(name)
    with plant(name) as patch:
        assert patch.replaced
        assert all(kept is not value for _owner, _place, kept, value in patch.replaced)
        assert all(
            _now(owner, place) is value for owner, place, _kept, value in patch.replaced
        )
    assert all(
        _now(owner, place) is kept for owner, place, kept, _value in patch.replaced
    )


def _now(owner, place):
    return owner[place] if isinstance(owner, dict) else vars(owner)[place]
