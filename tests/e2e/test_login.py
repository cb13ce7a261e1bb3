"""`publisher login` as the account's owner uses it.

The owner consents on the platform's page, and pastes the address.
"""

import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from datetime import datetime
from html import unescape
from io import StringIO
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest

from publisher.cli import run_command
from publisher.secrets import Vault
from tests.wait import PATIENCE_SECONDS

UID, OTHER = "1404376560", "1999999999"
ACCOUNT = "beijing-weibo"
APP = {"app_key": "1352222456", "app_secret": "s3cret-of-the-app"}
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
DAY = 86_400
POST = f"""
[[post]]
id = "p"
kind = "warning"
template = "warning"
author = "zhang"
level = "orange"
title = "警惕“退款客服”诈骗"
at = "asap"
to = ["{ACCOUNT}"]
body = "接到退款电话，请先挂断。"
[post.data]
summary = "自称客服、要求转账的，是诈骗。退款原路退回，不用转账。"
"""


@pytest.fixture
def office(workspace, simulator):
    """Return a workspace on a platform with thirty-day tokens.

    The app credentials are in the encrypted store.
    """
    settings = workspace.folder / "publisher.toml"
    settings.write_text(
        settings.read_text("utf-8").replace(
            f'identity = "{ACCOUNT}"', f'identity = "{UID}"'
        ),
        "utf-8",
    )
    (workspace.folder / "secrets" / ACCOUNT).unlink()
    store = [
        sys.executable,
        "-m",
        "publisher",
        "-C",
        str(workspace.folder),
        "secret",
        "set",
        ACCOUNT,
    ]
    subprocess.run(
        store, input=json.dumps(APP), text=True, check=True, capture_output=True
    )
    simulator.post("/_sim/settings", {"weibo_app": "reviewed"})
    return workspace


def consent(address, uid, says):
    """Open the page in a browser, answer it as a user, and return the redirect address."""
    with httpx.Client(timeout=PATIENCE_SECONDS) as browser:
        page = browser.get(address)
        form = {name: unescape(value) for name, value in HIDDEN.findall(page.text)}
        assert page.status_code == 200
        assert APP["app_key"] in page.text
        reported = browser.post(
            urljoin(address, "/oauth2/authorize"),
            data={**form, "account": "", "other": uid, "answer": says},
        )
        ended_on = urljoin(address, reported.headers["location"])
        assert browser.get(ended_on).status_code == 200
        return ended_on


