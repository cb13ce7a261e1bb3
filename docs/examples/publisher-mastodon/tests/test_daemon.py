"""publisher's own daemon posts to snac, is killed in the middle of a call, and settles by reading the account."""

import asyncio
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE

import pytest
from snac import serve_snac

from publisher.testing.fault_front import open_fault_front

pytestmark = pytest.mark.skipif(shutil.which("snac") is None, reason="NO SNAC: apt-get install snac2")

SETTINGS = """
environment = "drill"
secrets_dir = "secrets"
[limits.mastodon]
min_interval = "100ms"
request_timeout = "5s"
lease_timeout = "8s"
visibility_window = "9s"
first_check_after = "500ms"
retry_first = "300ms"
platform_clock_tolerance = "1s"
[region.110000]
name = "北京"
police = "北京市公安局"
hotline = "110"
tip_line = "110"
tip_link = "https://tips.example/110"
[[account]]
id = "beijing"
platform = "mastodon"
identity = "{identity}"
region = "110000"
secret = "mastodon"
base_url = "{base_url}"
"""
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
TIMEOUT_SECONDS = 240


async def publisher(folder, *arguments, failpoints=""):
    """Run a command; return its exit status and what it wrote to standard output and to standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "publisher", "-C", str(folder), *arguments,
        env={**os.environ, "PUBLISHER_FAILPOINTS": failpoints}, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode(), errors.decode()


@pytest.fixture
def snac(tmp_path):
    """Serve snac with one account."""
    with serve_snac(tmp_path / "snac") as server:
        yield server


async def make_workspace(folder, snac, front):
    """Write a workspace with one post for the account on snac, which has an older one: an empty list proves nothing."""
    await snac.post_manually("一小时前的旧消息", "这是由人工发布的旧消息。")
    status, _, errors = await publisher(folder, "init", str(folder))
    assert status == 0, errors
    (folder / "publisher.toml").write_text(SETTINGS.format(identity=snac.identity, base_url=front.base_url))
    (folder / "schedule.toml").write_text(SCHEDULE)
    (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
    (folder / "secrets" / "mastodon").write_text(json.dumps({"access_token": snac.token}))


async def published_once(folder, snac):
    """Return whether the post is published, and the only one beside the older post."""
    _, output, _ = await publisher(folder, "status", "--json")
    [delivery] = json.loads(output)["deliveries"]
    [status, _older] = snac.list_statuses()
    assert "警惕“退款客服”诈骗" in status["content"]
    return (delivery["state"], delivery["remote_id"], delivery["url"]) == ("published", status["id"], status["url"])


@pytest.mark.parametrize(
    "failpoint",
    ["http.mid_body", "http.after_body", "http.after_reply"],
)
async def test_a_killed_daemon_leaves_one_post(tmp_path, snac, failpoint):
    """Killed while it sends, before and after the response, the next start publishes the post, and only once."""
    folder = tmp_path / "workspace"
    async with open_fault_front(snac.base_url) as front:
        await make_workspace(folder, snac, front)
        status, _, errors = await publisher(folder, "run", "--once", failpoints=f"{failpoint}:kill@1")
        assert status == -signal.SIGKILL, errors
        status, _, errors = await publisher(folder, "run", "--once")
        assert status == 0, errors
    assert await published_once(folder, snac)


async def test_a_lost_response_is_settled_by_reading(tmp_path, snac):
    """The post was made and the response lost: the account is read, and no second call is made."""
    folder = tmp_path / "workspace"
    async with open_fault_front(snac.base_url) as front:
        await make_workspace(folder, snac, front)
        lost = front.inject("drop_after", applies_to=lambda request: request.method == "POST")
        status, _, errors = await publisher(folder, "run", "--once")
        assert status == 0, errors
        assert lost.count == 1
    assert await published_once(folder, snac)
