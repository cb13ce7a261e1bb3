"""OAuth: consent, token and revocation (open.weibo.com wiki Oauth2/authorize, access_token, revokeoauth2)."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader

from publisher.simulator.page_texts import get_page_texts
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .apps import find_developer, is_known_app, is_secret_correct
from .ids import to_uid_number
from .responses import refuse
from .sign_in import SimulatedWeiboAuth
from .tokens import TOKEN_EXPIRED, WeiboTokens

DEFAULT_REDIRECT_PAGE = "https://api.weibo.com/oauth2/default.html"
"""The platform's page for apps without a page of their own; the simulator serves it itself."""
HTML_CONTENT_TYPE = "text/html; charset=utf-8"
HTTP_FOUND = 302
REDIRECT_URI_MISMATCH, INVALID_REQUEST, INVALID_CLIENT, INVALID_GRANT, TEST_USERS_ONLY = (
    21322,
    21323,
    21324,
    21325,
    21321,
)
ACCESS_DENIED_PARAMETERS = {
    "error": "access_denied",
    "error_code": "21330",
    "error_description": "user denied your request.",
    "error_uri": "/oauth2/authorize",
}
KEPT_PARAMETERS = ("client_id", "redirect_uri", "state", "response_type", "language")
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Without form-action: submitting the form redirects to the app's page."""
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent.parent / "pages"), autoescape=True, trim_blocks=True
)


class WeiboOAuthApi:
    def __init__(self, state: SimulatorState, auth: SimulatedWeiboAuth, tokens: WeiboTokens) -> None:
        self.state = state
        self._auth = auth
        self._tokens = tokens

    def authorize(self, request: ApiRequest) -> ApiResponse:
        """Ask a person for consent and redirect to the app's page; the setting `weibo_consent` can answer instead."""
        if request.method not in ("GET", "POST"):
            return refuse(request, 10021)
        app_key, page = request.get_parameter("client_id") or "", request.get_parameter("redirect_uri") or ""
        if not app_key:
            return refuse(request, INVALID_REQUEST, message="miss client id")
        if not is_known_app(self.state, app_key):
            return refuse(request, INVALID_CLIENT)
        registered = self.state.behaviour.weibo_redirects.get(app_key, page)
        if page != registered or urlsplit(page).scheme not in ("http", "https"):
            return refuse(request, REDIRECT_URI_MISMATCH)
        if request.get_parameter("response_type") not in (None, "", "code"):
            return refuse(request, 21329)
        decision, account = self._read_consent(request, app_key)
        if decision == "deny":
            return _redirect_back(request, ACCESS_DENIED_PARAMETERS)
        if decision == "allow" and account:
            self.state.ensure_account("weibo", account)
            return _redirect_back(request, {"code": self._tokens.issue_code(account, app_key, page)})
        facts = {
            "kept": {name: request.get_parameter(name) for name in KEPT_PARAMETERS if request.get_parameter(name)},
            "accounts": [account for account in self.state.accounts.values() if account.platform == "weibo"],
            "chosen": find_developer(self.state, app_key),
            "is_open": self.state.behaviour.open,
        }
        return _render("consent.html", request, facts)

    def _read_consent(self, request: ApiRequest, app_key: str) -> tuple[str, str]:
        """Return the decision and its account; both empty if the page was only requested."""
        preset = self.state.behaviour.weibo_consent
        if preset != "page":
            known = (each.identity for each in self.state.accounts.values() if each.platform == "weibo")
            return preset, find_developer(self.state, app_key) or next(known, "")
        account = request.account.strip() if request.method == "POST" else ""
        is_known = self.state.behaviour.open or ("weibo", account) in self.state.accounts
        return request.form.get("answer", ""), account if is_known else ""

    def access_token(self, request: ApiRequest) -> ApiResponse:
        """Exchange a code for a token, once, for the app and the page that the code was issued to."""
        if request.method != "POST":
            return refuse(request, 10021)
        app_key, app_secret = request.get_parameter("client_id") or "", request.get_parameter("client_secret") or ""
        if not app_key or not app_secret:
            return refuse(request, INVALID_REQUEST, message="miss client id or secret")
        if not is_secret_correct(self.state, app_key, app_secret):
            return refuse(request, INVALID_CLIENT)
        kind = request.get_parameter("grant_type")
        if kind == "refresh_token":  # only the platform's own mobile SDK receives refresh tokens
            return refuse(request, INVALID_GRANT)
        if kind != "authorization_code":
            return refuse(request, 21328 if kind else INVALID_REQUEST)
        code = request.get_parameter("code") or ""
        facts = self._tokens.find_code(code)
        if not code:
            return refuse(request, INVALID_REQUEST, message="miss code")
        if facts is None or facts["app_key"] != app_key:
            return refuse(request, INVALID_GRANT)
        if facts["redirect_uri"] != request.get_parameter("redirect_uri"):
            return refuse(request, REDIRECT_URI_MISMATCH)
        account = facts["account"]
        if self.state.behaviour.weibo_app == "test" and find_developer(self.state, app_key) not in ("", account):
            return refuse(request, TEST_USERS_ONLY)
        self._tokens.use_code(code)
        token, life = self._tokens.issue(account, app_key)
        return ApiResponse.from_json(
            {"access_token": token, "remind_in": str(life), "expires_in": life, "uid": account}
        )

    def token_info(self, request: ApiRequest) -> ApiResponse:
        """Report the remaining lifetime, negative for an expired token unless a newer token superseded it."""
        token = self._tokens.find(self._auth.get_token(request))
        checked = self._auth.validate_token(request, "POST")
        is_expired = token is not None and token.find_error(self.state.now()) == TOKEN_EXPIRED
        if token is None or (isinstance(checked, ApiResponse) and (not is_expired or token.is_superseded)):
            return checked if isinstance(checked, ApiResponse) else refuse(request, TOKEN_EXPIRED)
        return ApiResponse.from_json(
            {
                "uid": to_uid_number(token.account) if token.account.isdigit() else token.account,
                "appkey": int(token.app_key) if token.app_key.isdecimal() else token.app_key,
                "scope": None,
                "create_at": token.issued_at,
                "expire_in": token.expires_at - int(self.state.now()),
            }
        )

    def revoke(self, request: ApiRequest) -> ApiResponse:
        token = self._auth.validate_token(request, "GET", "POST")
        if isinstance(token, ApiResponse):
            return token
        self._tokens.revoke(self._auth.get_token(request))
        return ApiResponse.from_json({"result": "true"})


