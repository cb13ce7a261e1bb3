"""Rate limits (open.weibo.com wiki Rate-limiting, 2/account/rate_limit_status), by the full hour in Beijing."""

from datetime import datetime, timedelta
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .responses import BEIJING, refuse

BUSINESS_SUFFIX = "/biz.json"
MAX_IP_CALLS_PER_HOUR, MAX_USER_POSTS_PER_HOUR, MAX_USER_CALLS_PER_DAY = 15_000, 30, 100
"""The platform's own limits, reported where the settings name none."""
ALL_CALLERS = "*"
"""All callers come from this machine, so they share one IP address."""


class WeiboQuotas:
    def __init__(self, state: SimulatorState) -> None:
        self.state = state

    def check(self, request: ApiRequest, *, is_publishing: bool) -> ApiResponse | None:
        """Count a call, or refuse it if a window is full. Business calls have a limit per IP address only."""
        settings, is_business = self.state.behaviour, request.endpoint.endswith(BUSINESS_SUFFIX)
        limits = [(ALL_CALLERS, "hour", settings.weibo_per_ip, 10022)]
        if not is_business:
            limits.append((request.account, "day", settings.weibo_per_day, 10023))
            limits.append((request.account, "hour", settings.weibo_per_hour if is_publishing else 0, 10024))
        for account, unit, limit, code in limits:
            if limit and self.get_usage(account, unit) >= limit:
                return refuse(request, code, get_resource_name(request))
        for account, unit, limit, _ in limits:
            if limit:
                self.state.quota_usage["weibo", account, unit, self._format_window(unit)] += 1
        return None

    def get_usage(self, account: str, unit: str) -> int:
        return self.state.quota_usage["weibo", account, unit, self._format_window(unit)]

    def describe(self, account: str) -> dict[str, Any]:
        """Return the remaining calls; without a limit in the settings, the platform's limit is reported in full."""
        settings = self.state.behaviour
        now = datetime.fromtimestamp(self.state.now(), BEIJING)
        reset = (now + timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
        ip, hourly = settings.weibo_per_ip or MAX_IP_CALLS_PER_HOUR, settings.weibo_per_hour or MAX_USER_POSTS_PER_HOUR
        daily = settings.weibo_per_day or MAX_USER_CALLS_PER_DAY
        return {
            "ip_limit": ip,
            "limit_time_unit": "HOURS",
            "remaining_ip_hits": max(0, ip - self.get_usage(ALL_CALLERS, "hour")),
            "remaining_user_hits": max(0, daily - self.get_usage(account, "day")),
            "reset_time": reset.strftime("%Y-%m-%d %H:%M:%S"),
            "reset_time_in_seconds": int((reset - now).total_seconds()),
            "user_limit": daily,
            "api_rate_limits": [
                {
                    "api": "/statuses/share",
                    "limit": hourly,
                    "limit_time_unit": "HOURS",
                    "remaining_hits": max(0, hourly - self.get_usage(account, "hour")),
                }
            ],
        }

    def _format_window(self, unit: str) -> str:
        moment = datetime.fromtimestamp(self.state.now(), BEIJING)
        return moment.strftime("%Y-%m-%d" if unit == "day" else "%Y-%m-%d %H")


def get_resource_name(request: ApiRequest) -> str:
    """Return the call's name in errors and limits, such as `/statuses/share`."""
    return request.endpoint.removeprefix("/2").removesuffix(".json")
