"""Hostile files in the workspace of a daemon that has warnings to send."""

import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.e2e.test_run import in_seconds, post
from tests.unit.rendering.sandbox_escapes import ESCAPES
from tests.unit.rendering.test_image_cleaner import scanned
from tests.unit.rendering.test_render_process import BOMBS

PAGE = "{{ marker }} {{ region.tip_line }}\n"
SECONDS = range(15, 60, 5)
"""Seconds of the due times of warnings, while the daemon works on the hostile files."""
LATEST = 12.0
"""Maximum seconds from its instant to the sending of a warning.

This is a third of the time for the hostile files, as the tests of other processes share the
processor.
"""


def with_template(name, template, accounts="all"):
    return (
        post(name)
        .replace('template = "warning"', f'template = "{template}"')
        .replace('["all"]', f'["{accounts}"]')
    )


@pytest.mark.extra
@pytest.mark.long(seconds=60)
def test_f74_a_daemon_goes_on_sending_whatever_it_is_given(
    workspace, simulator, wait_until
):
    """F74, I20: a daemon goes on sending with any input.

    The input is templates that reach out or never end, endless elements, and a picture of 77,000
    scans, all at once. Each is reported with its file and line, and filed posts are sent in time.
    """
    pages = {f"escape-{number}": text for number, text in enumerate(ESCAPES)}
    bombs = {"a-huge-number": BOMBS["a huge number"], "deep": "<b>" * 14_000}
    for name, text in {**pages, **bombs}.items():
        folder = workspace.folder / "templates" / name
        folder.mkdir(parents=True)
        (folder / ("wechat.html" if name == "deep" else "default.txt")).write_text(
            PAGE + text, "utf-8"
        )
    (workspace.folder / "media" / "scans.jpg").write_bytes(scanned(77_000))
    due = [in_seconds(number) for number in SECONDS]
    good = post("first") + "".join(
        post(f"at-{number}", at=at) for number, at in zip(SECONDS, due, strict=True)
    )
    bad = "".join(with_template(f"bad-{name}", name) for name in pages)
    for name in (
        bombs
    ):  # each takes the whole limit, for each account and in each process that renders
        bad += with_template(f"bad-{name}", name, "beijing-wechat")
    bad += post("spaces").replace("请先挂断。", f"请先{' ' * 40_000}挂断。")
    bad += post(
        "bad-scans", extra='images = [{ file = "media/scans.jpg", alt = "截图" }]'
    )
    workspace.write_schedule(good)
    daemon = workspace.start()
    wait_until(lambda: len(simulator.get("/_sim/posts?account=beijing-weibo")) == 1)
    workspace.write_schedule(good + bad)
    found = json.loads(workspace.publisher("check", "--json", check=1))["problems"]
    wait_until(
        lambda: any(
            alert["code"] == "reload_refused" for alert in workspace.status()["alerts"]
        )
    )
    wait_until(
        lambda: (
            len(simulator.get("/_sim/posts?account=beijing-weibo")) == 1 + len(SECONDS)
        )
    )
    assert daemon.poll() is None
    left = sorted(
        item["created"] for item in simulator.get("/_sim/posts?account=beijing-weibo")
    )[1:]
    instants = [
        datetime.fromisoformat(at).replace(tzinfo=ZoneInfo("Asia/Shanghai"))
        for at in due
    ]
    late = [
        at - instant.timestamp() for at, instant in zip(left, instants, strict=True)
    ]
    assert max(late) < LATEST, late
    assert {Path(item["file"]).parent.name for item in found} >= {*pages, *bombs}
    assert all(item["line"] for item in found)
    assert "image_too_many_scans" in {item["code"] for item in found}
