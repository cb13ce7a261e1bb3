"""Three processes that share one WeChat login, on one database of either kind.

The tests cover the process that renews its token, and the number of renewals.
"""

import asyncio
import hashlib
import subprocess
import sys
from collections import Counter

import pytest

from adapters.wechat.api import encode_token
from publisher.store.recovery.setup import prepare_database

pytestmark = pytest.mark.parametrize(
    "database_url",
    [pytest.param("sqlite", marks=pytest.mark.extra), "postgres"],
    indirect=True,
)
APP_ID = "wx00000000000000a1"
LIST = "/cgi-bin/freepublish/batchget"
ELSEWHERE = "wechat_token_renewed_elsewhere"


@pytest.fixture
def workers(database_url, simulator, tmp_path, runtime):
    """Return three processes, and a function that makes some of them read the account at once."""
    asyncio.run(
        prepare_database(database_url, "drill", tmp_path / "intents.jsonl", runtime)
    )
    command = [
        sys.executable,
        "-m",
        "tests.e2e.two_workers",
        database_url,
        simulator.url,
        APP_ID,
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    members = [subprocess.Popen(command, **pipes) for _ in range(3)]

    def read(*chosen):
        for member in chosen:
            member.stdin.write("\n")
            member.stdin.flush()
        return [member.stdout.readline().strip() for member in chosen]

    yield members, read
    for member in members:
        member.kill()
        member.communicate()


def token_calls(simulator):
    """Count the token calls, forced renewals separately."""
    asked = {
        is_forced: hashlib.sha256(
            encode_token(simulator.url, APP_ID, "2", is_forced=is_forced).content
        ).hexdigest()
        for is_forced in (False, True)
    }
    made = Counter(
        entry["body_sha256"]
        for entry in simulator.get("/_sim/log")
        if entry["kind"] == "recv" and entry["endpoint"] == "/cgi-bin/stable_token"
    )
    assert set(made) <= set(asked.values())
    return made[asked[False]], made[asked[True]]


def disturb(simulator, kind, times, **more):
    place = {
        "platform": "wechat",
        "account": APP_ID,
        "endpoint": LIST,
        "nth": "every",
        "times": times,
    }
    simulator.post("/_sim/faults", place | {"fault": {"kind": kind, **more}})


def test_f42_a_token_that_ends_is_fetched_by_each_and_forced_by_none(
    workers, simulator
):
    """F42: all processes get the same token, and none forces a new one.

    When it expires, each fetches the next one once.
    """
    members, read = workers
    assert read(*members) == ["read"] * 3
    assert token_calls(simulator) == (3, 0)
    disturb(simulator, "expire_token", 1)
    assert read(members[0]) == ["read"]
    assert read(*members[1:]) == ["read"] * 2
    assert read(*members) == ["read"] * 3
    assert token_calls(simulator) == (6, 0)


def test_f42_a_token_refused_to_all_at_once_is_forced_out_by_one(workers, simulator):
    """F42: while the platform still returns the refused token, one process forces a new one.

    The others use it.
    """
    members, read = workers
    assert read(*members) == ["read"] * 3
    simulator.post("/_sim/clock", {"shift": 60})
    disturb(simulator, "api_error", 3, code=40001)
    said = read(*members)
    assert "read" in said
    assert set(said) <= {"read", ELSEWHERE}
    assert token_calls(simulator)[1] == 1
    assert read(*members) == ["read"] * 3
    assert token_calls(simulator)[1] == 1


def test_f42_a_login_whose_token_is_always_refused_is_forced_once_and_left_alone(
    workers, simulator
):
    """F42: however often the three try, half a minute brings one forced renewal."""
    members, read = workers
    assert read(*members) == ["read"] * 3
    simulator.post("/_sim/clock", {"shift": 60})
    disturb(simulator, "api_error", 100, code=40001)
    for _ in range(4):
        assert "read" not in read(*members)
    assert token_calls(simulator)[1] == 1
