"""Login at Weibo: the consent page, and the token that results."""

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from adapters.weibo import WEIBO
from adapters.weibo.oauth import parse_authorization_code
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.errors import Problem
from publisher.i18n import load_catalogue

UID = "1404376560"
PAGE = "https://pub.example.gov.cn/weibo/cb"
CODE = "5a1c0e6f7d2b49c38e90aa41bb72c6d0"
TOKEN_URL = "https://api.weibo.com/oauth2/access_token"
INFO_URL = "https://api.weibo.com/oauth2/get_token_info"
SECRET = {
    "app_key": "1352222456",
    "app_secret": "s3cret",
    "access_token": "old",
    "access_token_ends_at": "old",
}
GRANT = {
    "access_token": "2.00NEW",
    "remind_in": "157679999",
    "expires_in": 157679999,
    "uid": UID,
}
INFO = {
    "uid": int(UID),
    "appkey": 1352222456,
    "scope": None,
    "create_at": 1782952205,
    "expire_in": 157679471,
}
ACCOUNT = Account(
    id=AccountId("beijing-weibo"),
    platform=Platform("weibo"),
    identity=UID,
    secret="weibo-beijing",
    options={"redirect_uri": PAGE},
)


@pytest.fixture
def server(make_server):
    return make_server({})


def test_address_names_app_page_and_state():
    """The consent page is the platform's, with the app's key, redirect address and state."""
    address = urlsplit(WEIBO.sign_in.build_authorization_url(ACCOUNT, SECRET, "n0nce"))
    assert (
        f"{address.scheme}://{address.netloc}{address.path}"
        == "https://api.weibo.com/oauth2/authorize"
    )
    assert parse_qs(address.query) == {
        "client_id": ["1352222456"],
        "redirect_uri": [PAGE],
        "response_type": ["code"],
        "state": ["n0nce"],
    }
    assert "s3cret" not in address.query


def test_address_without_a_redirect_page():
    """Without its own redirect address an app uses the platform's.

    A simulator's address replaces the host.
    """
    account = replace(ACCOUNT, options={}, base_url="http://127.0.0.1:8710/")
    address = WEIBO.sign_in.build_authorization_url(account, SECRET, "x")
    assert address.startswith("http://127.0.0.1:8710/oauth2/authorize?")
    assert "api.weibo.com%2Foauth2%2Fdefault.html" in address


async def test_exchange_golden(server, golden):
    """The code is exchanged once, and the token is proven to be ours.

    The secret keeps its other parts.
    """
    server.router.post(TOKEN_URL).respond(200, json=GRANT)
    server.router.post(INFO_URL).respond(200, json=INFO)
    kept = await WEIBO.sign_in.exchange_code(
        ACCOUNT, SECRET, f" {PAGE}?state=n0nce&code={CODE}\n", server.context().http
    )
    golden("weibo/access_token", server.requests[0])
    assert kept == {
        "app_key": "1352222456",
        "app_secret": "s3cret",
        "access_token": "2.00NEW",
        "access_token_ends_at": "2031-07-01T00:30:04+00:00",
    }
    assert len(server.requests) == 2


async def test_no_expiry_is_kept_where_none_is_known(server):
    """Where the platform does not say when a token was made, an older token's expiry is dropped."""
    server.router.post(TOKEN_URL).respond(200, json={**GRANT, "expires_in": "86400"})
    server.router.post(INFO_URL).respond(200, json={**INFO, "create_at": None})
    kept = await WEIBO.sign_in.exchange_code(
        ACCOUNT, SECRET, CODE, server.context().http
    )
    assert kept == {
        "app_key": "1352222456",
        "app_secret": "s3cret",
        "access_token": "2.00NEW",
    }


@pytest.mark.parametrize(
    ("grant", "info", "code"),
    [
        ({"error": "invalid_grant", "error_code": 21325}, INFO, "weibo_21325"),
        (
            {"error": "redirect_uri_mismatch", "error_code": "21322"},
            INFO,
            "weibo_21322",
        ),
        ({"uid": UID}, INFO, "bad_response"),
        ({**GRANT, "expires_in": "soon"}, INFO, "bad_response"),
        (GRANT, {**INFO, "uid": 1}, "weibo_login_wrong_user"),
        (GRANT, {**INFO, "appkey": 1}, "weibo_wrong_app"),
        (GRANT, {**INFO, "expire_in": -5}, "weibo_21327"),
        (GRANT, {"error": "x", "error_code": 21332}, "weibo_21332"),
        (GRANT, {}, "bad_response"),
    ],
)
async def test_a_token_that_is_not_ours_is_not_kept_f38(server, grant, info, code):
    """F38: a token that is not ours gives a problem with a text, and no secret.

    The code was refused, or the token belongs to another account or app.
    """
    server.router.post(TOKEN_URL).respond(400 if "error" in grant else 200, json=grant)
    server.router.post(INFO_URL).respond(200, json=info)
    problem = await WEIBO.sign_in.exchange_code(
        ACCOUNT, SECRET, CODE, server.context().http
    )
    assert isinstance(problem, Problem)
    assert problem.code == code
    assert {code, f"reason_{code}"} & load_catalogue().keys()


async def test_a_code_is_used_once(server):
    """A code is good for one call, so a lost answer is not repeated."""
    server.router.post(TOKEN_URL).mock(side_effect=httpx.ReadTimeout("x"))
    problem = await WEIBO.sign_in.exchange_code(
        ACCOUNT, SECRET, CODE, server.context().http
    )
    assert problem == Problem(code="timeout")
    assert len(server.requests) == 1


@pytest.mark.parametrize("missing", ["app_key", "app_secret"])
async def test_without_an_app_no_call_is_made(server, missing):
    """A secret without the app's key or its secret cannot log in."""
    lacking = {key: value for key, value in SECRET.items() if key != missing}
    problem = await WEIBO.sign_in.exchange_code(
        ACCOUNT, lacking, CODE, server.context().http
    )
    assert isinstance(problem, Problem)
    assert problem.code == "weibo_no_app"
    assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (CODE, CODE),
        (f"{PAGE}?code={CODE}", CODE),
        (
            f"{PAGE}?error=access_denied&error_code=21330&error_uri=%2Foauth2%2Fauthorize",
            "weibo_21330",
        ),
        (f"{PAGE}?error=other&error_code=29999", "weibo_no_code"),
        (f"{PAGE}?code=a%20b", "weibo_no_code"),
        ("", "weibo_no_code"),
        ("http://[", "weibo_no_code"),
        ("粘贴错了", "weibo_no_code"),
    ],
)
def test_each_pasted_answer(answer, found):
    """The code alone or the whole address is accepted.

    A refusal is named, and anything else is no code.
    """
    got = parse_authorization_code(answer)
    assert (got.code if isinstance(got, Problem) else got) == found
    assert found == CODE or found in load_catalogue()


def test_a_token_is_not_shown():
    """I19: neither the secret of the app nor a new token appears in a representation."""
    from adapters.weibo.oauth import WeiboTokenGrant, encode_code_exchange  # noqa: PLC0415

    shown = repr(
        [
            WeiboTokenGrant(token="2.00NEW", lifetime_seconds=1),
            encode_code_exchange(ACCOUNT, SECRET, CODE),
        ]
    )
    assert "2.00NEW" not in shown
    assert "s3cret" not in shown
