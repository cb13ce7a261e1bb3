"""The daemon in real processes, on real files, against the simulator behind real sockets."""

import hashlib
import json
import shutil
import signal
import struct
import zlib
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from publisher.rendering.templates import shipped_templates
from tests.wait import PATIENCE_SECONDS

POST = """
[[post]]
id = "{id}"
kind = "warning"
template = "warning"
author = "zhang"
level = "orange"
title = "警惕“退款客服”诈骗"
at = {at}
to = ["all"]
{extra}
body = "接到**退款**电话，请先挂断。"
[post.data]
summary = "自称客服、要求转账的，是诈骗。退款原路退回，不用转账。"
"""
NO_SECOND_CALL = {"tieba", "wechat"}
"""The platforms where no second call follows a routine one.

Tieba never allows it, and WeChat remembers no submission.
"""


def post(name, at='"asap"', extra=""):
    return POST.format(id=name, at=at, extra=extra)


def png(shade, author=b""):
    """Return a small picture, with its author's name where one is given."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\x00" + bytes([shade, 20, 200] * 300) for _ in range(200))
    header = struct.pack(">IIBBBBB", 300, 200, 8, 2, 0, 0, 0)
    head = chunk(b"IHDR", header) + (
        chunk(b"tEXt", b"Author\0" + author) if author else b""
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.long
@pytest.mark.smoke
def test_due_posts_are_published_on_every_platform_once(workspace, simulator):
    """One run publishes on each account, each with a post of its own, and ends with 0."""
    workspace.write_schedule(post("p"))
    assert workspace.start("--once").wait(PATIENCE_SECONDS) == 0, workspace.log()
    assert set(workspace.states().values()) == {"published"}
    made = [item["account"] for item in simulator.get("/_sim/posts")]
    assert sorted(made) == sorted(set(made))
    assert len(made) == 6


def test_a_preview_shows_the_bytes_that_arrive(workspace, simulator):
    """Text, article and pictures at the platform equal the preview, by hash.

    F75: the picture arrives without its author's name.
    """
    picture = png(90)
    (workspace.folder / "media" / "warn.png").write_bytes(png(90, author=b"Zhang San"))
    images = 'images = [{ file = "media/warn.png", alt = "示意图" }]'
    at = in_seconds(
        1
    )  # the text names the minute: "asap" might be another one when it is sent
    workspace.write_schedule(
        post("plain", at=at) + post("pictured", at=at, extra=images)
    )
    shown = {
        (name, item["account"]): item
        for name in ("plain", "pictured")
        for item in json.loads(workspace.publisher("preview", name, "--json"))[
            "rendered_posts"
        ]
    }
    assert workspace.start("--once").wait(PATIENCE_SECONDS) == 0, workspace.log()
    by_url = {item["url"]: item for item in simulator.get("/_sim/posts")}
    covers = shipped_templates() / "warning" / "cover.png"
    for delivery in workspace.status()["deliveries"]:
        item = shown[delivery["post"], delivery["account"]]
        arrived = by_url[delivery["url"]]
        if delivery["post"] == "plain":
            received = (
                arrived["html"] if delivery["platform"] == "wechat" else arrived["text"]
            )
            assert sha256(received) == item["sha256"]
        if delivery["post"] == "pictured":
            assert hashlib.sha256(picture).hexdigest() in arrived["images"]
        if delivery["platform"] == "wechat" and delivery["post"] == "plain":
            assert (
                arrived["images"][0] == hashlib.sha256(covers.read_bytes()).hexdigest()
            )
        assert {image["sha256"] for image in item["pictures"]} == set(arrived["images"])


def test_a_file_with_five_mistakes_stops_nothing(workspace, simulator, wait_until):
    """`check` names all five mistakes at their places.

    The running daemon goes on with the last good version.
    """
    good = post("first") + post("second", at=in_seconds(15))
    workspace.write_schedule(good)
    workspace.start()
    wait_until(lambda: len(simulator.get("/_sim/posts")) >= 6)
    bad = (
        post("first")
        + post("second", at='"tomorrow"')
        + post("second").replace('["all"]', '["nowhere"]')
        + post("fourth", extra="colour = 1").replace(
            'kind = "warning"', 'kind = "leaflet"'
        )
    )
    workspace.write_schedule(bad)
    found = json.loads(workspace.publisher("check", "--json", check=1))["problems"]
    errors = {
        (item["path"], item["code"]): (item["line"], item["column"]) for item in found
    }
    lines = bad.splitlines()
    assert {path for path, _code in errors} >= {
        "post[1].at",
        "post[2].id",
        "post[2].to[0]",
        "post[3].kind",
        "post[3].colour",
    }
    for (path, _code), (line, column) in errors.items():
        key = path.partition(".")[2].partition("[")[0]
        assert key in lines[line - 1][: column + len(key)], (path, line, column)
    wait_until(lambda: len(simulator.get("/_sim/posts")) == 12)
    assert any(
        alert["code"] == "reload_refused" for alert in workspace.status()["alerts"]
    )


def in_seconds(seconds):
    """Format the instant so many seconds from now as staff do, without offset."""
    return (
        datetime.now(ZoneInfo("Asia/Shanghai")) + timedelta(seconds=seconds)
    ).strftime("%Y-%m-%dT%H:%M:%S")


def test_f14_a_stop_finishes_the_call_in_flight(workspace, simulator, wait_until):
    """On SIGTERM the call in flight is finished, nothing new begins, and the exit code is 0."""
    endpoint = "/2/statuses/share.json"
    settings = workspace.folder / "publisher.toml"
    text = settings.read_text("utf-8")
    hasty = 'request_timeout = "1.5s"\nlease_timeout = "2s"\nvisibility_window = "3s"'
    settings.write_text(
        text.replace(
            hasty,
            'request_timeout = "9s"\nlease_timeout = "11s"\nvisibility_window = "13s"',
        ),
        "utf-8",
    )
    delay = {"kind": "delay", "seconds": 5}
    simulator.post(
        "/_sim/faults",
        {"platform": "weibo", "endpoint": endpoint, "nth": [1], "fault": delay},
    )
    workspace.write_schedule(post("p") + post("q"))
    daemon = workspace.start()

    def called():
        return [
            entry["account"]
            for entry in simulator.get("/_sim/log")
            if (entry["kind"], entry["endpoint"]) == ("recv", endpoint)
        ]

    wait_until(called)
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(PATIENCE_SECONDS) == 0
    account, *others = called()
    assert account not in others
    states = workspace.states()
    assert sorted(states[f"{name}@{account}"] for name in ("p", "q")) == [
        "due",
        "published",
    ]
    assert not {"sending", "unknown"} & set(states.values())


@pytest.mark.parametrize(
    ("point", "once_only"),
    [
        pytest.param("intent.before_commit", set(), id="F01", marks=pytest.mark.extra),
        pytest.param("intent.after_commit", set(), id="F02"),
        pytest.param(
            "http.mid_body", NO_SECOND_CALL, id="F03", marks=pytest.mark.extra
        ),
        pytest.param(
            "http.after_reply", NO_SECOND_CALL, id="F04-unread", marks=pytest.mark.extra
        ),
        pytest.param("outcome.before_commit", NO_SECOND_CALL, id="F04-unwritten"),
        pytest.param(
            "outcome.after_commit", NO_SECOND_CALL, id="F05", marks=pytest.mark.extra
        ),
    ],
)
def test_a_kill_around_the_call_doubles_none_and_loses_none(
    workspace, simulator, point, once_only
):
    """Killed there, the next start leaves one post on each account, or one wait for a person.

    A person is asked only where a call had begun, is proven absent, and the platform allows no
    second one.
    """
    give_history(simulator)
    workspace.write_schedule(post("p"))
    assert (
        workspace.start(PUBLISHER_FAILPOINTS=f"{point}:kill@1").wait(PATIENCE_SECONDS)
        == -signal.SIGKILL
    )
    workspace.start("--once").wait(PATIENCE_SECONDS)
    deliveries = workspace.status()["deliveries"]
    published = [item["account"] for item in deliveries if item["state"] == "published"]
    made = [
        item["account"]
        for item in simulator.get("/_sim/posts")
        if not item["extra"].get("by_hand")
    ]
    assert sorted(made) == sorted(published)
    waiting = [item for item in deliveries if item["state"] != "published"]
    assert {item["platform"] for item in waiting} <= once_only
    assert {(item["state"], item["reason"]) for item in waiting} <= {
        ("held", "not_published")
    }


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("reload.after_read", marks=pytest.mark.extra),
        "plan.after_insert",
        pytest.param("reload.before_commit", marks=pytest.mark.extra),
    ],
)
def test_f10_a_kill_while_a_schedule_is_applied_leaves_the_old_plan_or_the_new_one(
    workspace, simulator, wait_until, point
):
    """F10: a kill while a schedule is applied leaves nothing of the new schedule filed.

    The next start files all of it, and sends each post once.
    """
    workspace.write_schedule(post("p"))
    daemon = workspace.start(PUBLISHER_FAILPOINTS=f"{point}:kill@1")
    assert daemon.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    assert workspace.states() == {}
    workspace.start()
    wait_until(lambda: list(workspace.states().values()) == ["published"] * 6)
    assert len(simulator.get("/_sim/posts")) == 6


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("retract.before_call", marks=pytest.mark.extra),
        "retract.after_call",
    ],
)
def test_f09_a_kill_while_posts_are_retracted_leaves_none_of_them_published(
    workspace, simulator, wait_until, point
):
    """F09: after a kill before or after the deleting call, all posts are retracted.

    The next start reads and repeats.
    """
    workspace.write_schedule(post("p").replace("all", "platform:weibo"))
    daemon = workspace.start(PUBLISHER_FAILPOINTS=f"{point}:kill@1")
    wait_until(lambda: list(workspace.states().values()) == ["published"] * 2)
    workspace.publisher("retract", "p", "--by", "li", "--reason", "drill")
    assert daemon.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    assert "retracting" in workspace.states().values()
    workspace.start()
    wait_until(lambda: list(workspace.states().values()) == ["retracted"] * 2)
    assert [item["removed"] for item in simulator.get("/_sim/posts")] == [True, True]


def test_f79_a_second_daemon_is_refused(workspace, simulator, wait_until):
    """It ends with 3 and names the first one's process; the first goes on."""
    workspace.write_schedule(post("p"))
    first = workspace.start()
    wait_until(lambda: len(simulator.get("/_sim/posts")) == 6)
    second = workspace.start()
    assert second.wait(PATIENCE_SECONDS) == 3
    assert str(first.pid) in workspace.log()
    assert first.poll() is None


