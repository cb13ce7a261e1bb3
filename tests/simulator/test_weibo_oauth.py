"""The simulated Weibo: from a person's consent to a token, and the end of tokens."""

import contextlib
import json
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from publisher.simulator import create_app

UID, OTHER = "1404376560", "1999999999"
PAGE = "https://pub.example.gov.cn/weibo/cb"
OWN_PAGE = "https://api.weibo.com/oauth2/default.html"
AUTHORIZE, EXCHANGE, INFO = (
    "/oauth2/authorize",
    "/oauth2/access_token",
    "/oauth2/get_token_info",
)
TIMELINE = "/2/statuses/user_timeline.json"
DAY = 86_400
FIVE_YEARS = 157_679_999


@pytest.fixture
async def secret(sim):
    answer = await sim.post(
        "/_sim/accounts", json={"platform": "weibo", "account": UID, "name": "示例发布"}
    )
    return answer.json()


async def settings(sim, **values):
    assert (await sim.post("/_sim/settings", json=values)).status_code == 200


async def pass_time(sim, seconds):
    await sim.post("/_sim/clock", json={"shift": seconds})


async def consent(sim, secret, answer="allow", **more):
    asked = {
        "client_id": secret["app_key"],
        "redirect_uri": PAGE,
        "state": "n0nce",
        "account": UID,
        "answer": answer,
    }
    return await sim.post(AUTHORIZE, data=asked | more)


def query_of(answer):
    assert answer.status_code == 302
    return {
        name: values[0]
        for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()
    }


async def code_for(sim, secret, **more):
    return query_of(await consent(sim, secret, **more))["code"]


async def exchange(sim, secret, code, /, **more):
    wanted = {
        "client_id": secret["app_key"],
        "client_secret": secret["app_secret"],
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": PAGE,
    }
    return await sim.post(EXCHANGE, data=wanted | more)


async def token_for(sim, secret, **more):
    return (await exchange(sim, secret, await code_for(sim, secret, **more))).json()[
        "access_token"
    ]


async def info(sim, token):
    return (await sim.post(INFO, data={"access_token": token})).json()


async def code_of_timeline(sim, token):
    return (
        (await sim.get(TIMELINE, params={"access_token": token}))
        .json()
        .get("error_code")
    )


async def test_a_person_consents_on_a_page(sim, secret):
    """The page names app and accounts.

    Its form, sent as by a browser, redirects with code and state.
    """
    asked = {
        "client_id": secret["app_key"],
        "redirect_uri": f"{PAGE}?from=weibo",
        "response_type": "code",
        "state": "é<",
    }
    page = await sim.get(AUTHORIZE, params=asked)
    assert page.headers["content-type"].startswith("text/html")
    assert "form-action" not in page.headers["content-security-policy"]
    assert "示例发布" in page.text
    assert f'value="{UID}" selected' in page.text
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    assert hidden["state"] == "é&lt;"
    answer = await sim.post(
        AUTHORIZE, data={**asked, "account": UID, "other": "", "answer": "allow"}
    )
    assert answer.headers["location"].startswith(f"{PAGE}?from=weibo&state=")
    assert query_of(answer)["state"] == "é<"
    assert re.fullmatch(r"[0-9a-f]{32}", query_of(answer)["code"])
    english = await sim.get(AUTHORIZE, params={**asked, "language": "en"})
    assert "Authorise an app" in english.text


async def test_a_person_can_refuse(sim, secret):
    """The refusal is in the redirect to the app's page."""
    reported = query_of(await consent(sim, secret, answer="deny"))
    assert (reported["error"], reported["error_code"], reported["error_uri"]) == (
        "access_denied",
        "21330",
        "/oauth2/authorize",
    )
    assert reported["state"] == "n0nce"


async def test_without_an_answer_the_page_stays(sim, secret):
    """A form without an answer, or for an unknown account, shows the page again.

    Open mode accepts a new account.
    """
    assert (await consent(sim, secret, answer="")).status_code == 200
    assert (await consent(sim, secret, other=OTHER)).status_code == 302
    await settings(sim, open=False)
    assert (await consent(sim, secret, other="2000")).status_code == 200
    assert (await consent(sim, secret)).status_code == 302


async def test_consent_can_be_given_at_once(sim, secret):
    """The page is skipped, as for a browser that is signed in."""
    await settings(sim, weibo_consent="allow")
    reported = await sim.get(
        AUTHORIZE, params={"client_id": secret["app_key"], "redirect_uri": PAGE}
    )
    assert "code" in query_of(reported)


