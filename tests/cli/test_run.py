"""The daemon and the simulator as commands: real processes, real files."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from publisher.cli.errors import report_error
from publisher.cli.terminal import Terminal
from publisher.domain.errors import RefusedError
from publisher.i18n import Messages
from publisher.rendering.templates import shipped_templates
from tests.cli.conftest import publisher_command
from tests.cli.posts import warning, write_schedule
from tests.wait import wait_until

PATIENCE = 60
STARTED = "守护进程已启动"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def drill(simulated_drill):
    """Return a drill workspace with platforms served by the simulator."""
    return simulated_drill


@contextmanager
def daemon(drill, **environment):
    """Run a daemon that has started when the block begins.

    It logs to a file: a full pipe would stop it.
    """
    command, log = publisher_command("-C", drill, "run"), drill.parent / "daemon.log"
    with (
        log.open("w") as stream,
        subprocess.Popen(
            command,
            stderr=stream,
            env={**os.environ, **environment},
            start_new_session=True,
        ) as process,
    ):
        try:
            wait_until(
                lambda: (
                    process.poll() is not None
                    or STARTED in log.read_text("utf-8", "replace")
                ),
                PATIENCE,
                STARTED,
            )
            assert process.poll() is None, log.read_text("utf-8", "replace")
            yield process
        finally:
            process.kill()


def wait_for(run, drill, wanted):
    """Poll the status until it is as wanted."""

    def found():
        status = run("-C", drill, "status", "--json").json
        return status if wanted(status) else None

    return wait_until(found, PATIENCE)


@pytest.mark.long
def test_once_publishes_all_that_is_due(run, drill):
    """`run --once` publishes due posts on every platform, waits for outcomes, and exits 0."""
    write_schedule(drill, warning(when='at = "asap"'))
    done = subprocess.run(
        publisher_command("-C", drill, "run", "--once"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    rows = run("-C", drill, "status", "--json").json["deliveries"]
    assert {(row["platform"], row["state"]) for row in rows} == {
        ("weibo", "published"),
        ("wechat", "published"),
        ("tieba", "published"),
    }


@pytest.mark.long
def test_a_daemon_is_visible_follows_orders_and_stops_in_order(run, drill):
    """A daemon appears in the status, sends ordered posts, and ends with 0 on SIGTERM.

    The service manager hears of its start, of its heartbeats and of its stop.
    """
    write_schedule(drill)
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(drill / "notify"))
    manager.settimeout(PATIENCE)
    environment = {"NOTIFY_SOCKET": str(drill / "notify"), "WATCHDOG_USEC": "120000000"}
    with manager, daemon(drill, **environment) as process:
        states = [manager.recv(100), manager.recv(100)]
        shown = wait_for(run, drill, lambda found: found["daemon"]["running"])
        assert shown["daemon"]["pid"] == process.pid
        write_schedule(drill, warning(to='["beijing-weibo"]'))
        sent = run("-C", drill, "send", "refund", "--by", "王")
        assert (sent.code, sent.err) == (0, "")
        wait_for(
            run,
            drill,
            lambda found: (
                [row["state"] for row in found["deliveries"]] == ["published"]
            ),
        )
        second = subprocess.run(
            publisher_command("-C", drill, "run"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 3
        assert str(process.pid) in second.stderr
        assert "Traceback" not in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        manager.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                states.append(manager.recv(100))
    assert states[:2] == [b"READY=1", b"WATCHDOG=1"]
    assert states[-1] == b"STOPPING=1"
    lines = (drill.parent / "daemon.log").read_text("utf-8").splitlines()
    for line in [*lines, *second.stderr.splitlines()]:
        assert {"event", "level", "timestamp"} <= json.loads(line).keys()
    assert not run("-C", drill, "status", "--json").json["daemon"]["running"]


@pytest.mark.long
def test_a_missing_secret_pauses_its_account_only(run, drill):
    """An account without its secret is paused with a message that names it; the others publish."""
    (drill / "secrets" / "beijing-wechat").unlink()
    write_schedule(
        drill, warning(when='at = "asap"', to='["beijing-wechat", "beijing-weibo"]')
    )
    with daemon(drill):
        shown = wait_for(
            run,
            drill,
            lambda found: (
                found["paused"]
                and any(row["state"] == "published" for row in found["deliveries"])
            ),
        )
    assert [pause["scope"] for pause in shown["paused"]] == ["account:beijing-wechat"]
    assert "beijing-wechat" in shown["alerts"][0]["message"]
    assert "publisher secret set beijing-wechat" in shown["alerts"][0]["message"]
    assert "secret_missing" not in shown["alerts"][0]["message"]


@pytest.mark.long
def test_a_secret_that_cannot_be_read_at_the_start_delays_its_account_only_for_so_long(
    run, drill
):
    """A post waits until the source can be read again; nobody has to resume the account."""
    source = drill / "secrets" / "beijing-weibo"
    secret = source.read_bytes()
    source.write_bytes(b" " * 100_000)
    write_schedule(drill, warning(when='at = "asap"', to='["beijing-weibo"]'))
    with daemon(drill):
        wait_for(
            run,
            drill,
            lambda found: (
                [row["reason"] for row in found["deliveries"]] == ["secret_unreadable"]
            ),
        )
        source.write_bytes(secret)
        shown = wait_for(
            run,
            drill,
            lambda found: (
                [row["state"] for row in found["deliveries"]] == ["published"]
            ),
        )
    assert shown["paused"] == []


FAULTS = {
    "syntax": ("weibo.txt", b"{% if %}"),
    "encoding": ("weibo.txt", "警惕".encode("gbk")),
    "sample": ("sample.toml", b"about ="),
    "cover": ("cover.png", b"no picture"),
}
ASAP = 'at = "asap"'


def own_template(drill):
    """Return the folder of the workspace's own template, a copy of the warning's."""
    return Path(
        shutil.copytree(shipped_templates() / "warning", drill / "templates" / "own")
    )


def with_own(name, when=ASAP):
    return warning(name, when, '["beijing-weibo"]').replace(
        'template = "warning"', 'template = "own"'
    )


def states_of(found):
    return {row["post"]: row["state"] for row in found["deliveries"]}


def run_once(drill):
    return subprocess.run(
        publisher_command("-C", drill, "run", "--once"),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=pytest.mark.extra if number else ())
        for number, fault in enumerate(FAULTS)
    ],
)
def test_f74_a_template_with_a_fault_delays_no_frozen_post(run, drill, fault):
    """F74, I9: with a faulty template the daemon starts, sends filed posts, and alerts.

    It plans posts that do not need the template.
    """
    own = own_template(drill)
    write_schedule(drill, with_own("frozen"))
    assert run("-C", drill, "reload", "--by", "王").code == 0
    name, content = FAULTS[fault]
    (own / name).write_bytes(content)
    write_schedule(
        drill, with_own("frozen"), warning("fine", ASAP, '["beijing-weibo"]')
    )
    done = run_once(drill)
    found = run("-C", drill, "status", "--json").json
    assert states_of(found) == {"frozen": "published", "fine": "published"}
    [alert] = found["alerts"]
    assert alert["code"] == "templates_invalid"
    assert f"own/{name}:1:" in alert["message"]
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    checked = run("-C", drill, "check")
    assert (checked.code, f"own/{name}:1:" in checked.err + checked.out) == (1, True)
    shutil.copy(shipped_templates() / "_shared" / "short.txt", own / "weibo.txt")
    if name != "weibo.txt":
        (own / name).unlink()
    assert run_once(drill).returncode == 0
    assert run("-C", drill, "status", "--json").json["alerts"] == []


@pytest.mark.long
def test_f74_a_schedule_that_needs_a_template_with_a_fault_is_refused(run, drill):
    """F74, I22: the version in force stays; the alert names the lines of post and template."""
    own = own_template(drill)
    write_schedule(drill, with_own("frozen"))
    assert run("-C", drill, "reload", "--by", "王").code == 0
    (own / "weibo.txt").write_text("{% if %}", "utf-8")
    file = write_schedule(drill, with_own("frozen"), with_own("new"))
    run_once(drill)
    found = run("-C", drill, "status", "--json").json
    assert states_of(found) == {"frozen": "published"}
    assert {alert["code"] for alert in found["alerts"]} == {
        "templates_invalid",
        "reload_refused",
    }
    [refused] = [
        alert["message"]
        for alert in found["alerts"]
        if alert["code"] == "reload_refused"
    ]
    line = file.read_text("utf-8").splitlines().index('id = "new"') + 1
    assert f"schedule.toml:{line + 2}:" in refused
    assert "own/weibo.txt:1:" in refused
    reported = run("-C", drill, "reload", "--by", "王")
    assert (reported.code, "own/weibo.txt:1:" in reported.err) == (1, True)


@pytest.mark.long
@pytest.mark.parametrize("how", ["gone", "fault"])
def test_f74_an_unused_template_stops_nothing(run, drill, how):
    """F74: one that is deleted, or was never used, stops neither the start nor any post."""
    own = own_template(drill)
    if how == "gone":
        shutil.rmtree(own)
    else:
        (own / "weibo.txt").write_text("{% if %}", "utf-8")
    write_schedule(drill, warning("fine", ASAP, '["beijing-weibo"]'))
    run_once(drill)
    assert states_of(run("-C", drill, "status", "--json").json) == {"fine": "published"}


@pytest.mark.long
def test_f74_a_deleted_template_stops_no_other_post(run, drill):
    """F74: posts accepted with a deleted template are sent, and other posts are still planned."""
    own = own_template(drill)
    write_schedule(
        drill,
        with_own("frozen"),
        with_own("never", 'cron = "0 9 * * *"'),
        daily("fine"),
    )
    assert run("-C", drill, "reload", "--by", "王").code == 0
    shutil.rmtree(own)
    settings = drill / "publisher.toml"
    settings.write_text(f"plan_days = 20\n{settings.read_text('utf-8')}", "utf-8")
    before = run("-C", drill, "status", "--json").json["deliveries"]
    run_once(drill)
    after = run("-C", drill, "status", "--json").json["deliveries"]
    assert states_of({"deliveries": after})["frozen"] == "published"
    number = [Counter(row["post"] for row in rows) for rows in (before, after)]
    assert number[1]["fine"] > number[0]["fine"] > 0
    assert number[1]["never"] == number[0]["never"]


def daily(name):
    return warning(name, 'cron = "0 9 * * *"', '["beijing-weibo"]')


@pytest.mark.long
def test_broken_settings_keep_the_daemon_from_starting(run, drill):
    """Nothing is sent by settings that cannot be read: exit code 1, with file and line."""
    settings = drill / "publisher.toml"
    settings.write_text(f"{settings.read_text('utf-8')}\nnonsense", "utf-8")
    write_schedule(drill, warning("fine", ASAP, '["beijing-weibo"]'))
    done = run_once(drill)
    assert done.returncode == 1
    assert "publisher.toml:" in done.stderr


@pytest.mark.parametrize(
    ("value", "code"), [("intent.after_commit:kill", 3), ("nowhere:kill", 1)]
)
def test_failpoints_are_refused_in_live_operation(
    run, workspace, monkeypatch, value, code
):
    """In live operation failpoints keep the daemon from starting; unknown ones always do."""
    monkeypatch.setenv("PUBLISHER_FAILPOINTS", value)
    refused = run("-C", workspace, "run", "--once")
    assert refused.code == code
    assert "PUBLISHER_FAILPOINTS" in refused.err


def prevented():
    """Return the exit codes that keep systemd from restarting the daemon."""
    unit = (ROOT / "docs" / "examples" / "publisher.service").read_text("utf-8")
    [codes] = re.findall(r"^RestartPreventExitStatus=(.+)$", unit, re.MULTILINE)
    return {int(code) for code in codes.split()}


@pytest.mark.parametrize(
    ("code", "is_left_down"), [("clock_skew", False), ("second_daemon", True)]
)
def test_a_temporary_problem_does_not_leave_the_daemon_down(capsys, code, is_left_down):
    """Restarts wait for a clock that becomes right soon after the start, and for nothing else."""
    terminal = Terminal(messages=Messages("en"), workspace=ROOT)
    facts = {"host": "h", "pid": "1", "file": "f", "seconds": "+60"}
    assert (
        report_error(RefusedError(code, **facts), terminal) in prevented()
    ) == is_left_down
    assert "h" in capsys.readouterr().err


def test_the_simulator_shows_agencies_by_their_names(simulator):
    """A reader of a drill's feeds sees 福州市公安局, not an id.

    Nobody has named the account.
    """
    simulator.post(
        "/_sim/posts", {"platform": "weibo", "account": "1350100001", "text": "甲"}
    )
    assert [account["name"] for account in simulator.get("/_sim/accounts")] == [
        "福州市公安局"
    ]


def test_a_taken_port_is_reported(run, simulator):
    """A simulator with a taken port says so and exits 1."""
    reported = run("simulate", "--listen", simulator.url.removeprefix("http://"))
    assert reported.code == 1
    assert "占用" in reported.err
