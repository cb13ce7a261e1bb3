"""A real disk that is full: one line in the log, one notice, and all goes on once there is room."""

import contextlib
import json
import subprocess
import time
from datetime import timedelta

import pytest

from publisher.engine import watchdog
from tests.alerts.receivers import Webhook, serving
from tests.cli.conftest import make_drill
from tests.cli.posts import warning, write_schedule
from tests.cli.test_run import daemon
from tests.wait import wait_until

DISK = "8M"
MOUNT = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs"]
UNMOUNT = ["umount", "--lazy"]
FULL_SECONDS = 12
"""Long enough for dozens of jobs to fail."""

PATIENCE = 60

pytestmark = [pytest.mark.extra, pytest.mark.long]


@pytest.fixture
def small(tmp_path, simulator):
    """Return a drill with its `var` on a small disk of its own."""
    drill = make_drill(tmp_path / "drill", simulator.url)
    mount = [*MOUNT, str(drill / "var")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("NO MOUNT: a disk of its own cannot be made")
    try:
        yield drill
    finally:
        subprocess.run([*UNMOUNT, str(drill / "var")], check=True)


def fill(drill):
    """Fill the disk. Return the file that does."""
    file = drill / "var" / "fill"
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as opened:
        while True:
            opened.write(b"x" * 4096)
    return file


def lines_of(drill):
    text = (drill.parent / "daemon.log").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def events_of(drill):
    return [line["event"] for line in lines_of(drill)]


def test_f82_a_full_disk_is_one_line_in_the_log_and_its_end_another(run, small):
    """F82: posts that come due meanwhile are sent once there is room, without a traceback."""
    with daemon(small):
        file = fill(small)
        before = len(lines_of(small))
        write_schedule(small, warning("refund", 'at = "asap"', '["platform:weibo"]'))
        time.sleep(FULL_SECONDS)
        sent = run("-C", small, "--lang", "en", "send", "refund", "--by", "王")
        assert (sent.code, "df -h" in sent.err) == (1, True), sent.err
        assert "~/.pgpass" not in sent.err
        file.unlink()
        wait_until(lambda: "attempt_finished" in events_of(small), PATIENCE)
        logged = lines_of(small)[before:]
    failed = [
        (line["event"], line.get("reason"))
        for line in logged
        if line["level"] in {"warning", "error"}
    ]
    assert failed.count(("database_unavailable", "disk_full")) == 1
    # the checkpoint's file is on this disk as well
    assert set(dict(failed)) <= {"database_unavailable", "audit_checkpoint_failed"}
    assert len(failed) <= 2
    assert [line["event"] for line in logged].count("database_available") == 1


def test_f82_the_watchdog_reports_a_full_disk_once(run, small, tmp_path, monkeypatch):
    """F82: also where it has never run before, and its state finds no room."""
    monkeypatch.setattr(watchdog, "DAEMON_SILENT_AFTER", timedelta(seconds=11))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    with serving(Webhook()) as hook, daemon(small):
        (small / "secrets").mkdir(exist_ok=True)
        (small / "secrets" / "duty").write_text(json.dumps({"url": hook.url}), "utf-8")
        with (small / "publisher.toml").open("a", encoding="utf-8") as settings:
            settings.write('\n[alerts]\nfirst = ["duty"]\nchannels.duty = "duty"\n')
        file = fill(small)

        def reported():
            run("-C", small, "watchdog", "--once")
            return hook.accepted

        wait_until(reported)
        for _ in range(3):
            assert run("-C", small, "watchdog", "--once").code == 1
        assert len(hook.accepted) == 1
        file.unlink()
