"""Which seeds are lived through every time."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
EVERY_TIME = 4
"""So many seeds from the first on; the others are left to scripts/test-long."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE and isinstance(item, pytest.Function) and _seed_of(item) > EVERY_TIME:
            item.add_marker("long")


def _seed_of(item: pytest.Function) -> int:
    return int(item.callspec.params.get("seed", 0)) if hasattr(item, "callspec") else 0
