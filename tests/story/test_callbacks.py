"""WeChat tells of a publication's end, and the daemon looks at once: real processes, real sockets, both modes."""

import contextlib
import hashlib
import json
import socket
import time
import urllib.error
import urllib.request
from urllib.parse import urlencode

import pytest

from publisher.web.listening import MOST_AT_ONCE

TOKEN, AES_KEY = "simtoken", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
POST = """
[[post]]
id = "p"
kind = "warning"
template = "warning"
author = "zhang"
level = "orange"
title = "警惕“退款客服”诈骗"
at = "asap"
to = ["platform:wechat"]
body = "接到**退款**电话，请先挂断。"
{extra}
[post.data]
summary = "自称客服、要求转账的，是诈骗。退款原路退回，不用转账。"
"""
MODES = {"beijing-wechat": "plain", "shanghai-wechat": "aes"}
FIRST_POLL = 12
"""Seconds to the first status read that no message hastens."""


@pytest.fixture
def ear(workspace):
    """Let the workspace listen on a free port, with a token for both accounts and a key for one."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    file = workspace.folder / "publisher.toml"
    before, _wechat, after = file.read_text("utf-8").partition("[limits.wechat]")
    after = after.replace('look_first = "0.4s"', f'look_first = "{FIRST_POLL}s"', 1)
    after = after.replace('platform = "wechat"\n', 'platform = "wechat"\nprofile = "mass"\n')
    file.write_text(f'{before}[callbacks]\nlisten = "127.0.0.1:{port}"\n\n[limits.wechat]{after}', "utf-8")
    for account, mode in MODES.items():
        secret = workspace.folder / "secrets" / account
        more = {"callback_token": TOKEN} | ({"encoding_aes_key": AES_KEY} if mode == "aes" else {})
        secret.write_text(json.dumps(json.loads(secret.read_text()) | more))
    return f"http://127.0.0.1:{port}/callback/wechat"


def listens(address):
    """Whether the address answers; it knows no one of this name."""
    try:
        urllib.request.urlopen(f"{address}/nobody", timeout=5)  # noqa: S310 # loopback
    except urllib.error.HTTPError as error:
        return error.code == 404
    except OSError:
        return False
    return False


def asked(simulator):
    """Count the status reads that reached the platform."""
    return sum(
        entry["kind"] == "recv" and entry["endpoint"] in {"/cgi-bin/freepublish/get", "/cgi-bin/message/mass/get"}
        for entry in simulator.get("/_sim/log")
    )


@pytest.mark.parametrize("extra", ["", "urgent = true"], ids=["publication", "mass send"])
def test_the_end_of_a_job_is_read_at_once(workspace, simulator, ear, wait_until, extra):
    """What ends is read right after the message about it, plain or sealed, and not at the next poll."""
    simulator.post("/_sim/settings", {"wechat_review_seconds": 5})
    workspace.start()
    wait_until(lambda: listens(ear))
    for account, mode in MODES.items():
        wanted = {"account": account, "url": f"{ear}/{account}", "token": TOKEN, "mode": mode, "aes_key": AES_KEY}
        simulator.post("/_sim/callbacks", wanted)
    workspace.write_schedule(POST.format(extra=extra))
    wait_until(lambda: list(workspace.states().values()) == ["submitted"] * 2)
    began = time.monotonic()
    wait_until(lambda: list(workspace.states().values()) == ["published"] * 2, FIRST_POLL - 3)
    assert time.monotonic() - began < FIRST_POLL - 3
    assert asked(simulator) == 2
    assert workspace.log().count('"hastened": 1') == 2
    told = [entry["status"] for entry in simulator.get("/_sim/log") if entry["kind"] == "callback"]
    assert told == [200, 200]


@pytest.mark.smoke
def test_a_forged_message_is_refused_and_asks_nothing(workspace, simulator, ear, wait_until):
    """Without the token nobody makes the daemon read, and the delivery waits on."""
    simulator.post("/_sim/settings", {"wechat_review_seconds": 60})
    workspace.write_schedule(POST.format(extra=""))
    workspace.start()
    wait_until(lambda: listens(ear) and list(workspace.states().values()) == ["submitted"] * 2)
    before = asked(simulator)
    stamp = {"timestamp": str(int(time.time())), "nonce": "1"}
    signed = hashlib.sha1("".join(sorted(["guessed", *stamp.values()])).encode(), usedforsecurity=False).hexdigest()
    body = b"<xml><Event>PUBLISHJOBFINISH</Event><PublishEventInfo><publish_id>1</publish_id></PublishEventInfo></xml>"
    for account in MODES:
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{ear}/{account}?{urlencode(stamp | {'signature': signed})}", body, timeout=5)  # noqa: S310 # loopback
    assert set(workspace.states().values()) == {"submitted"}
    assert asked(simulator) == before
    assert "callback_refused" in workspace.log()


def test_f90_a_flood_of_slow_clients_holds_up_no_post(workspace, simulator, ear, wait_until):
    """F90: while more clients than are served at once say nothing more, posts go out; who comes next is turned away."""
    workspace.start()
    wait_until(lambda: listens(ear))
    host, _, port = ear.removeprefix("http://").partition("/")[0].partition(":")
    with contextlib.ExitStack() as flood:
        for _ in range(MOST_AT_ONCE + 10):
            client = flood.enter_context(socket.create_connection((host, int(port)), timeout=5))
            client.sendall(b"POST /callback/wechat/beijing-wechat HTTP/1.1\r\n")
        workspace.write_schedule(POST.format(extra=""))
        wait_until(lambda: set(workspace.states().values()) in ({"submitted"}, {"published"}))
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{ear}/beijing-wechat", timeout=5)  # noqa: S310 # loopback
    wait_until(lambda: listens(ear))


def test_a_place_that_is_taken_stops_nothing(workspace, simulator, ear, wait_until):
    """Publishing goes on where the address cannot be had; it is said, and outcomes are read without it."""
    host, _, port = ear.removeprefix("http://").partition("/")[0].partition(":")
    with socket.create_server((host, int(port))):
        workspace.write_schedule(POST.format(extra=""))
        workspace.start()
        wait_until(lambda: list(workspace.states().values()) == ["published"] * 2, FIRST_POLL + 15)
    assert "callbacks_deaf" in workspace.log()
