"""From a person's consent to a token, and back (open.weibo.com wiki Oauth2/authorize, access_token, revokeoauth2)."""

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import refuse
from .apps import developer_of, is_secret_right, knows_app
from .consent import code_page, consent_page
from .ids import uid_number
from .sign_in import SignIn
from .tokens import EXPIRED, Tokens

OWN_PAGE = "https://api.weibo.com/oauth2/default.html"
"""The platform's page for apps without one of their own; here it stands on the simulator."""
HTML = "text/html; charset=utf-8"
FOUND = 302
MISMATCH, INVALID, BAD_CLIENT, BAD_CODE, TEST_USERS_ONLY = 21322, 21323, 21324, 21325, 21321
DENIED = {
    "error": "access_denied",
    "error_code": "21330",
    "error_description": "user denied your request.",
    "error_uri": "/oauth2/authorize",
}


class OAuth:
    def __init__(self, world: World, sign_in: SignIn, tokens: Tokens) -> None:
        self.world = world
        self._sign_in = sign_in
        self._tokens = tokens

    def authorize(self, call: Call) -> Answer:
        """Ask a person for consent; the answer goes to the app's page. The setting can answer in the person's stead."""
        if call.method not in ("GET", "POST"):
            return refuse(call, 10021)
        refusal = self._is_no_request(call)
        if refusal:
            return refusal
        answer, account = self._answered(call)
        if answer == "deny":
            return _back(call, DENIED)
        if answer == "allow" and account:
            self.world.account("weibo", account)
            app_key, page = call.value("client_id") or "", call.value("redirect_uri") or ""
            return _back(call, {"code": self._tokens.give_code(account, app_key, page)})
        return consent_page(call, self.world)

    def _is_no_request(self, call: Call) -> Answer | None:
        app_key, page = call.value("client_id") or "", call.value("redirect_uri") or ""
        if not app_key:
            return refuse(call, INVALID, message="miss client id")
        if not knows_app(self.world, app_key):
            return refuse(call, BAD_CLIENT)
        registered = self.world.settings.weibo_redirects.get(app_key, page)
        if page != registered or urlsplit(page).scheme not in ("http", "https"):
            return refuse(call, MISMATCH)
        return refuse(call, 21329) if call.value("response_type") not in (None, "", "code") else None

    def _answered(self, call: Call) -> tuple[str, str]:
        """What was answered, and in whose name; nothing yet when the page was only asked for."""
        standing = self.world.settings.weibo_consent
        if standing != "page":
            return standing, developer_of(self.world, call.value("client_id") or "") or self._first()
        account = call.account.strip() if call.method == "POST" else ""
        is_known = self.world.settings.open or ("weibo", account) in self.world.accounts
        return call.form.get("answer", ""), account if is_known else ""

    def _first(self) -> str:
        return next((each.identity for each in self.world.accounts.values() if each.platform == "weibo"), "")

    def own_page(self, call: Call) -> Answer:
        return code_page(call)

    def access_token(self, call: Call) -> Answer:
        """Change a code for a token, once, for the app and the page it was given to."""
        if call.method != "POST":
            return refuse(call, 10021)
        app_key, app_secret = call.value("client_id") or "", call.value("client_secret") or ""
        if not app_key or not app_secret:
            return refuse(call, INVALID, message="miss client id or secret")
        if not is_secret_right(self.world, app_key, app_secret):
            return refuse(call, BAD_CLIENT)
        kind = call.value("grant_type")
        if kind == "refresh_token":  # only the platform's own mobile SDK is given any
            return refuse(call, BAD_CODE)
        if kind != "authorization_code":
            return refuse(call, 21328 if kind else INVALID)
        return self._exchange(call, app_key)

    def _exchange(self, call: Call, app_key: str) -> Answer:
        code = call.value("code") or ""
        facts = self._tokens.code(code)
        if not code:
            return refuse(call, INVALID, message="miss code")
        if facts is None or facts["app_key"] != app_key:
            return refuse(call, BAD_CODE)
        if facts["redirect_uri"] != call.value("redirect_uri"):
            return refuse(call, MISMATCH)
        account = facts["account"]
        if self.world.settings.weibo_app == "test" and developer_of(self.world, app_key) not in ("", account):
            return refuse(call, TEST_USERS_ONLY)
        self._tokens.use_code(code)
        token, life = self._tokens.issue(account, app_key)
        return Answer.of({"access_token": token, "remind_in": str(life), "expires_in": life, "uid": account})

    def token_info(self, call: Call) -> Answer:
        """Time left, less than none for an expired token, unless a newer one took its place."""
        token = self._tokens.find(self._sign_in.token(call))
        judged = self._sign_in.judged(call, "POST")
        is_expired = token is not None and token.trouble(self.world.now()) == EXPIRED
        if token is None or (isinstance(judged, Answer) and (not is_expired or token.is_superseded)):
            return judged if isinstance(judged, Answer) else refuse(call, EXPIRED)
        return Answer.of(
            {
                "uid": uid_number(token.account) if token.account.isdigit() else token.account,
                "appkey": int(token.app_key) if token.app_key.isdecimal() else token.app_key,
                "scope": None,
                "create_at": token.made,
                "expire_in": token.ends - int(self.world.now()),
            }
        )

    def revoke(self, call: Call) -> Answer:
        token = self._sign_in.judged(call, "GET", "POST")
        if isinstance(token, Answer):
            return token
        self._tokens.revoke(self._sign_in.token(call))
        return Answer.of({"result": "true"})


def _back(call: Call, told: Mapping[str, str]) -> Answer:
    """To the app's page, with what was answered in its address."""
    page = call.value("redirect_uri") or ""
    state = {"state": call.value("state") or ""} if call.value("state") else {}
    query = urlencode({**state, **told})
    place = urlsplit(page).path if page.split("?")[0] == OWN_PAGE else page
    return Answer(b"", FOUND, HTML, {"location": f"{place}{'&' if '?' in place else '?'}{query}"})
