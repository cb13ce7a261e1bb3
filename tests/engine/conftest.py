"""Runs the engine's tests on SQLite; the tests on PostgreSQL are extra."""

from pathlib import Path

import pytest

from tests.postgres_server import mark_extra_on_postgres


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_extra_on_postgres(items, Path(__file__).parent)


@pytest.fixture(autouse=True)
def _cheap_workspaces(cheap_workspaces: None) -> None:
    pass
