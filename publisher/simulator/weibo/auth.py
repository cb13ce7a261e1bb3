"""Sign-in, tokens, grants and rate limits of a call.

Sources: open.weibo.com wiki OAuth2, Error_code, Rate-limiting, 2/account/rate_limit_status. Limits
are counted by the full hour in Beijing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .responses import BEIJING, refuse

SCHEME = "oauth2 "
TOKEN_LIFETIME_SECONDS = {"own": 157_679_999, "reviewed": 2_592_000}
"""Five years if the user is the app's own developer, else thirty days."""
NO_TOKEN = 10006
UNKNOWN_TOKEN = 21332
TOKEN_EXPIRED = 21327
TOKEN_REVOKED = 21321
NOT_GRANTED = 10014
CODES_TABLE, TOKENS_TABLE = "weibo_codes", "weibo_access"
OPEN_APP_KEY = "1000000000"
"""The app of all accounts that are not registered."""
BUSINESS_SUFFIX = "/biz.json"
MAX_IP_CALLS_PER_HOUR, MAX_USER_POSTS_PER_HOUR, MAX_USER_CALLS_PER_DAY = 15_000, 30, 100
"""The platform's own limits, reported where the settings name none."""
ALL_CALLERS = "*"
"""All callers come from this machine, so they share one IP address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboAccessToken:
    account: str
    app_key: str
    issued_at: int
    expires_at: int
    is_revoked: bool
    is_superseded: bool

    def find_error(self, now: float) -> int | None:
        """Return the error code if the token is no longer valid."""
        if self.is_revoked:
            return TOKEN_REVOKED
        return TOKEN_EXPIRED if self.expires_at <= now else None


def get_token(request: ApiRequest) -> str:
    """Return the token from body, query, or the header `Authorization: OAuth2 TOKEN`.

    Real clients use each of these places.
    """
    header = request.headers.get("authorization", "")
    if header[: len(SCHEME)].lower() == SCHEME:
        return header[len(SCHEME) :].strip()
    return request.get_parameter("access_token") or ""


def identify_caller(state: SimulatorState, request: ApiRequest) -> str:
    if request.endpoint == "/oauth2/access_token":
        facts = state.get_row(CODES_TABLE, request.get_parameter("code") or "")
        return str(facts["account"]) if facts else ""
    if request.endpoint == "/oauth2/authorize":
        return request.form.get("other") or request.form.get("account") or ""
    return _find_token_owner(state, get_token(request))


def _find_token_owner(state: SimulatorState, token: str) -> str:
    """Return the account of a token, valid or not; empty for an unknown token."""
    known = state.get_row(TOKENS_TABLE, token)
    return (
        str(known["account"])
        if known and "account" in known
        else state.get_identity("weibo", token)
    )


def find_token(state: SimulatorState, token: str) -> WeiboAccessToken | None:
    """Return a token.

    An account may have a token from the start. The lifetime of such a token begins with its first
    use.
    """
    owner = _find_token_owner(state, token)
    if not owner:
        return None
    facts = state.get_row(TOKENS_TABLE, token)
    if facts is None:
        facts = compute_lifetime(state)
        state.put_row(TOKENS_TABLE, token, facts)
    account = state.accounts.get(("weibo", owner))
    own_app = account.secret.get("app_key", OPEN_APP_KEY) if account else OPEN_APP_KEY
    return WeiboAccessToken(
        account=owner,
        app_key=str(facts.get("app_key") or own_app),
        issued_at=facts["made"],
        expires_at=facts["ends"],
        is_revoked=bool(facts.get("revoked")),
        is_superseded=bool(facts.get("superseded")),
    )


def compute_lifetime(state: SimulatorState) -> dict[str, Any]:
    now = int(state.now())
    return {
        "made": now,
        "ends": now + TOKEN_LIFETIME_SECONDS[state.behaviour.weibo_app],
    }


def validate_token(
    state: SimulatorState, request: ApiRequest, *methods: str
) -> ApiResponse | WeiboAccessToken:
    """Return the call's token if it is valid, else the refusal of the call."""
    if request.method not in methods:
        return refuse(request, 10021)
    if not get_token(request):
        return refuse(request, NO_TOKEN)
    token = find_token(state, get_token(request))
    if token is None:
        return refuse(request, UNKNOWN_TOKEN)
    error = token.find_error(state.now())
    return token if error is None else refuse(request, error)