async def test_the_platforms_own_page_shows_the_code(sim, secret):
    """An app without a page of its own is redirected to the platform's.

    The simulator serves this page.
    """
    answer = await consent(sim, secret, redirect_uri=OWN_PAGE)
    assert answer.headers["location"].startswith(
        "/oauth2/default.html?state=n0nce&code="
    )
    page = await sim.get(answer.headers["location"])
    code = query_of(answer)["code"]
    assert f">{code}</code>" in page.text
    assert (await exchange(sim, secret, code, redirect_uri=OWN_PAGE)).json()[
        "uid"
    ] == UID
    assert (
        "access_denied"
        in (await sim.get("/oauth2/default.html?error=access_denied")).text
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"client_id": ""}, 21323),
        ({"client_id": "42"}, 21324),
        ({"redirect_uri": "https://evil.example/cb"}, 21322),
        ({"redirect_uri": "javascript:alert(1)"}, 21322),
        ({"response_type": "token"}, 21329),
    ],
)
async def test_a_wrong_request_gets_no_page(sim, secret, changed, expected):
    """An unknown app, an unregistered page and another response type are refused at once."""
    redirects = (
        {}
        if "javascript" in changed.get("redirect_uri", "")
        else {secret["app_key"]: PAGE}
    )
    await settings(sim, open=False, weibo_redirects=redirects)
    asked = {
        "client_id": secret["app_key"],
        "redirect_uri": PAGE,
        "response_type": "code",
        **changed,
    }
    answer = (await sim.get(AUTHORIZE, params=asked)).json()
    assert answer["error_code"] == expected
    assert (answer["request"], answer["error_uri"]) == (AUTHORIZE, AUTHORIZE)


async def test_a_code_gives_a_token_of_the_account(sim, secret):
    """The response has the platform's types; the token works and knows app and user."""
    grant = (await exchange(sim, secret, await code_for(sim, secret))).json()
    assert (grant["expires_in"], grant["remind_in"], grant["uid"]) == (
        FIVE_YEARS,
        str(FIVE_YEARS),
        UID,
    )
    assert list(grant) == ["access_token", "remind_in", "expires_in", "uid"]
    facts = await info(sim, grant["access_token"])
    assert (facts["uid"], facts["appkey"], facts["scope"]) == (
        int(UID),
        int(secret["app_key"]),
        None,
    )
    assert 0 < facts["expire_in"] <= FIVE_YEARS
    assert await code_of_timeline(sim, grant["access_token"]) is None
    received = [
        entry
        for entry in (await sim.get("/_sim/log")).json()
        if entry["endpoint"] == EXCHANGE
    ]
    assert received[0]["account"] == UID


async def test_a_code_is_valid_once_and_for_ten_minutes(sim, secret):
    """A used or expired code is no grant; a failed exchange does not use it up."""
    code = await code_for(sim, secret)
    assert (await exchange(sim, secret, code, redirect_uri=f"{PAGE}/")).json()[
        "error_code"
    ] == 21322
    assert (await exchange(sim, secret, code)).status_code == 200
    used = await exchange(sim, secret, code)
    assert (used.json()["error"], used.json()["error_code"]) == ("invalid_grant", 21325)
    old = await code_for(sim, secret)
    await pass_time(sim, 601)
    assert (await exchange(sim, secret, old)).json()["error_code"] == 21325


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"client_id": ""}, 21323),
        ({"client_secret": ""}, 21323),
        ({"client_secret": "guessed"}, 21324),
        ({"grant_type": ""}, 21323),
        ({"grant_type": "password"}, 21328),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 21325),
        ({"code": ""}, 21323),
        ({"code": "0" * 32}, 21325),
    ],
)
async def test_each_mistake_of_an_exchange_has_its_code(sim, secret, changed, expected):
    """An incomplete exchange, or one from another app, is refused in OAuth's format."""
    answer = (
        await exchange(sim, secret, await code_for(sim, secret), **changed)
    ).json()
    assert answer["error_code"] == expected
    assert (answer["request"], answer["error_uri"]) == (EXCHANGE, EXCHANGE)


async def test_a_json_body_is_not_read(sim, secret):
    """JSON instead of a form is like an empty body."""
    answer = (await sim.post(EXCHANGE, json={"client_id": secret["app_key"]})).json()
    assert answer["error_code"] == 21323
    assert answer["error_description"] == "miss client id or secret"
    assert (await sim.get(EXCHANGE)).json()["error_code"] == 10021


