"""OAuth: consent, token and revocation.

The sources are open.weibo.com wiki Oauth2/authorize, access_token and revokeoauth2. Each registered
account has an app of its own; all others share the app of the open mode.
"""

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from publisher.simulator.page_texts import SECURITY_HEADERS, render_page
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .auth import (
    CODES_TABLE,
    TOKEN_EXPIRED,
    TOKENS_TABLE,
    compute_lifetime,
    find_token,
    get_token,
    validate_token,
)
from .responses import refuse, to_uid_number

DEFAULT_REDIRECT_PAGE = "https://api.weibo.com/oauth2/default.html"
"""The platform's page for apps without a page of their own; the simulator serves it itself."""
HTML_CONTENT_TYPE = "text/html; charset=utf-8"
HTTP_FOUND = 302
REDIRECT_URI_MISMATCH, INVALID_REQUEST, INVALID_CLIENT, INVALID_GRANT = (
    21322,
    21323,
    21324,
    21325,
)
CODE_LIFETIME_SECONDS = 600
"""Our choice: the platform does not state it."""
ACCESS_DENIED_PARAMETERS = {
    "error": "access_denied",
    "error_code": "21330",
    "error_description": "user denied your request.",
    "error_uri": "/oauth2/authorize",
}
KEPT_PARAMETERS = ("client_id", "redirect_uri", "state", "response_type", "language")
HEADERS = SECURITY_HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    )
}
"""Without form-action: submitting the form redirects to the app's page."""


