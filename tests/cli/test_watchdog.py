"""`watchdog` notices, from a process of its own, that the daemon does nothing."""

import resource
import signal
import time
from datetime import timedelta

import pytest

from publisher.engine import watchdog
from tests.cli.test_run import PATIENCE, daemon

pytestmark = pytest.mark.long


@pytest.fixture
def drill(simulated_drill, monkeypatch):
    """Return a drill; its daemon counts as silent after two missed heartbeats, to make the test quick."""
    monkeypatch.setattr(watchdog, "DAEMON_SILENT_AFTER", timedelta(seconds=11))
    return simulated_drill


def look_until(run, drill, words):
    """Look again and again until the watchdog says something; return its answer."""
    give_up = time.monotonic() + PATIENCE
    while words not in (answer := run("-C", drill, "watchdog", "--once")).out:
        assert time.monotonic() < give_up, answer
        time.sleep(0.5)
    return answer


def kill(process, _drill):
    process.kill()
    process.wait()


def freeze(process, _drill):
    process.send_signal(signal.SIGSTOP)


def fill_disk(process, _drill):
    """Let no file of the daemon grow: its writes fail as on a full disk."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))


@pytest.mark.parametrize("fault", [kill, freeze, fill_disk])
def test_a_daemon_that_does_nothing_is_reported(run, drill, fault):
    """Killed, frozen, or on a full disk: the watchdog ends with 1 and says that nothing is published."""
    with daemon(drill) as process:
        assert look_until(run, drill, "守护进程有心跳").code == 0
        fault(process, drill)
        silent = look_until(run, drill, "守护进程没有动静")
    assert silent.code == 1
    assert (drill / "var" / "watchdog.json").is_file()


def test_a_database_that_is_gone_is_reported(run, drill):
    """The running daemon still has the file open; a process that is started now has nothing."""
    with daemon(drill):
        look_until(run, drill, "守护进程有心跳")
        (drill / "var" / "publisher.db").rename(drill / "var" / "gone.db")
        gone = run("-C", drill, "watchdog", "--once")
    assert gone.code == 1
    assert "数据库读不出来" in gone.out
    assert not (drill / "var" / "publisher.db").exists()
