"""Login: a person consents in a browser, and the returned code is exchanged for a token.

wiki Oauth2/authorize, OAuth2/access_token and Oauth2/get_token_info. There is no refresh token for
apps like this one: when a token expires, a person logs in again. Its lifetime is the value of
`expires_in`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

from adapters.weibo.api import decode_object, get_reason, to_int
from publisher.contract import Http, HttpRequest, HttpResponse
from publisher.domain.account import Account
from publisher.domain.characters import is_storable
from publisher.domain.errors import Problem
from publisher.domain.results import Blocked, NotSent, ReadFailure, Unknown

from .api import WeiboEndpoint
from .capabilities import API_URL, get_profile
from .codes import CODES, to_message_key
from .post_list import check_token, decode_token_facts, encode_token_info

DEFAULT_REDIRECT_URI = "https://api.weibo.com/oauth2/default.html"
"""The platform's own redirect page, for apps without one: its URL contains the code."""
EXPIRY_FIELD = "access_token_ends_at"
_AUTHORIZATION_CODE = re.compile(r"[A-Za-z0-9._-]{1,200}")
_MAX_LIFETIME_SECONDS = 10**9
_MAX_ISSUED_AT_SECONDS = 10**10
"""Unix time; a token that claims to be issued after the year 2286 has no known issue time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboTokenGrant:
    """A new token and its lifetime."""

    token: str = field(repr=False)
    lifetime_seconds: int


@dataclass(frozen=True, slots=True)
class WeiboOAuthLogin:
    """Gets an account's token with an app's secret."""

    def build_authorization_url(
        self, account: Account, secret: Mapping[str, str], state: str
    ) -> str:
        """Return the page for the consent of the account's owner."""
        query = {
            "client_id": secret.get("app_key", ""),
            "redirect_uri": _get_redirect_uri(account),
            "response_type": "code",
            "state": state,
        }
        return f"{_make_endpoint(account).build_url(API_URL, 'oauth2/authorize')}?{urlencode(query)}"

    async def exchange_code(
        self, account: Account, secret: Mapping[str, str], response: str, http: Http
    ) -> Mapping[str, str] | Problem:
        """Exchange the code for a token, and check that it is for this account and this app.

        Return the secret with the token and, where Weibo reports when the token was issued, its
        expiry.
        """
        if not secret.get("app_key") or not secret.get("app_secret"):
            return Problem(code="weibo_no_app", facts={"account": account.id})
        code = parse_authorization_code(response)
        if isinstance(code, Problem):
            return code
        grant = decode_token_grant(
            await http.fetch(encode_code_exchange(account, secret, code))
        )
        if isinstance(grant, Problem):
            return grant
        info = decode_token_facts(
            await http.fetch(encode_token_info(_make_endpoint(account, grant.token)))
        )
        if isinstance(info, ReadFailure):
            return Problem(code=get_reason(info))
        problem = check_token(info, account.identity, secret["app_key"])
        if isinstance(problem, Blocked):
            code = (
                "weibo_login_wrong_user"
                if problem.code == "weibo_other_token"
                else problem.code
            )
            return Problem(
                code=code, facts={"account": account.id, "found": problem.reason}
            )
        if problem is not None:
            return Problem(code=problem.reason)
        fields = {
            key: value for key, value in secret.items() if key != EXPIRY_FIELD
        } | {"access_token": grant.token}
        if info.issued_at is not None and info.issued_at <= _MAX_ISSUED_AT_SECONDS:
            expires_at = datetime.fromtimestamp(info.issued_at, UTC) + timedelta(
                seconds=grant.lifetime_seconds
            )
            fields[EXPIRY_FIELD] = expires_at.isoformat()
        return fields


def encode_code_exchange(
    account: Account, secret: Mapping[str, str], code: str
) -> HttpRequest:
    """Exchange a code for a token. A code is good for one call, so this one is not repeated."""
    form = {
        "client_id": secret["app_key"],
        "client_secret": secret["app_secret"],
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": _get_redirect_uri(account),
    }
    url = _make_endpoint(account).build_url(API_URL, "oauth2/access_token")
    return HttpRequest(
        method="POST", url=url, form=tuple(form.items()), is_idempotent=False
    )


def decode_token_grant(
    response: HttpResponse | NotSent | Unknown,
) -> WeiboTokenGrant | Problem:
    body = decode_object(response)
    if isinstance(body, ReadFailure):
        return Problem(code=get_reason(body))
    token, seconds = body.get("access_token"), to_int(body.get("expires_in"))
    if (
        not isinstance(token, str)
        or not token
        or not is_storable(token)
        or seconds is None
    ):
        return Problem(code="bad_response")
    return WeiboTokenGrant(
        token=token, lifetime_seconds=min(seconds, _MAX_LIFETIME_SECONDS)
    )


def parse_authorization_code(response: str) -> str | Problem:
    """Return the code in a pasted text.

    The text is the code alone, or the whole URL that the browser ended on.
    """
    text = response.strip()
    if _AUTHORIZATION_CODE.fullmatch(text):
        return text
    try:
        query = parse_qs(urlsplit(text).query)
    except ValueError:
        query = {}
    code = query.get("code", [""])[0]
    if _AUTHORIZATION_CODE.fullmatch(code):
        return code
    error_code = to_int(query.get("error_code", [""])[0])
    return Problem(
        code=to_message_key(error_code)
        if error_code and error_code in CODES
        else "weibo_no_code"
    )


def _get_redirect_uri(account: Account) -> str:
    return account.options.get("redirect_uri", DEFAULT_REDIRECT_URI)


def _make_endpoint(account: Account, token: str = "") -> WeiboEndpoint:
    return WeiboEndpoint(
        profile=get_profile(account), base_url=account.base_url, token=token
    )
