"""Call quotas (developers.weixin.qq.com, API_Call_Limits), by Beijing's clock."""

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


class WeChatQuotas:
    def __init__(self, state: SimulatorState) -> None:
        self.state = state

    def check(self, request: ApiRequest) -> ApiResponse | None:
        """Count a call, or refuse it if the day's quota is used up."""
        limit = DAILY_LIMITS.get(request.endpoint) if self.state.behaviour.wechat_quotas == "platform" else None
        calls_today = self.count_call(request.account, request.endpoint)
        return refuse(request, 45009) if limit is not None and calls_today > limit else None

    def count_call(self, account: str, resource: str) -> int:
        """Count one more call on the current day, and return the new count."""
        key = "wechat", account, resource, datetime.fromtimestamp(self.state.now(), BEIJING).strftime("%Y-%m-%d")
        self.state.quota_usage[key] += 1
        return self.state.quota_usage[key]
