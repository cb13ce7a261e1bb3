"""One person previews a WeChat post on a phone: the command against the simulator."""

import json
import sqlite3

from tests.e2e.test_callbacks import POST
from tests.wait import PATIENCE_SECONDS


def calls(simulator, path):
    return [
        entry
        for entry in simulator.get("/_sim/log")
        if entry["kind"] == "recv" and entry["endpoint"] == path
    ]


def test_a_preview_goes_to_one_person_and_makes_no_post(workspace, simulator):
    """A preview goes to one person and makes no post.

    The platform sends the preview, and the audit names the person that ordered it. Then the post
    itself is published, once.
    """
    workspace.write_schedule(POST.format(extra=""))
    where = ("--account", "beijing-wechat")
    reported = workspace.publisher(
        "preview", "p", *where, "--to", "wx-lisi", "--by", "李", "--json"
    )
    assert [item["account"] for item in json.loads(reported)["rendered_posts"]] == [
        "beijing-wechat"
    ]
    assert len(calls(simulator, "/cgi-bin/message/mass/preview")) == 1
    assert simulator.get("/_sim/posts") == []
    with sqlite3.connect(workspace.folder / "var" / "publisher.db") as connection:
        [entry] = connection.execute(
            "SELECT name, subject, detail FROM audit WHERE event = 'preview_requested'"
        ).fetchall()
    assert entry[:2] == ("李", "p@beijing-wechat")
    assert "wx-lisi" in entry[2]
    assert workspace.start("--once").wait(PATIENCE_SECONDS) == 0, workspace.log()
    assert "预览发给 wx-lisi" not in workspace.publisher("why", "p@shanghai-wechat")
    assert "预览发给 wx-lisi" in workspace.publisher("why", "p@beijing-wechat")
    assert len(simulator.get("/_sim/posts?account=beijing-wechat")) == 1


def test_an_impossible_preview_is_refused_with_a_reason(workspace, simulator):
    """Another platform, a missing name, a text with errors: no platform is called."""
    workspace.write_schedule(
        POST.format(extra="").replace('"platform:wechat"', '"all"')
    )
    where = ("--account", "beijing-weibo")
    assert workspace.publisher(
        "preview", "p", *where, "--to", "x", "--by", "李", check=1
    )
    workspace.publisher("preview", "p", "--to", "x", check=2)
    workspace.publisher(
        "preview", "p", "--account", "beijing-wechat", "--to", "x", check=2
    )
    workspace.write_schedule(POST.format(extra="").replace("警惕", "警惕" * 40))
    workspace.publisher(
        "preview",
        "p",
        "--account",
        "beijing-wechat",
        "--to",
        "x",
        "--by",
        "李",
        check=1,
    )
    assert simulator.get("/_sim/log") == []
