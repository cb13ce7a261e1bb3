"""The sample run, simulated once, and a copy of it for each test."""

import fcntl
import os
import pickle

import pytest

from tests.chaos.checker_tests.sample_run import simulate


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """Return the sample run. The first test process simulates it, and the others wait."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "sample-run").open("a+b") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        shared.seek(0)
        if not (known := shared.read()):
            shared.write(known := pickle.dumps(simulate()))
        return known


@pytest.fixture
def exact_run(simulated):
    """Return the sample run with the true instant of each row."""
    return pickle.loads(simulated)  # noqa: S301 # our own


@pytest.fixture
def run(exact_run):
    """Return the sample run with the instants that the hosts' clocks showed alone."""
    del exact_run.documents["instants"]
    return exact_run
