"""The selection of storms for every run."""

from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EVERY_RUN = 1
"""The first cases of each test that are part of every run.

This is their number; scripts/test-long runs the others.
"""
PLANTED = (
    "test_a_broken_rule_is_found",
    "test_no_mutant_of_the_campaign_shows_without_faults",
)
"""Tests with a planted mistake in each case: scripts/test-extra runs the others."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    seen: Counter[str] = Counter()
    for item in items:
        if item.path.parent != HERE:
            continue
        test = item.nodeid.partition("[")[0]
        seen[test] += 1
        if seen[test] > EVERY_RUN:
            item.add_marker("extra" if test.endswith(PLANTED) else "long")