def test_f103_a_copy_beside_its_original_sends_nothing(
    workspace, simulator, wait_until, tmp_path
):
    """F103, F79: a copy beside its original is refused while the original goes on.

    So is a second daemon where the lock file is gone.
    """
    workspace.write_schedule(post("p"))
    original = workspace.start()
    wait_until(lambda: len(simulator.get("/_sim/posts")) == 6)
    shutil.copytree(workspace.folder, tmp_path / "copy")
    copy = type(workspace)(tmp_path / "copy", workspace.simulator)
    for second in (copy, workspace):
        (second.folder / "var" / "publisher.db.lock").unlink()
        second.write_schedule(post("p") + post("q"))
        assert second.start().wait(PATIENCE_SECONDS) == 3
    wait_until(lambda: len(simulator.get("/_sim/posts")) == 12)
    wait_until((workspace.folder / "var" / "publisher.db.lock").exists)
    assert original.poll() is None


def test_f24_lost_replies_are_found_and_not_repeated(workspace, simulator):
    """Where every first reply is lost, each account still ends with one post, found by reading."""
    for platform, endpoint in (
        ("weibo", "/2/statuses/share.json"),
        ("wechat", "/cgi-bin/freepublish/submit"),
        ("tieba", "/c/c/thread/add_pc"),
    ):
        for city in ("beijing", "shanghai"):
            simulator.post(
                "/_sim/faults",
                {
                    "platform": platform,
                    "account": f"{city}-{platform}",
                    "endpoint": endpoint,
                    "nth": [1],
                    "fault": {"kind": "drop_after"},
                },
            )
    give_history(simulator)
    workspace.write_schedule(post("p"))
    assert workspace.start("--once").wait(PATIENCE_SECONDS) == 0, workspace.log()
    assert set(workspace.states().values()) == {"published"}
    acts = [
        entry
        for entry in simulator.get("/_sim/log")
        if entry["kind"] == "act" and entry["post_id"]
    ]
    assert len([entry for entry in acts if entry["endpoint"]]) == 6