def _redirect_back(request: ApiRequest, parameters: Mapping[str, str]) -> ApiResponse:
    """Redirect to the app's page, with the parameters in its URL."""
    page = request.get_parameter("redirect_uri") or ""
    state = {"state": request.get_parameter("state") or ""} if request.get_parameter("state") else {}
    query = urlencode({**state, **parameters})
    target = urlsplit(page).path if page.split("?")[0] == DEFAULT_REDIRECT_PAGE else page
    return ApiResponse(
        b"", HTTP_FOUND, HTML_CONTENT_TYPE, {"location": f"{target}{'&' if '?' in target else '?'}{query}"}
    )


def render_code_page(request: ApiRequest) -> ApiResponse:
    """Serve the platform's own redirect page, which shows the code for a person to copy."""
    return _render(
        "code.html", request, {"code": request.get_parameter("code"), "error": request.get_parameter("error")}
    )


def _render(name: str, request: ApiRequest, facts: dict[str, object]) -> ApiResponse:
    language = "en" if "en" in (request.get_parameter("language"), request.get_parameter("lang")) else "zh"
    other = {name: value for name, value in request.query.items() if name not in ("language", "lang")}
    switch = urlencode({**other, "language": "zh" if language == "en" else "en"})
    tail = "?lang=en" if language == "en" else ""
    common = {"words": get_page_texts(language), "lang": language, "switch": switch, "tail": tail}
    html = TEMPLATES.get_template(name).render(**common, **facts)
    return ApiResponse(html.encode(), 200, HTML_CONTENT_TYPE, SECURITY_HEADERS)
