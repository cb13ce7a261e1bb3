"""Access tokens (developers.weixin.qq.com, getStableAccessToken and Get_access_token)."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import refuse
from .quotas import DAY, Quotas

LIFE = 7200
OVERLAP = 300
"""An old token lives on that long beside its successor."""
BETWEEN_FORCED = 30
FORCED_PER_DAY = 20
FOR_VERIFIED = ("/cgi-bin/freepublish/", "/cgi-bin/message/mass/", "/datacube/")
Handler = Callable[[Call], Answer]


class Tokens:
    """`stable_token` and `token` are two isolated kinds; only the second replaces on each call."""

    def __init__(self, world: World, quotas: Quotas) -> None:
        self.world = world
        self._quotas = quotas

    def who(self, call: Call) -> str:
        if call.endpoint == "/cgi-bin/stable_token":
            return str((call.json() or {}).get("appid") or "")
        if call.endpoint == "/cgi-bin/token":
            return call.query.get("appid", "")
        found = self.world.get("wechat_tokens", call.query.get("access_token", ""))
        return str(found["app_id"]) if found else ""

    def behind(self, handler: Handler, method: str = "POST") -> Handler:
        """The handler behind what is checked before any business call: the verb, the token, the right, the quota."""
        return lambda call: self._refusal(call, method) or handler(call)

    def _refusal(self, call: Call, method: str) -> Answer | None:
        if call.method != method:
            return refuse(call, 43002)
        token = call.query.get("access_token", "")
        if not token:
            return refuse(call, 41001)
        found = self.world.get("wechat_tokens", token)
        if found is None:
            return refuse(call, 40001)
        if self.world.now() >= found["dies_at"]:
            return refuse(call, 42001)
        if not self.world.settings.wechat_verified and call.endpoint.startswith(FOR_VERIFIED):
            return refuse(call, 48001)
        return self._quotas.refusal(call)

    def expire(self, call: Call) -> None:
        """Every token of the caller dies at once."""
        for kind in ("stable", "plain"):
            self._kill(self._current(call.account, kind))

    def stable(self, call: Call) -> Answer:
        wanted = call.json()
        if call.method != "POST":
            return refuse(call, 43002)
        if wanted is None:
            return refuse(call, 47001)
        return self._unwelcome(call, wanted) or self._stable(call, force=wanted.get("force_refresh") is True)

    def plain(self, call: Call) -> Answer:
        unwelcome = self._unwelcome(call, call.query)
        if unwelcome:
            return unwelcome
        old = self._current(call.account, "plain")
        if old:
            self._kill(old, OVERLAP)
        return self._answer(self._issue(call.account, "plain"))

    def _unwelcome(self, call: Call, wanted: Mapping[str, Any]) -> Answer | None:
        if not wanted.get("appid"):
            return refuse(call, 41002)
        if not wanted.get("secret"):
            return refuse(call, 41004)
        if wanted.get("grant_type") != "client_credential":
            return refuse(call, 40002)
        if not self.world.settings.open and ("wechat", call.account) not in self.world.accounts:
            return refuse(call, 40013)
        known = self.world.account("wechat", call.account).secret.get("app_secret")
        if known and known != wanted["secret"]:
            return refuse(call, 40125)
        listed = self.world.settings.wechat_addresses
        return refuse(call, 40164) if listed and call.peer not in listed else self._quotas.refusal(call)

    def _stable(self, call: Call, *, force: bool) -> Answer:
        """Force the old one out; what comes too soon after it was made refreshes nothing and counts nothing."""
        now, current = self.world.now(), self._current(call.account, "stable")
        if current and force and now - current["made_at"] >= BETWEEN_FORCED:
            if self._quotas.count(call.account, "force_refresh", DAY) > FORCED_PER_DAY:
                return refuse(call, 45009)
            self._kill(current)
            current = None
        if current and current["dies_at"] - now > OVERLAP:
            return self._answer(current)
        return self._answer(self._issue(call.account, "stable"))

    def _current(self, app_id: str, kind: str) -> dict[str, Any] | None:
        pointer = self.world.get("wechat_current", f"{kind}/{app_id}")
        found = self.world.get("wechat_tokens", pointer["token"]) if pointer else None
        return found if found and found["dies_at"] > self.world.now() else None

    def _issue(self, app_id: str, kind: str) -> dict[str, Any]:
        now = self.world.now()
        token = f"60_{secrets.token_urlsafe(96)}"
        made = {"token": token, "app_id": app_id, "made_at": now, "dies_at": now + LIFE}
        self.world.put("wechat_tokens", token, made)
        self.world.put("wechat_current", f"{kind}/{app_id}", {"token": token})
        return made

    def _kill(self, token: dict[str, Any] | None, after: float = 0) -> None:
        if token:
            dies_at = min(token["dies_at"], self.world.now() + after)
            self.world.put("wechat_tokens", token["token"], {**token, "dies_at": dies_at})

    def _answer(self, token: dict[str, Any]) -> Answer:
        return Answer.of({"access_token": token["token"], "expires_in": int(token["dies_at"] - self.world.now())})
