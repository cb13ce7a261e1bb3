"""The simulated Weibo against an independent client."""

import asyncio
import contextlib
import json
import os
from pathlib import Path

import httpx
import pytest

from publisher.simulator import serve

PATIENCE = 60
SCRIPT = Path(__file__).with_name("with_weibo.py")
UID, LINK = "1404376560", "https://example.gov.cn/n/K7QM-4R2T"
TEXTS = [f"【暴雨红色预警】请勿外出 {LINK}", f"#防汛#【更新】预警解除 {LINK}"]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
SHARE = "/2/statuses/share.json"


@pytest.fixture(scope="module")
def python(environment):
    """Return the Python of the client's environment, installed once."""
    return environment("weibo-0.2.2", ["weibo==0.2.2"])


@pytest.fixture
async def control():
    ready = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve("127.0.0.1", 0, None, ready.set_result))
    port = await asyncio.wait_for(ready, PATIENCE)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        yield http
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def secret(control):
    """Return the credentials of an account under strict settings.

    The account has a registered redirect page.
    """
    account = {"platform": "weibo", "account": UID, "name": "示例发布"}
    secret = (await control.post("/_sim/accounts", json=account)).json()
    switches = {
        "open": False,
        "weibo_consent": "allow",
        "weibo_redirects": {secret["app_key"]: "https://pub.example.gov.cn/cb"},
        "weibo_rip": "strict",
        "weibo_safe_domains": ["example.gov.cn"],
        "weibo_per_hour": 30,
        "weibo_per_day": 100,
    }
    assert (await control.post("/_sim/settings", json=switches)).status_code == 200
    return secret


async def run(control, python, **asked):
    """Run the client and return its report."""
    reported = {
        **asked,
        "address": str(control.base_url).rstrip("/"),
        "page": "https://pub.example.gov.cn/cb",
    }
    process = await asyncio.create_subprocess_exec(
        python,
        SCRIPT,
        json.dumps(reported),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    )
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0
    return json.loads(out)


async def test_weibo_signs_in_publishes_and_deletes(control, secret, python, tmp_path):
    """The client goes from consent to a token, two posts, and one deletion.

    One post has a picture. The client also reads the list and the counts.
    """
    picture = tmp_path / "card.png"
    picture.write_bytes(PNG)
    reported = await run(
        control, python, **secret, do="publish", texts=TEXTS, picture=str(picture)
    )
    plain, shown = reported["shared"]
    assert (reported["version"], reported["uid"], reported["alive"]) == (
        "0.2.2",
        UID,
        True,
    )
    assert (reported["before"], reported["after"], reported["gone"]) == (
        [shown, plain],
        [shown],
        plain,
    )
    assert reported["counted"] == [int(plain), int(shown)]
    assert (reported["pictures"], reported["left"]) == ([0, 1], 28)
    assert reported["texts"][0] == reported["texts"][1]
    assert reported["texts"][0].startswith("防汛【更新】预警解除 http://t.cn/")
    posts = (await control.get("/_sim/posts")).json()
    assert [(post["id"], post["text"], post["removed"]) for post in posts] == [
        (plain, TEXTS[0], True),
        (shown, TEXTS[1], False),
    ]
    assert (await control.get(f"/_sim/media/{posts[1]['images'][0]}")).content == PNG


async def test_weibo_understands_refusals(control, secret, python, tmp_path):
    """The client sees the platform's code and text of each refusal."""
    picture = tmp_path / "card.png"
    picture.write_bytes(PNG)
    reported = await run(
        control, python, **secret, do="publish", texts=TEXTS, picture=str(picture)
    )
    assert reported["code_again"] == "21325 invalid_grant"
    assert reported["gone_again"] == "20101 Target weibo does not exist"
    assert reported["same_again"] == "20019 repeat content!"
    assert reported["no_link"] == "10017 text not find domain!"
    assert (
        reported["too_long"]
        == "20012 Text too long, please input text less than 140 characters"
    )
    assert reported["update"] == "10014 Insufficient app permissions!"


@pytest.mark.parametrize(
    "case",
    [
        (
            {"kind": "api_error", "code": 10024},
            "10024 User requests for (/statuses/share) out of rate limit!",
            0,
        ),
        (
            {"kind": "api_error", "code": 20032},
            "20032 Update success, while server slow now, please wait 1-2 minutes",
            1,
        ),
        ({"kind": "expire_token"}, "21327 expired_token", 0),
        ({"kind": "captcha"}, "20031 Test and verify", 0),
        ({"kind": "drop_before"}, "connection", 0),
        ({"kind": "drop_after"}, "connection", 1),
    ],
    ids=["limit", "slow", "expired", "captcha", "lost request", "lost reply"],
)
async def test_weibo_meets_faults_f24(control, secret, python, case):
    """A fault on `share` reads as on the platform; after a lost response the post exists."""
    fault, error, listed = case
    await control.post(
        "/_sim/faults", json={"platform": "weibo", "endpoint": SHARE, "fault": fault}
    )
    reported = await run(control, python, **secret, do="share", uid=UID, texts=TEXTS)
    assert reported == {"error": error, "listed": listed}
