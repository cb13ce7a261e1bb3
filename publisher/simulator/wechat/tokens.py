"""Access tokens (developers.weixin.qq.com, getStableAccessToken and Get_access_token)."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .quotas import WeChatQuotas
from .responses import refuse

TOKEN_LIFETIME_SECONDS = 7200
OVERLAP_SECONDS = 300
"""An old token stays valid this long beside its successor."""
FORCED_RENEWAL_SECONDS = 30
MAX_FORCED_RENEWALS_PER_DAY = 20
VERIFIED_ONLY_PREFIXES = ("/cgi-bin/freepublish/", "/cgi-bin/message/mass/", "/datacube/")
Handler = Callable[[ApiRequest], ApiResponse]


class WeChatTokenApi:
    """`stable_token` and `token` are isolated from each other; only `token` replaces the old token on each call."""

    def __init__(self, state: SimulatorState, quotas: WeChatQuotas) -> None:
        self.state = state
        self._quotas = quotas

    def identify_caller(self, request: ApiRequest) -> str:
        if request.endpoint == "/cgi-bin/stable_token":
            return str((request.parse_json() or {}).get("appid") or "")
        if request.endpoint == "/cgi-bin/token":
            return request.query.get("appid", "")
        found = self.state.get_row("wechat_tokens", request.query.get("access_token", ""))
        return str(found["app_id"]) if found else ""

    def require_token(self, handler: Handler, method: str = "POST") -> Handler:
        """Wrap a handler so that HTTP method, token, permission and quota are checked first."""

        def checked(request: ApiRequest) -> ApiResponse:
            if request.method != method:
                return refuse(request, 43002)
            token = request.query.get("access_token", "")
            if not token:
                return refuse(request, 41001)
            found = self.state.get_row("wechat_tokens", token)
            if found is None:
                return refuse(request, 40001)
            if self.state.now() >= found["dies_at"]:
                return refuse(request, 42001)
            if not self.state.behaviour.wechat_verified and request.endpoint.startswith(VERIFIED_ONLY_PREFIXES):
                return refuse(request, 48001)
            return self._quotas.check(request) or handler(request)

        return checked

    def expire_all(self, request: ApiRequest) -> None:
        """Expire every token of the caller."""
        for kind in ("stable", "plain"):
            self._expire(self._find_current(request.account, kind))

    def issue_stable(self, request: ApiRequest) -> ApiResponse:
        """Return the current token, or a new one; a forced renewal too soon after the last one renews nothing."""
        fields = request.parse_json()
        if request.method != "POST":
            return refuse(request, 43002)
        if fields is None:
            return refuse(request, 47001)
        if refusal := self._check_credentials(request, fields):
            return refusal
        now, current = self.state.now(), self._find_current(request.account, "stable")
        is_forced = fields.get("force_refresh") is True
        if current and is_forced and now - current["made_at"] >= FORCED_RENEWAL_SECONDS:
            if self._quotas.count_call(request.account, "force_refresh") > MAX_FORCED_RENEWALS_PER_DAY:
                return refuse(request, 45009)
            self._expire(current)
            current = None
        if current is None or current["dies_at"] - now <= OVERLAP_SECONDS:
            current = self._issue(request.account, "stable")
        return self._make_response(current)

    def issue_plain(self, request: ApiRequest) -> ApiResponse:
        if refusal := self._check_credentials(request, request.query):
            return refusal
        old = self._find_current(request.account, "plain")
        if old:
            self._expire(old, OVERLAP_SECONDS)
        return self._make_response(self._issue(request.account, "plain"))

    def _check_credentials(self, request: ApiRequest, fields: Mapping[str, Any]) -> ApiResponse | None:
        if not fields.get("appid"):
            return refuse(request, 41002)
        if not fields.get("secret"):
            return refuse(request, 41004)
        if fields.get("grant_type") != "client_credential":
            return refuse(request, 40002)
        if not self.state.behaviour.open and ("wechat", request.account) not in self.state.accounts:
            return refuse(request, 40013)
        known = self.state.ensure_account("wechat", request.account).secret.get("app_secret")
        if known and known != fields["secret"]:
            return refuse(request, 40125)
        listed = self.state.behaviour.wechat_addresses
        return refuse(request, 40164) if listed and request.peer_address not in listed else self._quotas.check(request)

    def _find_current(self, app_id: str, kind: str) -> dict[str, Any] | None:
        pointer = self.state.get_row("wechat_current", f"{kind}/{app_id}")
        found = self.state.get_row("wechat_tokens", pointer["token"]) if pointer else None
        return found if found and found["dies_at"] > self.state.now() else None

    def _issue(self, app_id: str, kind: str) -> dict[str, Any]:
        now = self.state.now()
        token = f"60_{secrets.token_urlsafe(96)}"
        issued = {"token": token, "app_id": app_id, "made_at": now, "dies_at": now + TOKEN_LIFETIME_SECONDS}
        self.state.put_row("wechat_tokens", token, issued)
        self.state.put_row("wechat_current", f"{kind}/{app_id}", {"token": token})
        return issued

    def _expire(self, token: dict[str, Any] | None, after: float = 0) -> None:
        if token:
            dies_at = min(token["dies_at"], self.state.now() + after)
            self.state.put_row("wechat_tokens", token["token"], {**token, "dies_at": dies_at})

    def _make_response(self, token: dict[str, Any]) -> ApiResponse:
        return ApiResponse.from_json(
            {"access_token": token["token"], "expires_in": int(token["dies_at"] - self.state.now())}
        )