def check_access(
    state: SimulatorState,
    request: ApiRequest,
    method: str,
    grant: str = "",
    *,
    is_publishing: bool = False,
) -> ApiResponse | None:
    """Return the refusal of a call, if any, in the order: HTTP method, token, grant, rate.

    These checks come before any parameter is read. Business calls need their own grant.
    """
    token = validate_token(state, request, method)
    if isinstance(token, ApiResponse):
        return token
    state.ensure_account("weibo", request.account)
    needed = "biz" if is_business(request) else grant
    if needed and not has_grant(state, request.account, needed):
        return refuse(request, NOT_GRANTED)
    return _check_quota(state, request, is_publishing=is_publishing)


def is_business(request: ApiRequest) -> bool:
    return request.endpoint.endswith(BUSINESS_SUFFIX)


def has_grant(state: SimulatorState, account: str, grant: str) -> bool:
    """True if the platform granted an account a set of calls: an ordinary app has none."""
    grants = state.behaviour.weibo_grants
    return grant in grants.get(account, ()) or grant in grants.get(ALL_CALLERS, ())


def _check_quota(
    state: SimulatorState, request: ApiRequest, *, is_publishing: bool
) -> ApiResponse | None:
    """Count a call, or refuse it if a window is full.

    Business calls have a limit per IP address only.
    """
    settings = state.behaviour
    limits = [(ALL_CALLERS, "hour", settings.weibo_per_ip, 10022)]
    if not is_business(request):
        limits.append((request.account, "day", settings.weibo_per_day, 10023))
        limits.append(
            (
                request.account,
                "hour",
                settings.weibo_per_hour if is_publishing else 0,
                10024,
            )
        )
    for account, unit, limit, code in limits:
        if limit and state.quota_usage[_get_window(state, account, unit)] >= limit:
            return refuse(request, code, get_resource_name(request))
    for account, unit, limit, _ in limits:
        if limit:
            state.quota_usage[_get_window(state, account, unit)] += 1
    return None


def _get_window(
    state: SimulatorState, account: str, unit: str
) -> tuple[str, str, str, str]:
    moment = datetime.fromtimestamp(state.now(), BEIJING)
    return (
        "weibo",
        account,
        unit,
        moment.strftime("%Y-%m-%d" if unit == "day" else "%Y-%m-%d %H"),
    )


def get_resource_name(request: ApiRequest) -> str:
    """Return the call's name in errors and limits, such as `/statuses/share`."""
    return request.endpoint.removeprefix("/2").removesuffix(".json")


def show_rate_limit(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Report the user's remaining calls; this call is not counted.

    Without a limit in the settings, the platform's limit is reported in full.
    """
    token = validate_token(state, request, "GET")
    if isinstance(token, ApiResponse):
        return token
    settings, usage = state.behaviour, state.quota_usage
    now = datetime.fromtimestamp(state.now(), BEIJING)
    reset = (now + timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
    ip = settings.weibo_per_ip or MAX_IP_CALLS_PER_HOUR
    hourly = settings.weibo_per_hour or MAX_USER_POSTS_PER_HOUR
    daily = settings.weibo_per_day or MAX_USER_CALLS_PER_DAY
    share = {
        "api": "/statuses/share",
        "limit": hourly,
        "limit_time_unit": "HOURS",
        "remaining_hits": max(
            0, hourly - usage[_get_window(state, token.account, "hour")]
        ),
    }
    return ApiResponse.from_json(
        {
            "ip_limit": ip,
            "limit_time_unit": "HOURS",
            "remaining_ip_hits": max(
                0, ip - usage[_get_window(state, ALL_CALLERS, "hour")]
            ),
            "remaining_user_hits": max(
                0, daily - usage[_get_window(state, token.account, "day")]
            ),
            "reset_time": reset.strftime("%Y-%m-%d %H:%M:%S"),
            "reset_time_in_seconds": int((reset - now).total_seconds()),
            "user_limit": daily,
            "api_rate_limits": [share],
        }
    )
