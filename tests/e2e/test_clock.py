"""Real processes on a machine with a clock a quarter of an hour ahead of the platforms'."""

import pytest

from publisher.runtime.clock import Runtime
from tests.e2e.test_run import post
from tests.wait import PATIENCE_SECONDS

AHEAD = 900

pytestmark = pytest.mark.skipif(
    Runtime().is_kernel_clock_synchronized(),
    reason="this machine's kernel confirms the clock",
)


def alerts(workspace):
    return [alert["code"] for alert in workspace.status()["alerts"]]


def test_f61_a_clock_that_is_ahead_at_start_sends_nothing_until_a_platform_confirms_it(
    workspace, simulator, wait_until
):
    """F61: a clock that is ahead at the start sends nothing until a platform confirms it.

    People are alerted, and cannot confirm it against a platform. With the right time the daemon
    goes on by itself.
    """
    simulator.post("/_sim/clock", {"shift": -AHEAD})
    workspace.write_schedule(post("p"))
    workspace.start()
    wait_until(lambda: "clock_wrong" in alerts(workspace))
    workspace.publisher("doctor", "--confirm-clock", "--by", "王", check=3)
    assert (simulator.get("/_sim/posts"), workspace.states()) == ([], {})
    simulator.post("/_sim/clock", {"shift": AHEAD})
    wait_until(lambda: len(simulator.get("/_sim/posts")) == 6)
    wait_until(lambda: alerts(workspace) == [])


def test_f60_a_single_run_by_a_clock_that_is_behind_ends_with_its_alert(
    workspace, simulator
):
    """F60: it waits for ten seconds, sends nothing, and says so by its exit code."""
    simulator.post("/_sim/clock", {"shift": AHEAD})
    workspace.write_schedule(post("p"))
    assert workspace.start("--once").wait(PATIENCE_SECONDS) == 1, workspace.log()
    assert (simulator.get("/_sim/posts"), alerts(workspace)) == ([], ["clock_wrong"])