async def test_tokens_expire(sim, secret):
    """A token of a reviewed app expires after thirty days.

    It is 21327 in calls, and has a negative lifetime in its details.
    """
    await settings(sim, weibo_app="reviewed")
    token = await token_for(sim, secret)
    await pass_time(sim, 30 * DAY - 60)
    assert await code_of_timeline(sim, token) is None
    await pass_time(sim, 120)
    assert await code_of_timeline(sim, token) == 21327
    assert (await info(sim, token))["expire_in"] < 0


async def test_a_newer_token_supersedes_the_old_one(sim, secret):
    """The older token is valid to its end, and is then an error in get_token_info as well."""
    await settings(sim, weibo_app="reviewed")
    old = await token_for(sim, secret)
    await pass_time(sim, 15 * DAY)
    new = await token_for(sim, secret)
    assert await code_of_timeline(sim, old) is None
    await pass_time(sim, 15 * DAY + 60)
    assert (await info(sim, old))["error_code"] == 21327
    assert (await info(sim, new))["expire_in"] > 0


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_revoked_token_is_refused(sim, secret, method):
    """The response is the word "true", and every later call with that token is refused."""
    answer = await sim.request(
        method, "/oauth2/revokeoauth2", params={"access_token": secret["access_token"]}
    )
    assert answer.json() == {"result": "true"}
    assert await code_of_timeline(sim, secret["access_token"]) == 21321
    assert (await info(sim, secret["access_token"]))["error_code"] == 21321
    again = await sim.get(
        "/oauth2/revokeoauth2", params={"access_token": secret["access_token"]}
    )
    assert again.json()["error_code"] == 21321
    assert await code_of_timeline(sim, await token_for(sim, secret)) is None


@contextlib.asynccontextmanager
async def kept_in(folder):
    app = create_app(folder)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://sim"
    ) as client:
        yield client
    app.simulator_state.files.close()


async def test_tokens_survive_a_restart(tmp_path):
    """A kept state contains tokens, used codes and revocations."""
    async with kept_in(tmp_path) as sim:
        secret = (
            await sim.post("/_sim/accounts", json={"platform": "weibo", "account": UID})
        ).json()
        code = await code_for(sim, secret)
        token = (await exchange(sim, secret, code)).json()["access_token"]
        dead = await token_for(sim, secret)
        await sim.get("/oauth2/revokeoauth2", params={"access_token": dead})
    async with kept_in(tmp_path) as sim:
        assert (await info(sim, token))["uid"] == int(UID)
        assert await code_of_timeline(sim, dead) == 21321
        assert (await exchange(sim, secret, code)).json()["error_code"] == 21325


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            {"kind": "api_error", "code": 21331},
            {"error": "temporarily_unavailable", "error_uri": EXCHANGE},
        ),
        (
            {"kind": "api_error", "code": 21325, "message": "late"},
            {"error_description": "late"},
        ),
        ({"kind": "no_id"}, {"uid": UID}),
        ({"kind": "wrong_account", "to": OTHER}, {"uid": OTHER}),
    ],
)
async def test_faults_apply_to_the_exchange(sim, secret, fault, expected):
    """Errors have OAuth's format, the token can be missing, and it can be another account's."""
    code = await code_for(sim, secret)
    await sim.post(
        "/_sim/faults", json={"platform": "weibo", "endpoint": EXCHANGE, "fault": fault}
    )
    answer = (await exchange(sim, secret, code)).json()
    assert expected.items() <= answer.items()
    assert "access_token" not in answer or fault["kind"] == "wrong_account"


async def test_a_lost_exchange_uses_the_code_up(sim, secret):
    """When the response is lost, the code is used up and a person must consent again."""
    code = await code_for(sim, secret)
    rule = {
        "platform": "weibo",
        "endpoint": EXCHANGE,
        "times": 1,
        "fault": {"kind": "drop_after"},
    }
    await sim.post("/_sim/faults", json=rule)
    with pytest.raises(ConnectionResetError):
        await exchange(sim, secret, code)
    assert (await exchange(sim, secret, code)).json()["error_code"] == 21325


@pytest.mark.parametrize(
    "kind",
    ["html", "status", "bad_json", "no_id", "truncate", "drop_before", "wrong_account"],
)
async def test_faults_apply_to_the_page(sim, secret, kind):
    """With any fault on the page, the server continues and the fault is logged."""
    rule = {
        "platform": "weibo",
        "endpoint": AUTHORIZE,
        "times": 1,
        "fault": {"kind": kind},
    }
    await sim.post("/_sim/faults", json=rule)
    try:
        await consent(sim, secret)
    except ConnectionResetError:
        assert kind in ("truncate", "drop_before")
    assert json.dumps(kind) in (await sim.get("/_sim/log")).text
    assert (await consent(sim, secret)).status_code == 302