def log_in(office, uid, *, says="allow", paste=lambda address: address, code=0):
    """Run the command in its own terminal, and paste an answer.

    The answer is the result of `paste` on the returned address.
    """
    command = [
        sys.executable,
        "-m",
        "publisher",
        "-C",
        str(office.folder),
        "login",
        ACCOUNT,
    ]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(
        command, **pipes, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as running:
        shown = ""
        while not (found := re.search(r"http\S+/oauth2/authorize\S+", shown)):
            line = running.stdout.readline()
            assert line, shown + running.stderr.read()
            shown += line
        out, err = running.communicate(
            paste(consent(found[0], uid, says)) + "\n", timeout=PATIENCE_SECONDS
        )
    assert running.returncode == code, shown + out + err
    assert not any(
        secret in shown + out + err
        for secret in APP.values()
        if secret != APP["app_key"]
    )
    return shown + out + err


def stored_secret(office):
    """Return the stored secret of the account."""
    return Vault(folder=office.folder / "var").read(ACCOUNT)


def login_status(office):
    """Check the logins, and return the account's line and its alerts."""
    asked = [
        output_of(office, *command)
        for command in (("doctor",), ("accounts", "--json"), ("status", "--json"))
    ]
    accounts, status = (json.loads(reported) for reported in asked[1:])
    [row] = [row for row in accounts["accounts"] if row["account"] == ACCOUNT]
    alerts = [
        alert
        for alert in status["alerts"]
        if alert["subject"] == f"login:weibo/{ACCOUNT}"
    ]
    return row, [(alert["code"], alert["message"]) for alert in alerts]


def login_status_at(office, simulator, left):
    """Move the platform's clock to where so many days are left of the token, and check there."""
    now = simulator.post("/_sim/clock", {})["now"]
    ends_at = datetime.fromisoformat(
        stored_secret(office)["access_token_ends_at"]
    ).timestamp()
    simulator.post("/_sim/clock", {"shift": ends_at - left * DAY - now})
    return login_status(office)


def state_of_post(office):
    """Return the state of the only post; None before the daemon has filed it."""
    return next(
        (
            row["state"]
            for row in json.loads(output_of(office, "status", "--json"))["deliveries"]
        ),
        None,
    )


def output_of(office, *arguments):
    """Run a command in this process, and return its output."""
    with redirect_stdout(StringIO()) as reported:
        run_command(["-C", str(office.folder), *arguments])
    return reported.getvalue()


@pytest.mark.parametrize(
    "is_whole",
    [
        pytest.param(True, id="address"),
        pytest.param(False, id="code", marks=pytest.mark.extra),
    ],
)
def test_consent_becomes_a_token_that_works_and_that_no_file_shows(
    office, simulator, is_whole
):
    """I19: either form of the answer gives a token, and the account can post.

    The token is encrypted, and thirty days are left.
    """
    paste = (
        (lambda address: address)
        if is_whole
        else (lambda address: parse_qs(urlsplit(address).query)["code"][0])
    )
    assert "29" in log_in(office, UID, paste=paste)
    token = stored_secret(office)["access_token"]
    assert stored_secret(office).items() >= APP.items()
    assert not [
        path
        for path in office.folder.rglob("*")
        if path.is_file() and token.encode() in path.read_bytes()
    ]
    row, alerts = login_status(office)
    assert (row["health"], row["days_left"], alerts) == ("healthy", 29, [])
    office.write_schedule(POST)
    assert office.start("--once").wait(PATIENCE_SECONDS) == 0, office.log()
    assert [post["account"] for post in simulator.get("/_sim/posts")] == [UID]
    assert token not in office.log()


@pytest.mark.parametrize(
    ("uid", "says", "paste", "words"),
    [
        (OTHER, "allow", str, OTHER),
        (UID, "deny", str, "拒绝"),
        (
            UID,
            "allow",
            lambda address: re.sub("state=[^&]+", "state=another", address),
            "不是这一次授权的结果",
        ),
        (
            UID,
            "allow",
            lambda address: re.sub("code=[^&]+", "code=0123456789abcdef", address),
            "授权码无效",
        ),
    ],
    ids=["wrong uid", "denied", "another request's answer", "code that nobody gave"],
)
def test_another_consent_changes_nothing(office, uid, says, paste, words):
    """F38: another's token, a refusal, or a stale or made-up answer is explained.

    The store stays as before.
    """
    before = (office.folder / "var" / "vault.json").read_bytes()
    assert words in log_in(office, uid, says=says, paste=paste, code=1)
    assert (office.folder / "var" / "vault.json").read_bytes() == before


@pytest.mark.parametrize("endpoint", ["/oauth2/access_token", "/oauth2/get_token_info"])
def test_a_sign_in_without_a_usable_response_is_not_spoken_of_as_a_post(
    office, simulator, endpoint
):
    """F30: a sign-in without a usable response is reported as a failed sign-in.

    It failed, whether or not the platform used the code. The remedy is to sign in again.
    """
    before = (office.folder / "var" / "vault.json").read_bytes()
    simulator.post(
        "/_sim/faults",
        {"platform": "weibo", "endpoint": endpoint, "fault": {"kind": "html"}},
    )
    shown = log_in(office, UID, code=1)
    assert "授权没有完成，密钥没有改动" in shown
    assert f"publisher -C {office.folder} login {ACCOUNT}" in shown
    assert not re.search("发布结果|重复发送", shown)
    assert (office.folder / "var" / "vault.json").read_bytes() == before


def test_f43_days_run_out_with_four_warnings_and_signing_in_again_clears_the_alert(
    office, simulator
):
    """F43: people are alerted at 14, 7, 3 and 1 days, then of a refused login.

    A new consent clears the alert.
    """
    log_in(office, UID)
    seen = []
    for left, days in [
        (30, None),
        (14.5, None),
        (13.5, "14"),
        (13, "14"),
        (6.5, "7"),
        (2.5, "3"),
        (0.5, "1"),
    ]:
        row, alerts = login_status_at(office, simulator, left)
        assert (row["health"], row["days_left"]) == ("healthy", int(left - 1e-3))
        assert [code for code, _words in alerts] == (
            ["credentials_expiring"] if days else []
        )
        assert all(days in words for _code, words in alerts)
        seen += [re.sub(r"\d{4}-\d\d-\d\d", "", words) for _code, words in alerts]
    assert len(set(seen)) == 4
    row, alerts = login_status_at(office, simulator, -0.5)
    assert (row["health"], row["days_left"]) == ("credential_expired", None)
    assert [code for code, _words in alerts] == ["login_refused"]
    log_in(office, UID)
    row, alerts = login_status(office)
    assert (row["health"], row["days_left"], alerts) == ("healthy", 29, [])


def test_f43_a_running_daemon_goes_on_with_the_new_token(office, simulator, wait_until):
    """F43: a revoked authorisation pauses its account before any call.

    After login and resume the post is published.
    """
    log_in(office, UID)
    httpx.post(
        f"{simulator.url}/oauth2/revokeoauth2",
        data={"access_token": stored_secret(office)["access_token"]},
    )
    office.write_schedule(POST)
    office.start()
    wait_until(lambda: json.loads(output_of(office, "status", "--json"))["paused"])
    assert simulator.get("/_sim/posts") == []
    log_in(office, UID)
    office.publisher("resume", ACCOUNT, "--by", "王")
    wait_until(lambda: state_of_post(office) == "published")
    assert [post["account"] for post in simulator.get("/_sim/posts")] == [UID]
