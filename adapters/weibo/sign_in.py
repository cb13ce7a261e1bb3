"""Signing in: a person consents in a browser, and the code that comes back is changed for a token.

wiki Oauth2/authorize, OAuth2/access_token and Oauth2/get_token_info. There is no refresh token for apps like this one:
when a token ends, a person signs in anew. Its life is what `expires_in` says.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

from publisher.contract import Call, Http, Reply
from publisher.domain.account import Account
from publisher.domain.outcome import Blocked, NotSent, Unknown, Unread
from publisher.domain.problem import Problem

from .codes import CODES, name
from .fields import read_answer, whole, word_for
from .profiles import API, profile_of
from .reading import TokenFacts, decode_token_facts, encode_token_info, judge_token
from .wire import Site

DEFAULT_PAGE = "https://api.weibo.com/oauth2/default.html"
"""The platform's own page to come back to, for apps without one: the code stands in its address."""
ENDS_AT = "access_token_ends_at"
_CODE = re.compile(r"[A-Za-z0-9._-]{1,200}")
_LONGEST_LIFE = 10**9
_LAST_START = 10**10
"""Seconds; what is said to be made after the year 2286 makes no sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A token just given, and its life in seconds."""

    token: str = field(repr=False)
    seconds: int


@dataclass(frozen=True, slots=True)
class WeiboSignIn:
    """The way from the secret of an app to the token of an account."""

    def address(self, account: Account, secret: Mapping[str, str], state: str) -> str:
        """Give the page where the account's keeper consents."""
        query = {
            "client_id": secret.get("app_key", ""),
            "redirect_uri": _page(account),
            "response_type": "code",
            "state": state,
        }
        return f"{_site(account).at(API, 'oauth2/authorize')}?{urlencode(query)}"

    async def exchange(
        self, account: Account, secret: Mapping[str, str], answer: str, http: Http
    ) -> Mapping[str, str] | Problem:
        """Change what came back for a token, and make sure that it is this account's, for this app."""
        if not secret.get("app_key") or not secret.get("app_secret"):
            return Problem(code="weibo_no_app", facts={"account": account.id})
        code = code_in_answer(answer)
        if isinstance(code, Problem):
            return code
        grant = decode_grant(await http.ask(encode_exchange(account, secret, code)))
        if isinstance(grant, Problem):
            return grant
        facts = decode_token_facts(await http.ask(encode_token_info(_site(account, grant.token))))
        if isinstance(facts, Unread):
            return Problem(code=word_for(facts))
        trouble = judge_token(facts, account.identity, secret["app_key"])
        if isinstance(trouble, Blocked):
            code = "weibo_login_of_another" if trouble.code == "weibo_wrong_account" else trouble.code
            return Problem(code=code, facts={"account": account.id, "found": trouble.reason})
        if trouble is not None:
            return Problem(code=trouble.reason)
        return {key: value for key, value in secret.items() if key != ENDS_AT} | _fields(grant, facts)


def encode_exchange(account: Account, secret: Mapping[str, str], code: str) -> Call:
    """Change a code for a token. A code is good for one call, so this one is not repeated."""
    form = {
        "client_id": secret["app_key"],
        "client_secret": secret["app_secret"],
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": _page(account),
    }
    url = _site(account).at(API, "oauth2/access_token")
    return Call(method="POST", url=url, form=form, is_repeatable=False)


def decode_grant(reply: Reply | NotSent | Unknown) -> Grant | Problem:
    body = read_answer(reply)
    if isinstance(body, Unread):
        return Problem(code=word_for(body))
    token, seconds = body.get("access_token"), whole(body.get("expires_in"))
    if not isinstance(token, str) or not token or seconds is None:
        return Problem(code="bad_reply")
    return Grant(token=token, seconds=min(seconds, _LONGEST_LIFE))


def code_in_answer(answer: str) -> str | Problem:
    """Find the code in what a person pasted: the code alone, or the whole address that the browser ended on."""
    text = answer.strip()
    if _CODE.fullmatch(text):
        return text
    try:
        query = parse_qs(urlsplit(text).query)
    except ValueError:
        query = {}
    code = query.get("code", [""])[0]
    if _CODE.fullmatch(code):
        return code
    refused = whole(query.get("error_code", [""])[0])
    return Problem(code=name(refused) if refused is not None and refused in CODES else "weibo_no_code")


def _fields(grant: Grant, facts: TokenFacts) -> dict[str, str]:
    """Give what is to be kept; when the token ends is known where Weibo says when it was made."""
    kept = {"access_token": grant.token}
    if facts.made is None or facts.made > _LAST_START:
        return kept
    ends_at = datetime.fromtimestamp(facts.made, UTC) + timedelta(seconds=grant.seconds)
    return {**kept, ENDS_AT: ends_at.isoformat()}


def _page(account: Account) -> str:
    return account.options.get("redirect_uri", DEFAULT_PAGE)


def _site(account: Account, token: str = "") -> Site:
    return Site(profile=profile_of(account), base_url=account.base_url, token=token)