def test_f77_a_lost_mass_send_that_is_to_be_retracted_goes_to_a_person(
    workspace, simulator, wait_until
):
    """F77: a lost mass send that is to be retracted is held, as no list shows it.

    A person deletes it and confirms the deletion.
    """
    file = workspace.folder / "publisher.toml"
    text = file.read_text("utf-8")
    file.write_text(
        text.replace(
            'platform = "wechat"\n', 'platform = "wechat"\nprofile = "mass"\n'
        ),
        "utf-8",
    )
    fault = {
        "platform": "wechat",
        "endpoint": "/cgi-bin/message/mass/sendall",
        "nth": [1],
    }
    simulator.post("/_sim/faults", {**fault, "fault": {"kind": "drop_after"}})
    workspace.write_schedule(
        post("p", extra="urgent = true").replace('["all"]', '["beijing-wechat"]')
    )
    workspace.start()

    def standing():
        return {
            (item["state"], item["reason"]) for item in workspace.status()["deliveries"]
        }

    wait_until(lambda: standing() == {("held", "uncheckable")})
    workspace.publisher("retract", "p", "--by", "li", "--reason", "wrong")
    wait_until(lambda: standing() == {("held", "undeletable")})
    assert "held.undeletable" in {
        alert["code"] for alert in workspace.status()["alerts"]
    }
    assert "not-published" in workspace.publisher("why", "p")
    assert "由 li 确认" in workspace.publisher(
        "resolve",
        "p@beijing-wechat",
        "not-published",
        "--by",
        "li",
        "--reason",
        "deleted",
    )
    assert set(workspace.states().values()) == {"retracted"}
    assert "由人确认" in workspace.publisher("why", "p")
    assert len(simulator.get("/_sim/posts")) == 1


def give_history(simulator):
    """Give each account an older post, so that a list can prove absence."""
    simulator.post("/_sim/clock", {"shift": -3600})
    for city in ("beijing", "shanghai"):
        for platform in ("weibo", "wechat", "tieba"):
            body = {
                "platform": platform,
                "account": f"{city}-{platform}",
                "text": "大家好，欢迎关注。",
                "title": "欢迎关注",
            }
            simulator.post("/_sim/posts", body)
    simulator.post("/_sim/clock", {"shift": 3600})
