"""Storms with a wrong machine clock.

It is set while a daemon runs, or within the second before it is killed.
"""

import pytest

from publisher.runtime.clock import Runtime
from tests.chaos.mutants.patch import Patch
from tests.simulation.loop import rng_for
from tests.simulation.scenarios import entries_of, finish, shape_of
from tests.simulation.simulation import opened

SEEDS = 12
SETS = 3
HOUR = 3600.0
AMOUNTS = (-8 * HOUR, -900.0, -30.0, 30.0, 900.0, 8 * HOUR)


def run_seed(seed):
    """Run a storm without people's orders and with a changing clock.

    The clock is often set right before the daemon dies.
    """
    shape, rng = shape_of(seed), rng_for(f"{seed}/clock")
    shape.command_times = shape.freezes = []
    with opened(seed, shape, entries_of(seed, shape)) as simulation:
        for _ in range(SETS):
            at = rng.uniform(1, shape.storm * 0.7)
            by = rng.choice(AMOUNTS)
            seconds = rng.uniform(2, 90)
            simulation.loop.call_later(at, simulation.set_clock, by)
            simulation.loop.call_later(at + seconds, simulation.set_clock, 0.0)
            if rng.random() < 0.6:
                simulation.loop.call_later(at + rng.uniform(0, 1), simulation.kill)
        return finish(simulation)


@pytest.mark.long
@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(seed, marks=pytest.mark.extra if seed > SEEDS // 3 else ())
        for seed in range(1, SEEDS + 1)
    ],
)
def test_nothing_breaks_by_a_wrong_clock(seed):
    """F08, F25, F60, F61: no clock setting doubles, advances, delays or loses a post.

    The moment of the discovery of the setting does not matter.
    """
    assert not run_seed(f"clock-{seed}").violations


@pytest.mark.extra
def test_a_clock_that_is_always_believed_is_found():
    """With the rule broken, one of the seeds breaks a promise that it keeps."""
    broken = set()
    for seed in range(1, SEEDS + 1):
        with Patch() as patch:
            patch.put(Runtime, "is_clock_confirmed", lambda _runtime: True)
            patch.put(Runtime, "is_clock_proven", lambda _runtime: True)
            broken |= {
                found.partition(":")[0]
                for found in run_seed(f"clock-{seed}").violations
            }
    assert broken & {"I1", "I6", "I7", "I9"}, broken
