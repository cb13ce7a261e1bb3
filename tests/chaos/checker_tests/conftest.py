"""The sample run, simulated once, and a copy of it for each test."""

import pickle

import pytest

from tests.chaos.checker_tests.sample_run import simulate


@pytest.fixture(scope="session")
def simulated():
    return pickle.dumps(simulate())


@pytest.fixture
def exact_run(simulated):
    """Return the sample run with the true instant of each row."""
    return pickle.loads(simulated)  # noqa: S301 # our own


@pytest.fixture
def run(exact_run):
    """Return the sample run with the instants that the hosts' clocks showed alone."""
    del exact_run.documents["instants"]
    return exact_run
