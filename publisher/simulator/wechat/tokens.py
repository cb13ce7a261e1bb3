"""Access tokens (developers.weixin.qq.com, getStableAccessToken and Get_access_token)."""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import refuse

LIFE = 7200
OVERLAP = 300
"""An old token lives on that long beside its successor."""
BETWEEN_FORCED = 30
BEIJING = timezone(timedelta(hours=8))


class Tokens:
    """`stable_token` and `token` are two isolated kinds; only the second replaces on each call."""

    def __init__(self, world: World) -> None:
        self.world = world

    def who(self, call: Call) -> str:
        if call.endpoint == "/cgi-bin/stable_token":
            return str((call.json() or {}).get("appid") or "")
        if call.endpoint == "/cgi-bin/token":
            return call.query.get("appid", "")
        found = self.world.get("wechat_tokens", call.query.get("access_token", ""))
        return str(found["app_id"]) if found else ""

    def refusal(self, call: Call, method: str = "POST") -> Answer | None:
        """What is checked before any business call: the verb, the token, the day's quota."""
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
        return self._over_quota(call)

    def _over_quota(self, call: Call) -> Answer | None:
        limit = self.world.settings.wechat_daily.get(call.endpoint)
        if limit is None:
            return None
        day = datetime.fromtimestamp(self.world.now(), BEIJING).strftime("%Y-%m-%d")
        used = self.world.used["wechat", call.account, call.endpoint, day] = (
            self.world.used["wechat", call.account, call.endpoint, day] + 1
        )
        return refuse(call, 45009) if used > limit else None

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
        return self._unwelcome(call, wanted) or self._answer(
            self._stable(call.account, force=bool(wanted.get("force_refresh")))
        )

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
        return refuse(call, 40125) if known and known != wanted["secret"] else None

    def _stable(self, app_id: str, *, force: bool) -> dict[str, Any]:
        now, current = self.world.now(), self._current(app_id, "stable")
        if current and force and now - current["made_at"] >= BETWEEN_FORCED:
            self._kill(current)
            current = None
        if current and current["dies_at"] - now > OVERLAP:
            return current
        return self._issue(app_id, "stable")

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
