"""The simulated WeChat against independent clients."""

import io
import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest
from PIL import Image

PATIENCE = 120
WECHATPY = "wechatpy==2.0.0a26"
PUBLISHER = "wechat-mcp-publisher==0.2.1"
APP_ID, TITLE = "wx0000000000000001", "警惕“退款客服”诈骗"
TOKEN, AES_KEY = "simtoken", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


def png(width, height):
    made = io.BytesIO()
    Image.new("RGB", (width, height), "navy").save(made, "PNG")
    return made.getvalue()


@pytest.fixture
def control(simulator):
    with httpx.Client(base_url=f"{simulator.url}/_sim", trust_env=False) as client:
        yield client


@pytest.fixture
def run(simulator, control):
    """Return a function that runs a client as the account and returns its report."""
    wanted = {"platform": "wechat", "account": APP_ID, "name": "示例公安"}
    secret = control.post("/accounts", json=wanted).json()
    control.post("/settings", json={"wechat_review_seconds": 10})

    def running(python, script, **asked):
        given = json.dumps(
            {
                "base": simulator.url,
                "title": TITLE,
                "png": png(600, 400).hex(),
                **secret,
                **asked,
            }
        )
        command = [python, Path(__file__).with_name(script), given]
        environment = {"PATH": os.environ["PATH"], "NO_PROXY": "*"}
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    return running


@pytest.fixture
def wechatpy(environment, run):
    python = environment("wechatpy", [WECHATPY])
    return lambda **asked: run(python, "with_wechatpy.py", **asked)


def test_wechatpy_publishes(wechatpy, control):
    """wechatpy signs in, uploads, drafts, changes the draft, and publishes.

    It reads back by status and list, and deletes.
    """
    reported = wechatpy(do="publish")
    (post,) = control.get("/posts").json()
    assert reported["version"] == "2.0.0a26"
    assert (reported["drafts"], reported["consumed"], reported["statuses"]) == (
        [1, True],
        40007,
        [1, 0, 5],
    )
    assert (reported["title"], reported["marker"], reported["deleted"]) == (
        TITLE,
        "https://example.gov.cn/?pub=1",
        True,
    )
    assert (post["id"], post["url"], post["title"]) == (
        reported["article"],
        reported["url"],
        TITLE,
    )
    assert (post["removed"], len(post["images"])) == (True, 1)


def test_wechatpy_sends_to_followers(wechatpy, control):
    """wechatpy sends to all, to a tag, and to a list: each draft is sent once.

    Retries do not send it again. Its page can be deleted.
    """
    reported = wechatpy(do="send")
    posts = {post["id"]: post for post in control.get("/posts").json()}
    assert reported["tags"] == [["星标组", 0], ["示例标签", 2]]
    assert reported["refused"] == [45066, 45065, 40007]
    assert reported["statuses"] == ["SENDING", "SEND_SUCCESS", "DELETE"]
    assert reported["unlisted"] == 0
    first, data, to_tag, to_list = reported["numbers"]
    assert posts[str(first)]["removed"]
    assert f"mid={data}" in posts[str(first)]["url"]
    reached = [
        posts[str(number)]["extra"]["mass"]["sent"]
        for number in (first, to_tag, to_list)
    ]
    assert (len(posts), reached) == (4, [1000, 2, 2])


def test_wechatpy_keeps_pictures(wechatpy):
    """Permanent and temporary pictures come back byte for byte; a temporary one is no cover."""
    reported = wechatpy(do="store", day="2025-11-02")
    expected = {
        "counted": 1,
        "listed": True,
        "same": True,
        "temporary": 40007,
        "gone": 40007,
        "days": [],
    }
    assert reported == expected


@pytest.mark.parametrize("mode", ["plain", "aes", "compatible"])
def test_wechatpy_receives_events(wechatpy, control, mode):
    """It passes the handshake, verifies each signature, decrypts and parses both events."""
    control.post("/settings", json={"wechat_review_seconds": 0.1})
    reported = wechatpy(do="receive", mode=mode, token=TOKEN, aes_key=AES_KEY)
    (_, job), (kind, mass) = reported["received"]
    assert reported["taken"] == {"ok": True}
    assert job["PublishEventInfo"]["publish_id"] == str(reported["job"])
    assert (job["Event"], job["PublishEventInfo"]["publish_status"]) == (
        "PUBLISHJOBFINISH",
        "0",
    )
    assert (kind, mass["MsgID"], mass["Status"]) == (
        "MassSendJobFinishEvent",
        str(reported["mass"]),
        "send success",
    )


def test_wechat_mcp_publisher_drafts_pictures(environment, run, control, tmp_path):
    """With a shared token it drafts pictures and a text; a cover of one pixel is refused."""
    python = environment("wechat-mcp-publisher", [PUBLISHER])
    files = {"a.png": png(600, 400), "b.png": png(600, 600), "small.png": png(1, 1)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    pictures = [str(tmp_path / name) for name in ("a.png", "b.png")]
    small = str(tmp_path / "small.png")
    reported = run(
        python,
        "with_wechat_mcp_publisher.py",
        title="防骗提醒",
        pictures=pictures,
        small=small,
    )
    (name, item), (news, article) = reported["pictures"], reported["news"]
    assert (reported["version"], reported["same_token"]) == ("0.2.1", True)
    assert reported["listed"] == [[news, "防骗提醒"], [name, "防骗提醒"]]
    assert (item["article_type"], item["content"]) == ("newspic", "第一行\n第二行")
    assert (len(item["image_info"]["image_list"]), item["need_open_comment"]) == (2, 1)
    assert "http://mmbiz.qpic.cn/mmbiz_png/" in article["content"]
    assert (reported["small"], reported["deleted"], reported["left"]) == (
        53402,
        True,
        1,
    )
    assert control.get("/posts").json() == []
