"""People and the sender race: nothing leaves unapproved, or after an answer that it is stopped."""

import pytest

from tests.chaos.mutants import plant
from tests.chaos.race import race

ROUNDS = 20
RACES_FOR_A_MUTANT = 12
PLANTED = (
    "approvals_read_before_intent",
    "ended_approval_honoured",
    "edit_keeps_approvals",
    "only_last_saver_barred",
)
"""Faults of transaction order, of the time between an answer and a call, and of earlier writers."""

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgres", marks=pytest.mark.extra)],
    indirect=True,
)
async def test_i5_i14_nothing_leaves_without_approvals_and_nothing_follows_an_answer(
    database_url, tmp_path
):
    """F72: approve, edit, unapprove, cancel and pause race the sender at a post's intent."""
    result = await race(database_url, tmp_path, rounds=ROUNDS, seed=1)
    assert result.findings == []
    assert result.calls, "nothing was sent, so that nothing was shown"
    assert {answer.kind for answer in result.answers} == {
        "approve",
        "edit",
        "unapprove",
        "cancel",
        "pause",
    }


@pytest.mark.extra
@pytest.mark.parametrize("name", PLANTED)
async def test_i5_a_planted_mistake_is_found(tmp_path, name):
    """Without the rule, a post leaves in one of the rounds that nobody had approved as it was."""
    found = []
    for seed in range(1, RACES_FOR_A_MUTANT + 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with plant(name):
            result = await race(
                f"sqlite:///{folder / 'race.db'}", folder, rounds=ROUNDS, seed=seed
            )
        found = [finding for finding in result.findings if finding.startswith("I5: ")]
        if found:
            break
    assert found