def authorize(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Ask a person for consent and redirect to the app's page.

    The setting `weibo_consent` can answer instead.
    """
    if request.method not in ("GET", "POST"):
        return refuse(request, 10021)
    app_key = request.get_parameter("client_id") or ""
    page = request.get_parameter("redirect_uri") or ""
    if not app_key:
        return refuse(request, INVALID_REQUEST, message="miss client id")
    if not state.behaviour.open and not _find_developer(state, app_key):
        return refuse(request, INVALID_CLIENT)
    registered = state.behaviour.weibo_redirects.get(app_key, page)
    if page != registered or urlsplit(page).scheme not in ("http", "https"):
        return refuse(request, REDIRECT_URI_MISMATCH)
    if request.get_parameter("response_type") not in (None, "", "code"):
        return refuse(request, 21329)
    decision, account = _read_consent(state, request, app_key)
    if decision == "deny":
        return _redirect_back(request, ACCESS_DENIED_PARAMETERS)
    if decision == "allow" and account:
        state.ensure_account("weibo", account)
        code = secrets.token_hex(16)
        facts = {
            "account": account,
            "app_key": app_key,
            "redirect_uri": page,
            "made": state.now(),
        }
        state.put_row(CODES_TABLE, code, facts)
        return _redirect_back(request, {"code": code})
    context = {
        "kept": {
            name: request.get_parameter(name)
            for name in KEPT_PARAMETERS
            if request.get_parameter(name)
        },
        "accounts": [
            account
            for account in state.accounts.values()
            if account.platform == "weibo"
        ],
        "chosen": _find_developer(state, app_key),
        "is_open": state.behaviour.open,
    }
    return _render("consent.html", request, context)


def _read_consent(
    state: SimulatorState, request: ApiRequest, app_key: str
) -> tuple[str, str]:
    """Return the decision and its account; both empty if the page was only requested."""
    if state.behaviour.weibo_consent == "allow":
        known = (
            each.identity
            for each in state.accounts.values()
            if each.platform == "weibo"
        )
        return "allow", _find_developer(state, app_key) or next(known, "")
    account = request.account.strip() if request.method == "POST" else ""
    is_known = state.behaviour.open or ("weibo", account) in state.accounts
    return request.form.get("answer", ""), account if is_known else ""


def exchange_code(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Exchange a code for a token, once, for the app and the page that the code was issued to."""
    if request.method != "POST":
        return refuse(request, 10021)
    app_key = request.get_parameter("client_id") or ""
    app_secret = request.get_parameter("client_secret") or ""
    if not app_key or not app_secret:
        return refuse(request, INVALID_REQUEST, message="miss client id or secret")
    owner = _find_developer(
        state, app_key
    )  # in open mode an unregistered app accepts any secret
    if (
        state.accounts["weibo", owner].secret.get("app_secret") != app_secret
        if owner
        else not state.behaviour.open
    ):
        return refuse(request, INVALID_CLIENT)
    kind = request.get_parameter("grant_type")
    if (
        kind == "refresh_token"
    ):  # only the platform's own mobile SDK receives refresh tokens
        return refuse(request, INVALID_GRANT)
    if kind != "authorization_code":
        return refuse(request, 21328 if kind else INVALID_REQUEST)
    code = request.get_parameter("code") or ""
    if not code:
        return refuse(request, INVALID_REQUEST, message="miss code")
    facts = _find_code(state, code)
    if facts is None or facts["app_key"] != app_key:
        return refuse(request, INVALID_GRANT)
    if facts["redirect_uri"] != request.get_parameter("redirect_uri"):
        return refuse(request, REDIRECT_URI_MISMATCH)
    account = facts["account"]
    state.put_row(CODES_TABLE, code, {**facts, "used": True})
    token, life = _issue_token(state, account, app_key)
    return ApiResponse.from_json(
        {
            "access_token": token,
            "remind_in": str(life),
            "expires_in": life,
            "uid": account,
        }
    )


def _find_code(state: SimulatorState, code: str) -> dict[str, Any] | None:
    """Return the record of a code that is still usable."""
    facts = state.get_row(CODES_TABLE, code)
    if (
        facts is None
        or facts.get("used")
        or facts["made"] + CODE_LIFETIME_SECONDS < state.now()
    ):
        return None
    return facts


def _issue_token(state: SimulatorState, account: str, app_key: str) -> tuple[str, int]:
    """Return a new token and its lifetime in seconds; older tokens stay valid until they expire."""
    for token, facts in [*state.tables[TOKENS_TABLE].items()]:
        if (facts.get("account"), facts.get("app_key")) == (account, app_key):
            state.put_row(TOKENS_TABLE, token, {**facts, "superseded": True})
    token, life = f"2.00{secrets.token_hex(14)}", compute_lifetime(state)
    state.put_row(TOKENS_TABLE, token, {**life, "account": account, "app_key": app_key})
    return token, life["ends"] - life["made"]


def _find_developer(state: SimulatorState, app_key: str) -> str:
    """Return the account that owns the app; empty for an unregistered app."""
    owners = (
        account.identity
        for account in state.accounts.values()
        if account.platform == "weibo" and account.secret.get("app_key") == app_key
    )
    return next(owners, "")


def show_token(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Report the remaining lifetime.

    It is negative for an expired token, unless a newer token superseded it.
    """
    token = find_token(state, get_token(request))
    checked = validate_token(state, request, "POST")
    is_expired = token is not None and token.find_error(state.now()) == TOKEN_EXPIRED
    if token is None or (
        isinstance(checked, ApiResponse) and (not is_expired or token.is_superseded)
    ):
        return (
            checked
            if isinstance(checked, ApiResponse)
            else refuse(request, TOKEN_EXPIRED)
        )
    return ApiResponse.from_json(
        {
            "uid": to_uid_number(token.account)
            if token.account.isdigit()
            else token.account,
            "appkey": int(token.app_key)
            if token.app_key.isdecimal()
            else token.app_key,
            "scope": None,
            "create_at": token.issued_at,
            "expire_in": token.expires_at - int(state.now()),
        }
    )


def revoke_token(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    checked = validate_token(state, request, "GET", "POST")
    if isinstance(checked, ApiResponse):
        return checked
    token = get_token(request)
    facts = state.get_row(TOKENS_TABLE, token) or compute_lifetime(state)
    state.put_row(TOKENS_TABLE, token, {**facts, "revoked": True})
    return ApiResponse.from_json({"result": "true"})


def _redirect_back(request: ApiRequest, parameters: Mapping[str, str]) -> ApiResponse:
    """Redirect to the app's page, with the parameters in its URL."""
    page = request.get_parameter("redirect_uri") or ""
    state = (
        {"state": request.get_parameter("state") or ""}
        if request.get_parameter("state")
        else {}
    )
    query = urlencode({**state, **parameters})
    target = (
        urlsplit(page).path if page.split("?")[0] == DEFAULT_REDIRECT_PAGE else page
    )
    return ApiResponse(
        b"",
        HTTP_FOUND,
        HTML_CONTENT_TYPE,
        {"location": f"{target}{'&' if '?' in target else '?'}{query}"},
    )


def show_code_page(_state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Serve the platform's own redirect page with the code for a person to copy."""
    return _render(
        "code.html",
        request,
        {
            "code": request.get_parameter("code"),
            "error": request.get_parameter("error"),
        },
    )


def _render(name: str, request: ApiRequest, facts: dict[str, object]) -> ApiResponse:
    language = (
        "en"
        if "en" in (request.get_parameter("language"), request.get_parameter("lang"))
        else "zh"
    )
    other = {
        name: value
        for name, value in request.query.items()
        if name not in ("language", "lang")
    }
    switch = urlencode({**other, "language": "zh" if language == "en" else "en"})
    html = render_page(name, language, switch, **facts)
    return ApiResponse(html.encode(), 200, HTML_CONTENT_TYPE, HEADERS)
