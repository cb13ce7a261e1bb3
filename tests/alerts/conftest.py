"""Runs the tests of alerts on one database; what several hosts do at once is tested on both."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
ON_BOTH = ("test_two_hosts", "test_what_a_dead_host")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        is_here = item.path.parent == HERE and not item.name.startswith(ON_BOTH)
        if is_here and getattr(item, "callspec", None) and item.callspec.params.get("database_url") == "postgres":
            item.add_marker("long")
