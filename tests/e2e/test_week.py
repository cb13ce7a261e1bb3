"""The first hours of the simulated week.

Unbounded growth would show in days; a broken part shows here.
"""

import asyncio

import pytest

from tests.e2e.week import run_week

HOURS, REGIONS = 3, 26
MAX_OPEN_FILES, MAX_THREADS = 60, 40


@pytest.mark.extra
def test_f92_hours_of_a_week_run_within_bounds(tmp_path):
    """F92, I24: posts go out hour by hour, and the process holds few files and threads."""
    samples, states = asyncio.run(run_week(tmp_path, HOURS, REGIONS))
    assert [sample["hour"] for sample in samples] == [1, 2, 3]
    assert states["published"] > states.total() // 2
    assert max(sample["open files"] for sample in samples) <= MAX_OPEN_FILES
    assert max(sample["threads"] for sample in samples) <= MAX_THREADS
    assert all(
        sample[name] > 0
        for sample in samples
        for name in ("database MB", "journal MB", "memory MB")
    )
