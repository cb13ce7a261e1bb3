"""From a person's consent to a token, and back (open.weibo.com wiki Oauth2/authorize, access_token, revokeoauth2)."""

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .apps import find_developer, is_known_app, is_secret_correct
from .consent import render_code_page, render_consent_page
from .ids import to_uid_number
from .responses import refuse
from .sign_in import SimulatedWeiboAuth
from .tokens import TOKEN_EXPIRED, WeiboTokens

DEFAULT_REDIRECT_PAGE = "https://api.weibo.com/oauth2/default.html"
"""The platform's page for apps without one of their own; here it stands on the simulator."""
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


class WeiboOAuthApi:
    def __init__(self, state: SimulatorState, auth: SimulatedWeiboAuth, tokens: WeiboTokens) -> None:
        self.state = state
        self._auth = auth
        self._tokens = tokens

    def authorize(self, request: ApiRequest) -> ApiResponse:
        """Ask a person for consent; the answer goes to the app's page. The setting can answer in the person's stead."""
        if request.method not in ("GET", "POST"):
            return refuse(request, 10021)
        refusal = self._check_request(request)
        if refusal:
            return refusal
        response, account = self._read_consent(request)
        if response == "deny":
            return _redirect_back(request, ACCESS_DENIED_PARAMETERS)
        if response == "allow" and account:
            self.state.ensure_account("weibo", account)
            app_key, page = request.get_parameter("client_id") or "", request.get_parameter("redirect_uri") or ""
            return _redirect_back(request, {"code": self._tokens.issue_code(account, app_key, page)})
        return render_consent_page(request, self.state)

    def _check_request(self, request: ApiRequest) -> ApiResponse | None:
        app_key, page = request.get_parameter("client_id") or "", request.get_parameter("redirect_uri") or ""
        if not app_key:
            return refuse(request, INVALID_REQUEST, message="miss client id")
        if not is_known_app(self.state, app_key):
            return refuse(request, INVALID_CLIENT)
        registered = self.state.behaviour.weibo_redirects.get(app_key, page)
        if page != registered or urlsplit(page).scheme not in ("http", "https"):
            return refuse(request, REDIRECT_URI_MISMATCH)
        return refuse(request, 21329) if request.get_parameter("response_type") not in (None, "", "code") else None

    def _read_consent(self, request: ApiRequest) -> tuple[str, str]:
        """What was answered, and in whose name; nothing yet when the page was only asked for."""
        standing = self.state.behaviour.weibo_consent
        if standing != "page":
            return standing, find_developer(
                self.state, request.get_parameter("client_id") or ""
            ) or self._get_first_account()
        account = request.account.strip() if request.method == "POST" else ""
        is_known = self.state.behaviour.open or ("weibo", account) in self.state.accounts
        return request.form.get("answer", ""), account if is_known else ""

    def _get_first_account(self) -> str:
        return next((each.identity for each in self.state.accounts.values() if each.platform == "weibo"), "")

    def show_default_page(self, request: ApiRequest) -> ApiResponse:
        return render_code_page(request)

    def access_token(self, request: ApiRequest) -> ApiResponse:
        """Change a code for a token, once, for the app and the page it was given to."""
        if request.method != "POST":
            return refuse(request, 10021)
        app_key, app_secret = request.get_parameter("client_id") or "", request.get_parameter("client_secret") or ""
        if not app_key or not app_secret:
            return refuse(request, INVALID_REQUEST, message="miss client id or secret")
        if not is_secret_correct(self.state, app_key, app_secret):
            return refuse(request, INVALID_CLIENT)
        kind = request.get_parameter("grant_type")
        if kind == "refresh_token":  # only the platform's own mobile SDK is given any
            return refuse(request, INVALID_GRANT)
        if kind != "authorization_code":
            return refuse(request, 21328 if kind else INVALID_REQUEST)
        return self._exchange_code(request, app_key)

    def _exchange_code(self, request: ApiRequest, app_key: str) -> ApiResponse:
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
        """Time left, less than none for an expired token, unless a newer one took its place."""
        token = self._tokens.find(self._auth.get_token(request))
        judged = self._auth.validate_token(request, "POST")
        is_expired = token is not None and token.find_error(self.state.now()) == TOKEN_EXPIRED
        if token is None or (isinstance(judged, ApiResponse) and (not is_expired or token.is_superseded)):
            return judged if isinstance(judged, ApiResponse) else refuse(request, TOKEN_EXPIRED)
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
    """To the app's page, with what was answered in its address."""
    page = request.get_parameter("redirect_uri") or ""
    state = {"state": request.get_parameter("state") or ""} if request.get_parameter("state") else {}
    query = urlencode({**state, **parameters})
    place = urlsplit(page).path if page.split("?")[0] == DEFAULT_REDIRECT_PAGE else page
    return ApiResponse(
        b"", HTTP_FOUND, HTML_CONTENT_TYPE, {"location": f"{place}{'&' if '?' in place else '?'}{query}"}
    )
