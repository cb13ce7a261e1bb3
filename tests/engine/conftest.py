"""Runs the engine's tests on one database; only those of the sender run on both."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
ON_BOTH = "test_delivering.py"
"""The sender's tests. What differs between the databases is tested in tests/store, always on both."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        is_here = item.path.parent == HERE and item.path.name != ON_BOTH
        if is_here and isinstance(item, pytest.Function) and _database_of(item) == "postgres":
            item.add_marker("long")


def _database_of(item: pytest.Function) -> object:
    return item.callspec.params.get("database_url") if hasattr(item, "callspec") else None
