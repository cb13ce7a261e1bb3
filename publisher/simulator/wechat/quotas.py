"""How often may be called (developers.weixin.qq.com, API_Call_Limits), by Beijing's clock."""

from collections.abc import Mapping
from datetime import datetime

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .responses import BEIJING, refuse

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
DAY_FORMAT, MINUTE_FORMAT = "%Y-%m-%d", "%Y-%m-%d %H:%M"


class WeChatQuotas:
    def __init__(self, state: SimulatorState) -> None:
        self.state = state

    def check(self, request: ApiRequest) -> ApiResponse | None:
        """Count a call, or say which window is full."""
        per_minute, per_day = (
            self.state.behaviour.wechat_per_minute.get(request.endpoint),
            self._get_daily_limit(request.endpoint),
        )
        if per_minute is not None and self.count_call(request.account, request.endpoint, MINUTE_FORMAT) > per_minute:
            return refuse(request, 45011)
        if self.count_call(request.account, request.endpoint, DAY_FORMAT) > (
            per_day if per_day is not None else float("inf")
        ):
            return refuse(request, 45009)
        return None

    def count_call(self, account: str, what: str, window: str) -> int:
        """Count one more in the present window, and give how many that makes."""
        self.state.quota_usage[self._make_usage_key(account, what, window)] += 1
        return self.state.quota_usage[self._make_usage_key(account, what, window)]

    def _get_daily_limit(self, path: str) -> int | None:
        figures = DAILY_LIMITS if self.state.behaviour.wechat_quotas == "platform" else {}
        return self.state.behaviour.wechat_daily.get(path, figures.get(path))

    def _make_usage_key(self, account: str, what: str, window: str) -> tuple[str, str, str, str]:
        return "wechat", account, what, datetime.fromtimestamp(self.state.now(), BEIJING).strftime(window)
