"""Which storms are lived through in every run."""

from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EVERY_RUN = 2
"""So many cases of each test, the first ones, are part of every run; scripts/test-long runs all the others."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    seen: Counter[str] = Counter()
    for item in items:
        test = item.nodeid.partition("[")[0]
        seen[test] += 1
        if item.path.parent == HERE and seen[test] > EVERY_RUN:
            item.add_marker("long")
