"""Authentication, grants and rate limits of a call (open.weibo.com wiki OAuth2, Error_code)."""

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .quotas import ALL_CALLERS, WeiboQuotas
from .responses import refuse
from .tokens import CODES_TABLE, WeiboAccessToken, WeiboTokens

SCHEME = "oauth2 "
UNKNOWN_TOKEN = 21332
NO_TOKEN = 10006
NOT_GRANTED = 10014


class SimulatedWeiboAuth:
    """Checks in the order: HTTP method, token, grant, rate."""

    def __init__(self, state: SimulatorState, tokens: WeiboTokens, quotas: WeiboQuotas) -> None:
        self.state = state
        self._tokens = tokens
        self._quotas = quotas

    def get_token(self, request: ApiRequest) -> str:
        """Return the token from body, query, or the header `Authorization: OAuth2 TOKEN`: real clients use each."""
        header = request.headers.get("authorization", "")
        if header[: len(SCHEME)].lower() == SCHEME:
            return header[len(SCHEME) :].strip()
        return request.get_parameter("access_token") or ""

    def identify_caller(self, request: ApiRequest) -> str:
        if request.endpoint == "/oauth2/access_token":
            facts = self.state.get_row(CODES_TABLE, request.get_parameter("code") or "")
            return str(facts["account"]) if facts else ""
        if request.endpoint == "/oauth2/authorize":
            return request.form.get("other") or request.form.get("account") or ""
        return self._tokens.find_owner(self.get_token(request))

    def check(
        self, request: ApiRequest, method: str, grant: str = "", *, is_publishing: bool = False
    ) -> ApiResponse | None:
        """Run the checks that come before any parameter is read, and return the refusal, if any."""
        token = self.validate_token(request, method)
        if isinstance(token, ApiResponse):
            return token
        self.state.ensure_account("weibo", request.account)
        if grant and not self.has_grant(request.account, grant):
            return refuse(request, NOT_GRANTED)
        return self._quotas.check(request, is_publishing=is_publishing)

    def validate_token(self, request: ApiRequest, *methods: str) -> ApiResponse | WeiboAccessToken:
        """Return the call's token if it is valid, else the refusal of the call."""
        if request.method not in methods:
            return refuse(request, 10021)
        if not self.get_token(request):
            return refuse(request, NO_TOKEN)
        token = self._tokens.find(self.get_token(request))
        if token is None:
            return refuse(request, UNKNOWN_TOKEN)
        error = token.find_error(self.state.now())
        return token if error is None else refuse(request, error)

    def has_grant(self, account: str, grant: str) -> bool:
        """True if the platform granted an account a set of calls: an ordinary app has none."""
        grants = self.state.behaviour.weibo_grants
        return grant in grants.get(account, ()) or grant in grants.get(ALL_CALLERS, ())

    def show_rate_limit(self, request: ApiRequest) -> ApiResponse:
        """Report the user's remaining calls; this call is not counted."""
        token = self.validate_token(request, "GET")
        return token if isinstance(token, ApiResponse) else ApiResponse.from_json(self._quotas.describe(token.account))
