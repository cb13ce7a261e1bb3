"""How often may be called (developers.weixin.qq.com, API_Call_Limits), by Beijing's clock."""

from collections.abc import Mapping
from datetime import datetime

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import BEIJING, refuse

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
DAY, MINUTE = "%Y-%m-%d", "%Y-%m-%d %H:%M"


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

    def _limit(self, path: str) -> int | None:
        figures = FIGURES if self.world.settings.wechat_quotas == "platform" else {}
        return self.world.settings.wechat_daily.get(path, figures.get(path))

    def _key(self, account: str, what: str, window: str) -> tuple[str, str, str, str]:
        return "wechat", account, what, datetime.fromtimestamp(self.world.now(), BEIJING).strftime(window)
