"""Run these tests on both databases; tests without PostgreSQL statements are extra there."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
ALIKE = frozenset({
    "test_accounts.py", "test_approvals.py", "test_changed_accounts.py", "test_deleted.py",
    "test_edits.py", "test_expiring.py", "test_follow_ups.py", "test_late_responses.py",
    "test_parts.py", "test_retention.py", "test_reviews.py", "test_stored_posts.py",
    "test_unknown_outcomes.py", "test_users.py", "test_writers.py",
})  # fmt: skip
"""Test files about rules that read and write the same on both databases.

Neither locks nor types differ in them.
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        is_on_postgres = (
            callspec is not None and callspec.params.get("database_url") == "postgres"
        )
        if is_on_postgres and item.path.parent == HERE and item.path.name in ALIKE:
            item.add_marker("extra")
