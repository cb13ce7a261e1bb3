"""The daemon and the simulator as commands: real processes, real files."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest

from tests.surfaces.conftest import make_drill
from tests.surfaces.posts import warning, write_schedule

PATIENCE = 20


@pytest.fixture
def drill(tmp_path, simulator):
    """Give a drill workspace whose platforms the simulator serves, all empty."""
    urlopen(Request(f"{simulator}/_sim/reset", method="POST")).close()  # noqa: S310 # our own process
    return make_drill(tmp_path / "drill", simulator)


def publisher(*arguments):
    return [sys.executable, "-m", "publisher", *map(str, arguments)]


@contextmanager
def daemon(drill, **environment):
    """Run a daemon; it has announced itself when the block begins."""
    command = publisher("-C", drill, "run")
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}, start_new_session=True
    ) as process:
        try:
            assert any("守护进程已启动" in line for line in iter(process.stderr.readline, ""))
            yield process
        finally:
            process.kill()


def wait_for(run, drill, wanted):
    """Look at the status until it is as wanted."""
    give_up = time.monotonic() + PATIENCE
    while not wanted(found := run("-C", drill, "status", "--json").json):
        assert time.monotonic() < give_up, found["deliveries"]
    return found


def test_once_does_all_that_is_due(run, drill):
    """`run --once` publishes what is due on every platform, settles it, and exits 0."""
    write_schedule(drill, warning(when='at = "asap"'))
    done = subprocess.run(publisher("-C", drill, "run", "--once"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    rows = run("-C", drill, "status", "--json").json["deliveries"]
    assert {(row["platform"], row["state"]) for row in rows} == {
        ("weibo", "published"),
        ("wechat", "published"),
        ("tieba", "published"),
    }


def test_a_daemon_is_seen_obeys_and_stops_in_order(run, drill):
    """A running daemon shows in the status, sends what a command orders, and ends with 0 on SIGTERM."""
    write_schedule(drill)
    with daemon(drill) as process:
        shown = wait_for(run, drill, lambda found: found["daemon"]["running"])
        assert shown["daemon"]["pid"] == process.pid
        write_schedule(drill, warning(to='["beijing-weibo"]'))
        sent = run("-C", drill, "send", "refund", "--by", "王")
        assert (sent.code, sent.err) == (0, "")
        wait_for(run, drill, lambda found: [row["state"] for row in found["deliveries"]] == ["published"])
        second = subprocess.run(publisher("-C", drill, "run"), capture_output=True, text=True, check=False)
        assert second.returncode == 3
        assert str(process.pid) in second.stderr
        assert "Traceback" not in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert not run("-C", drill, "status", "--json").json["daemon"]["running"]


def test_a_missing_secret_pauses_its_account_only(run, drill):
    """An account without its secret is paused with words that name it; the others publish."""
    (drill / "secrets" / "beijing-wechat").unlink()
    write_schedule(drill, warning(when='at = "asap"', to='["beijing-wechat", "beijing-weibo"]'))
    with daemon(drill):
        shown = wait_for(run, drill, lambda found: any(row["state"] == "published" for row in found["deliveries"]))
    assert [pause["scope"] for pause in shown["paused"]] == ["account:beijing-wechat"]
    assert "beijing-wechat" in shown["alerts"][0]["message"]
    assert "secret_missing" not in shown["alerts"][0]["message"]


@pytest.mark.parametrize(("value", "code"), [("intent.after_commit:kill", 3), ("nowhere:kill", 1)])
def test_failpoints_are_refused_where_they_do_not_belong(run, workspace, monkeypatch, value, code):
    """In live operation failpoints keep the daemon from starting; unknown ones always do."""
    monkeypatch.setenv("PUBLISHER_FAILPOINTS", value)
    refused = run("-C", workspace, "run", "--once")
    assert refused.code == code
    assert "PUBLISHER_FAILPOINTS" in refused.err


def test_a_taken_port_is_told_in_words(run, simulator):
    """A simulator whose port is taken says so and exits 1."""
    told = run("simulate", "--listen", simulator.removeprefix("http://"))
    assert told.code == 1
    assert "占用" in told.err
