"""WeChat reports the end of a publish job, and the daemon reads it at once.

The test uses real sockets and both modes.
"""

import contextlib
import hashlib
import itertools
import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest

from publisher.web.http.server import LOG_INTERVAL_SECONDS, HttpLimits
from tests.adapters.test_wechat_callback import FINISHED, encrypted, plain
from tests.e2e.test_shortened_lists import ACCOUNTS, CREATES
from tests.e2e.test_shortened_lists import POST as AT_AN_INSTANT
from tests.ports import free_port

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
PATIENCE = 5
"""Seconds that WeChat waits for an answer."""
TRIES = 3
"""How often WeChat sends a message that is not answered."""
FLOOD_SECONDS = 60
SOFT_LIMIT = 1024
"""Descriptors that systemd gives a service by default; the test does not allow raising them."""
LATEST = 5
"""Maximum seconds from its instant to the sending of a post, with any clients connecting."""
FIRST_POLL = 60
"""Seconds to the first status read that no message triggers."""


@pytest.fixture
def listener(workspace):
    """Configure the workspace to listen on a free port.

    Both accounts get a token, and one gets a key.
    """
    port = free_port()
    file = workspace.folder / "publisher.toml"
    before, _wechat, after = file.read_text("utf-8").partition("[limits.wechat]")
    after = after.replace(
        'first_check_after = "0.4s"', f'first_check_after = "{FIRST_POLL}s"', 1
    )
    after = after.replace(
        'platform = "wechat"\n', 'platform = "wechat"\nprofile = "mass"\n'
    )
    file.write_text(
        f'{before}[callbacks]\nlisten = "127.0.0.1:{port}"\n\n[limits.wechat]{after}',
        "utf-8",
    )
    for account, mode in MODES.items():
        secret = workspace.folder / "secrets" / account
        more = {"callback_token": TOKEN} | (
            {"encoding_aes_key": AES_KEY} if mode == "aes" else {}
        )
        secret.write_text(json.dumps(json.loads(secret.read_text()) | more))
    return f"http://127.0.0.1:{port}/callback/wechat"


def listens(address):
    """Return True if the address answers 403 to an unknown account."""
    try:
        urllib.request.urlopen(f"{address}/nobody", timeout=60)  # noqa: S310 # loopback
    except urllib.error.HTTPError as error:
        return error.code == 403
    except OSError:
        return False
    return False


def asked(simulator):
    """Count the status reads that reached the platform."""
    return sum(
        entry["kind"] == "recv"
        and entry["endpoint"]
        in {"/cgi-bin/freepublish/get", "/cgi-bin/message/mass/get"}
        for entry in simulator.get("/_sim/log")
    )


@pytest.mark.parametrize(
    "extra", ["", "urgent = true"], ids=["publication", "mass send"]
)
def test_the_end_of_a_job_is_read_at_once(
    workspace, simulator, listener, wait_until, extra
):
    """The outcome is read right after the message about it, plain or encrypted.

    It does not wait for the next poll.
    """
    simulator.post("/_sim/settings", {"wechat_review_seconds": 5})
    workspace.start()
    wait_until(lambda: listens(listener))
    for account, mode in MODES.items():
        wanted = {
            "account": account,
            "url": f"{listener}/{account}",
            "token": TOKEN,
            "mode": mode,
            "aes_key": AES_KEY,
        }
        simulator.post("/_sim/callbacks", wanted)
    workspace.write_schedule(POST.format(extra=extra))
    wait_until(lambda: list(workspace.states().values()) == ["submitted"] * 2)
    began = time.monotonic()
    wait_until(lambda: list(workspace.states().values()) == ["published"] * 2)
    assert time.monotonic() - began < FIRST_POLL - 10
    assert asked(simulator) == 2
    assert workspace.log().count('"checked": 1') == 2
    reported = [
        entry["status"]
        for entry in simulator.get("/_sim/log")
        if entry["kind"] == "callback"
    ]
    assert reported == [200, 200]


def test_a_forged_message_is_refused_and_asks_nothing(
    workspace, simulator, listener, wait_until
):
    """Without the token nobody makes the daemon read, and the delivery waits on."""
    simulator.post("/_sim/settings", {"wechat_review_seconds": 60})
    workspace.write_schedule(POST.format(extra=""))
    workspace.start()
    wait_until(
        lambda: (
            listens(listener) and list(workspace.states().values()) == ["submitted"] * 2
        )
    )
    before = asked(simulator)
    stamp = {"timestamp": str(int(time.time())), "nonce": "1"}
    signed = hashlib.sha1(
        "".join(sorted(["guessed", *stamp.values()])).encode(), usedforsecurity=False
    ).hexdigest()
    body = (
        b"<xml><Event>PUBLISHJOBFINISH</Event>"
        b"<PublishEventInfo><publish_id>1</publish_id></PublishEventInfo></xml>"
    )
    query = urlencode(stamp | {"signature": signed})
    for account in MODES:
        address = f"{listener}/{account}?{query}"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address, body, timeout=60)  # noqa: S310 # loopback
    assert set(workspace.states().values()) == {"submitted"}
    assert asked(simulator) == before
    assert "callback_refused" in workspace.log()


def port_of(listener):
    return int(listener.rpartition(":")[2].partition("/")[0])


def report(listener, account, number):
    """Send a signed message about an unknown job, as WeChat does.

    Return the seconds until it was answered.
    """
    words, now = FINISHED.replace("2247500001", str(number)), datetime.now(UTC)
    message = {
        "plain": plain(words, at=now, nonce=str(number)),
        "aes": encrypted(words, app_id=account, at=now),
    }
    query, body = message[MODES[account]].query, message[MODES[account]].body
    address = f"{listener}/{account}?{urlencode(query)}"
    began = time.monotonic()
    with contextlib.suppress(OSError):
        answer = urllib.request.urlopen(address, body, timeout=PATIENCE)  # noqa: S310 # loopback
        seconds = time.monotonic() - began
        return seconds if answer.read() == b"success" and seconds < PATIENCE else None
    return None


