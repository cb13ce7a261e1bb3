"""Runs the tests of alerts on SQLite; most tests on PostgreSQL are extra.

Tests of several hosts at once run there always.
"""

from pathlib import Path

import pytest

from tests.postgres_server import mark_extra_on_postgres


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_extra_on_postgres(
        items, Path(__file__).parent, "test_two_hosts", "test_what_a_dead_host"
    )
