"""publisher's daemon posts to snac, is killed during a call, and settles by reading the account."""

import json
import shutil
import signal

import pytest
from snac import serve_snac
from workspace import publisher, write_workspace

from publisher.testing.fault_front import open_fault_front

pytestmark = pytest.mark.skipif(
    shutil.which("snac") is None, reason="NO SNAC: apt-get install snac2"
)

SCHEDULE = """
[[post]]
id = "refund-scam"
kind = "warning"
template = "warning"
author = "zhang"
title = "警惕“退款客服”诈骗"
at = "asap"
to = ["beijing"]
[post.data]
summary = "退款不用转账。"
"""


@pytest.fixture
def snac(tmp_path):
    """Serve snac with one account."""
    with serve_snac(tmp_path / "snac") as server:
        yield server


async def make_workspace(folder, snac, front):
    """Write a workspace with one post for the account on snac.

    The account has an older post: an empty list proves nothing.
    """
    await snac.post_manually("一小时前的旧消息", "这是由人工发布的旧消息。")
    status, _, errors = await publisher(folder, "init", str(folder))
    assert status == 0, errors
    write_workspace(folder, SCHEDULE, identity=snac.identity, base_url=front.base_url)
    (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
    (folder / "secrets" / "mastodon").write_text(
        json.dumps({"access_token": snac.token})
    )


async def published_once(folder, snac):
    """Return whether the post is published, and the only one beside the older post."""
    _, output, _ = await publisher(folder, "status", "--json")
    [delivery] = json.loads(output)["deliveries"]
    [status, _older] = snac.list_statuses()
    assert "警惕“退款客服”诈骗" in status["content"]
    return (delivery["state"], delivery["remote_id"], delivery["url"]) == (
        "published",
        status["id"],
        status["url"],
    )


@pytest.mark.parametrize(
    "failpoint",
    ["http.mid_body", "http.after_body", "http.after_reply"],
)
async def test_a_killed_daemon_leaves_one_post(tmp_path, snac, failpoint):
    """After a kill in the call, before or after the response, a restart publishes once in all."""
    folder = tmp_path / "workspace"
    async with open_fault_front(snac.base_url) as front:
        await make_workspace(folder, snac, front)
        status, _, errors = await publisher(
            folder, "run", "--once", failpoints=f"{failpoint}:kill@1"
        )
        assert status == -signal.SIGKILL, errors
        status, _, errors = await publisher(folder, "run", "--once")
        assert status == 0, errors
    assert await published_once(folder, snac)


async def test_a_lost_response_is_settled_by_reading(tmp_path, snac):
    """The post was made and the response lost: the account is read, and no second call is made."""
    folder = tmp_path / "workspace"
    async with open_fault_front(snac.base_url) as front:
        await make_workspace(folder, snac, front)
        lost = front.inject(
            "drop_after", applies_to=lambda request: request.method == "POST"
        )
        status, _, errors = await publisher(folder, "run", "--once")
        assert status == 0, errors
        assert lost.count == 1
    assert await published_once(folder, snac)
