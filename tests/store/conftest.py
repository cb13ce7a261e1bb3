"""Runs these tests on both databases; on PostgreSQL those without statements of its own are extra."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
ALIKE = frozenset({
    "test_accounts.py", "test_approvals.py", "test_changed_accounts.py", "test_deleted.py", "test_edits.py",
    "test_expiring.py", "test_follow_ups.py", "test_late_responses.py", "test_parts.py", "test_retention.py",
    "test_reviews.py", "test_stored_posts.py", "test_unknown_outcomes.py", "test_users.py", "test_writers.py",
})  # fmt: skip
"""Files about rules: what they write and read is the same on either database, and neither locks nor types differ."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        is_on_postgres = callspec is not None and callspec.params.get("database_url") == "postgres"
        if is_on_postgres and item.path.parent == HERE and item.path.name in ALIKE:
            item.add_marker("extra")
