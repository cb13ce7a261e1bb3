"""A client that cannot be installed is a failure, unless no package index can be reached."""

import pytest

from tests.interop import conftest

NOWHERE = "http://127.0.0.1:9/simple"


@pytest.fixture
def no_index(monkeypatch):
    """Configure an index that nobody serves."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, NOWHERE)
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    for name, value in {
        "UV_HTTP_RETRIES": "0",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("no_index")
def test_without_a_network_the_clients_are_skipped(tmp_path):
    """Where no index answers, a client's test is skipped with the reason."""
    with pytest.raises(pytest.skip.Exception, match="without a network"):
        conftest._install(
            "client", tmp_path / "client", ["publisher-has-no-such-client==1"]
        )


@pytest.mark.usefixtures("no_index")
def test_a_missing_package_fails(tmp_path, monkeypatch):
    """Where the index can be reached, a missing package is a failure, not a skip."""
    monkeypatch.setattr(conftest, "reaches_an_index", lambda _install: True)
    with pytest.raises(pytest.fail.Exception, match="can be reached"):
        conftest._install(
            "client", tmp_path / "client", ["publisher-has-no-such-client==1"]
        )
