"""How often may be called (open.weibo.com wiki Rate-limiting, 2/account/rate_limit_status), on Beijing's full hours."""

from datetime import datetime, timedelta
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import BEIJING, refuse

BUSINESS = "/biz.json"
IP_PER_HOUR, USER_PER_HOUR, USER_PER_DAY = 15_000, 30, 100
"""The platform's own figures, told where the settings name none."""
EVERYBODY = "*"
"""All callers come from this machine, so they share one address."""


class Quotas:
    def __init__(self, world: World) -> None:
        self.world = world

    def refusal(self, call: Call, *, is_publishing: bool) -> Answer | None:
        """Count a call, or say which window is full. Business calls have a limit per address only."""
        settings, is_business = self.world.settings, call.endpoint.endswith(BUSINESS)
        wanted = [(EVERYBODY, "hour", settings.weibo_per_ip, 10022)]
        if not is_business:
            wanted.append((call.account, "day", settings.weibo_per_day, 10023))
            wanted.append((call.account, "hour", settings.weibo_per_hour if is_publishing else 0, 10024))
        for account, unit, limit, code in wanted:
            if limit and self.used(account, unit) >= limit:
                return refuse(call, code, resource_of(call))
        for account, unit, limit, _ in wanted:
            if limit:
                self.world.used["weibo", account, unit, self._window(unit)] += 1
        return None

    def used(self, account: str, unit: str) -> int:
        return self.world.used["weibo", account, unit, self._window(unit)]

    def status(self, account: str) -> dict[str, Any]:
        """What is left; where the settings name no limit, the platform's figures are told and nothing counts."""
        settings = self.world.settings
        now = datetime.fromtimestamp(self.world.now(), BEIJING)
        reset = (now + timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
        ip, hourly = settings.weibo_per_ip or IP_PER_HOUR, settings.weibo_per_hour or USER_PER_HOUR
        daily = settings.weibo_per_day or USER_PER_DAY
        return {
            "ip_limit": ip,
            "limit_time_unit": "HOURS",
            "remaining_ip_hits": max(0, ip - self.used(EVERYBODY, "hour")),
            "remaining_user_hits": max(0, daily - self.used(account, "day")),
            "reset_time": reset.strftime("%Y-%m-%d %H:%M:%S"),
            "reset_time_in_seconds": int((reset - now).total_seconds()),
            "user_limit": daily,
            "api_rate_limits": [
                {
                    "api": "/statuses/share",
                    "limit": hourly,
                    "limit_time_unit": "HOURS",
                    "remaining_hits": max(0, hourly - self.used(account, "hour")),
                }
            ],
        }

    def _window(self, unit: str) -> str:
        moment = datetime.fromtimestamp(self.world.now(), BEIJING)
        return moment.strftime("%Y-%m-%d" if unit == "day" else "%Y-%m-%d %H")


def resource_of(call: Call) -> str:
    """A call as errors and limits name it: `/statuses/share`."""
    return call.endpoint.removeprefix("/2").removesuffix(".json")
