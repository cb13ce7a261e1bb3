"""How often may be called (developers.weixin.qq.com, API_Call_Limits, get_api_quota), by Beijing's clock."""

from collections.abc import Mapping
from datetime import datetime

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import BEIJING, OK, refuse

FIGURES: Mapping[str, int] = {
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
CLEARED_PER_MONTH = {"/cgi-bin/clear_quota": 10, "/cgi-bin/openapi/quota/clear": 50}
DAY, MINUTE, MONTH = "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m"


class Quotas:
    def __init__(self, world: World) -> None:
        self.world = world

    def refusal(self, call: Call) -> Answer | None:
        """Count a call, or say which window is full."""
        per_minute, per_day = self.world.settings.wechat_per_minute.get(call.endpoint), self._limit(call.endpoint)
        if per_minute is not None and self.count(call.account, call.endpoint, MINUTE) > per_minute:
            return refuse(call, 45011)
        if self.count(call.account, call.endpoint, DAY) > (per_day if per_day is not None else float("inf")):
            return refuse(call, 45009)
        return None

    def count(self, account: str, what: str, window: str) -> int:
        """Count one more in the present window, and give how many that makes."""
        self.world.used[self._key(account, what, window)] += 1
        return self.world.used[self._key(account, what, window)]

    def of_path(self, call: Call) -> Answer:
        path = str((call.json() or {}).get("cgi_path") or "")
        limit = self._limit(path) or FIGURES.get(path)
        if limit is None:
            return refuse(call, 76021)
        used = min(self.world.used[self._key(call.account, path, DAY)], limit)
        return Answer.of({**OK, "quota": {"daily_limit": limit, "used": used, "remain": limit - used}})

    def clear(self, call: Call) -> Answer:
        """Empty the day's counters of an account, or of one path."""
        wanted = call.json() or {}
        path = str(wanted.get("cgi_path") or "")
        if call.endpoint.endswith("clear_quota") and wanted.get("appid") != call.account:
            return refuse(call, 40013)
        if call.endpoint.endswith("quota/clear") and path not in FIGURES:
            return refuse(call, 76021)
        if self.count(call.account, call.endpoint, MONTH) > CLEARED_PER_MONTH[call.endpoint]:
            return refuse(call, 48006)
        day = self._key(call.account, path, DAY)
        for key in [key for key in self.world.used if key[:2] == day[:2] and key[3] == day[3]]:
            if not path or key == day:
                del self.world.used[key]
        return Answer.of(OK)

    def _limit(self, path: str) -> int | None:
        figures = FIGURES if self.world.settings.wechat_quotas == "platform" else {}
        return self.world.settings.wechat_daily.get(path, figures.get(path))

    def _key(self, account: str, what: str, window: str) -> tuple[str, str, str, str]:
        return "wechat", account, what, datetime.fromtimestamp(self.world.now(), BEIJING).strftime(window)
