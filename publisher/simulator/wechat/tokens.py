"""Access tokens and daily quotas.

The sources are developers.weixin.qq.com, getStableAccessToken, Get_access_token and
API_Call_Limits. `stable_token` and `token` are isolated from each other. Only `token` replaces the
old token on each call.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from publisher.simulator.platform import Handler
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .responses import BEIJING, refuse

TOKEN_LIFETIME_SECONDS = 7200
OVERLAP_SECONDS = 300
"""An old token stays valid this long beside its successor."""
FORCED_RENEWAL_SECONDS = 30
MAX_FORCED_RENEWALS_PER_DAY = 20
VERIFIED_ONLY_PREFIXES = (
    "/cgi-bin/freepublish/",
    "/cgi-bin/message/mass/",
    "/datacube/",
)
DAILY_LIMITS: Mapping[str, int] = {
    "/cgi-bin/token": 2000,
    "/cgi-bin/stable_token": 500_000,
    "/cgi-bin/draft/add": 1000,
    "/cgi-bin/draft/update": 1000,
    "/cgi-bin/draft/delete": 1000,
    "/cgi-bin/draft/count": 1000,
    "/cgi-bin/draft/batchget": 1000,
    "/cgi-bin/draft/get": 500,
    "/cgi-bin/freepublish/submit": 100,
    "/cgi-bin/freepublish/get": 100,
    "/cgi-bin/freepublish/batchget": 100,
    "/cgi-bin/freepublish/getarticle": 100,
    "/cgi-bin/freepublish/delete": 10,
    "/cgi-bin/message/mass/sendall": 100,
    "/cgi-bin/message/mass/send": 100,
    "/cgi-bin/message/mass/preview": 100,
}


def identify_caller(state: SimulatorState, request: ApiRequest) -> str:
    if request.endpoint == "/cgi-bin/stable_token":
        return str(request.get_json("appid") or "")
    if request.endpoint == "/cgi-bin/token":
        return request.query.get("appid", "")
    found = state.get_row("wechat_tokens", request.query.get("access_token", ""))
    return str(found["app_id"]) if found else ""


def require_token(handler: Handler, method: str) -> Handler:
    """Wrap a handler so that HTTP method, token, permission and quota are checked first."""

    def checked(state: SimulatorState, request: ApiRequest) -> ApiResponse:
        if request.method != method:
            return refuse(request, 43002)
        token = request.query.get("access_token", "")
        if not token:
            return refuse(request, 41001)
        found = state.get_row("wechat_tokens", token)
        if found is None:
            return refuse(request, 40001)
        if state.now() >= found["dies_at"]:
            return refuse(request, 42001)
        if not state.behaviour.wechat_verified and request.endpoint.startswith(
            VERIFIED_ONLY_PREFIXES
        ):
            return refuse(request, 48001)
        return check_quota(state, request) or handler(state, request)

    return checked


def expire_all(state: SimulatorState, request: ApiRequest) -> None:
    """Expire every token of the caller."""
    for kind in ("stable", "plain"):
        if token := _find_current(state, request.account, kind):
            _expire(state, token)


def issue_stable(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Return the current token, or a new one.

    A forced renewal too soon after the last one renews nothing.
    """
    fields = request.parse_json()
    if request.method != "POST":
        return refuse(request, 43002)
    if fields is None:
        return refuse(request, 47001)
    if refusal := _check_credentials(state, request, fields):
        return refusal
    now, current = state.now(), _find_current(state, request.account, "stable")
    is_forced = fields.get("force_refresh") is True
    if current and is_forced and now - current["made_at"] >= FORCED_RENEWAL_SECONDS:
        if (
            count_call(state, request.account, "force_refresh")
            > MAX_FORCED_RENEWALS_PER_DAY
        ):
            return refuse(request, 45009)
        _expire(state, current)
        current = None
    if current is None or current["dies_at"] - now <= OVERLAP_SECONDS:
        current = _issue(state, request.account, "stable")
    return _make_response(state, current)


def issue_plain(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    if refusal := _check_credentials(state, request, request.query):
        return refusal
    if old := _find_current(state, request.account, "plain"):
        _expire(state, old, OVERLAP_SECONDS)
    return _make_response(state, _issue(state, request.account, "plain"))


def _check_credentials(
    state: SimulatorState, request: ApiRequest, fields: Mapping[str, Any]
) -> ApiResponse | None:
    if not fields.get("appid"):
        return refuse(request, 41002)
    if not fields.get("secret"):
        return refuse(request, 41004)
    if fields.get("grant_type") != "client_credential":
        return refuse(request, 40002)
    if not state.behaviour.open and ("wechat", request.account) not in state.accounts:
        return refuse(request, 40013)
    known = state.ensure_account("wechat", request.account).secret.get("app_secret")
    if known and known != fields["secret"]:
        return refuse(request, 40125)
    listed = state.behaviour.wechat_addresses
    return (
        refuse(request, 40164)
        if listed and request.peer_address not in listed
        else check_quota(state, request)
    )


def _find_current(
    state: SimulatorState, app_id: str, kind: str
) -> dict[str, Any] | None:
    pointer = state.get_row("wechat_current", f"{kind}/{app_id}")
    found = state.get_row("wechat_tokens", pointer["token"]) if pointer else None
    return found if found and found["dies_at"] > state.now() else None


def _issue(state: SimulatorState, app_id: str, kind: str) -> dict[str, Any]:
    now = state.now()
    token = f"60_{secrets.token_urlsafe(96)}"
    issued = {
        "token": token,
        "app_id": app_id,
        "made_at": now,
        "dies_at": now + TOKEN_LIFETIME_SECONDS,
    }
    state.put_row("wechat_tokens", token, issued)
    state.put_row("wechat_current", f"{kind}/{app_id}", {"token": token})
    return issued


def _expire(state: SimulatorState, token: dict[str, Any], after: float = 0) -> None:
    dies_at = min(token["dies_at"], state.now() + after)
    state.put_row("wechat_tokens", token["token"], {**token, "dies_at": dies_at})


def _make_response(state: SimulatorState, token: dict[str, Any]) -> ApiResponse:
    return ApiResponse.from_json(
        {
            "access_token": token["token"],
            "expires_in": int(token["dies_at"] - state.now()),
        }
    )


def check_quota(state: SimulatorState, request: ApiRequest) -> ApiResponse | None:
    """Count a call, or refuse it if the day's quota is used up."""
    limit = (
        DAILY_LIMITS.get(request.endpoint)
        if state.behaviour.wechat_quotas == "platform"
        else None
    )
    calls_today = count_call(state, request.account, request.endpoint)
    return refuse(request, 45009) if limit is not None and calls_today > limit else None


def count_call(state: SimulatorState, account: str, resource: str) -> int:
    """Count one more call on the current day, and return the new count."""
    key = (
        "wechat",
        account,
        resource,
        datetime.fromtimestamp(state.now(), BEIJING).strftime("%Y-%m-%d"),
    )
    state.quota_usage[key] += 1
    return state.quota_usage[key]