def test_f90_a_flood_of_slow_clients_holds_up_no_post(
    workspace, simulator, listener, wait_until
):
    """F90: a flood of slow clients holds up no post.

    While sixty clients send half a request and then nothing, posts are sent, and signed messages
    are answered.
    """
    workspace.start()
    wait_until(lambda: listens(listener))
    with contextlib.ExitStack() as flood:
        for _ in range(60):
            client = flood.enter_context(
                socket.create_connection(("127.0.0.1", port_of(listener)), timeout=60)
            )
            client.sendall(b"POST /callback/wechat/beijing-wechat HTTP/1.1\r\n")
        assert report(listener, "beijing-wechat", 1) is not None
        workspace.write_schedule(POST.format(extra=""))
        wait_until(
            lambda: set(workspace.states().values()) in ({"submitted"}, {"published"})
        )
    wait_until(lambda: "connections_refused" in workspace.log())
    assert set(workspace.states().values()) <= {"submitted", "published"}


@contextlib.contextmanager
def flood(port, silent, dripping, seconds):
    """Run a flood beside this process.

    Return a function that waits for its end and returns its figures.
    """
    arguments = [
        Path(__file__).with_name("request_flood.py"),
        *map(str, (port, silent, dripping, seconds)),
    ]
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            began = json.loads(process.stdout.readline())
            yield lambda: began | json.loads(process.stdout.readline())
        finally:
            process.terminate()


def cpu_seconds(process):
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.extra
@pytest.mark.long(seconds=65)
def test_f90_a_flood_of_2200_delays_no_post_and_silences_no_message(
    workspace, listener, wait_until
):
    """F90: a flood of 2,000 silent and 200 slow clients for a minute does not delay a post.

    Messages are answered, and a due post is sent in time.
    """
    daemon = workspace.start()
    wait_until(lambda: listens(listener))
    due_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=40)
    workspace.write_schedule(
        AT_AN_INSTANT.format(at=due_at, to=str(ACCOUNTS).replace("'", '"'))
    )
    wait_until(lambda: len(workspace.states()) == len(ACCOUNTS), 20)
    quiet = [
        report(listener, list(MODES)[number % 2], number) for number in range(1, 6)
    ]
    answered, descriptors, numbers = [], [], itertools.count(100)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (SOFT_LIMIT, SOFT_LIMIT))
    before = cpu_seconds(daemon)
    with flood(port_of(listener), 2000, 200, FLOOD_SECONDS) as end:
        until = time.monotonic() + FLOOD_SECONDS - PATIENCE
        while time.monotonic() < until:
            number = next(numbers)
            tries = (
                report(listener, list(MODES)[number % 2], number) for _ in range(TRIES)
            )
            answered.append(
                next(
                    (
                        (n, seconds)
                        for n, seconds in enumerate(tries, 1)
                        if seconds is not None
                    ),
                    None,
                )
            )
            descriptors.append(len(list(Path(f"/proc/{daemon.pid}/fd").iterdir())))
            threading.Event().wait(0.5)
        saw = end()
    used = cpu_seconds(daemon) - before
    calls = [
        item for item in workspace.simulator.get("/_sim/log") if item["kind"] == "recv"
    ]
    late = {
        platform: [
            round(item["began"] - due_at.timestamp(), 2)
            for item in calls
            if item["endpoint"] == endpoint
        ]
        for platform, endpoint in CREATES.items()
    }
    lines = [
        line for line in workspace.log().splitlines() if '"connections_refused"' in line
    ]
    taken = sorted(seconds for _, seconds in filter(None, answered))
    measured = {
        **saw,
        "messages": len(answered),
        "answered": len(taken),
        "heard_at_the_first_try": sum(
            found is not None and found[0] == 1 for found in answered
        ),
        "seconds_to_be_heard": {"median": taken[len(taken) // 2], "longest": taken[-1]}
        if taken
        else None,
        "seconds_before_the_flood": max(filter(None, quiet), default=None),
        "seconds_late": late,
        "daemon_descriptors_at_most": max(descriptors),
        "daemon_processor_share": round(used / FLOOD_SECONDS, 2),
        "lines_about_refusals": len(lines),
    }
    sys.stdout.write(json.dumps(measured, indent=2) + "\n")
    assert saw["connected_once"] == 2200
    assert None not in answered
    assert all(0 <= seconds[0] < LATEST for seconds in late.values())
    assert max(descriptors) < HttpLimits().max_connections + 100
    assert len(lines) <= 1 + FLOOD_SECONDS // LOG_INTERVAL_SECONDS
    assert daemon.poll() is None


def test_a_taken_port_stops_nothing(workspace, simulator, listener, wait_until):
    """Publishing goes on where the port is taken.

    An alert says so, and outcomes are read by polling.
    """
    file = workspace.folder / "publisher.toml"
    file.write_text(
        file.read_text("utf-8").replace(f'"{FIRST_POLL}s"', '"3s"'), "utf-8"
    )
    with socket.create_server(("127.0.0.1", port_of(listener))):
        workspace.write_schedule(POST.format(extra=""))
        workspace.start()
        wait_until(lambda: list(workspace.states().values()) == ["published"] * 2)
    assert "callbacks_listen_failed" in workspace.log()
    with contextlib.closing(
        sqlite3.connect(workspace.folder / "var" / "publisher.db")
    ) as database:
        query = "SELECT count(*) FROM alert WHERE code = 'callbacks_off'"
        assert database.execute(query).fetchone() == (1,)
