"""Whose token it is, and how often it has been used (open.weibo.com wiki OAuth2, Rate-limiting)."""

from datetime import datetime

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import BEIJING, refuse
from .ids import uid_number

FIVE_YEARS = 157_679_999
"""Life of a token whose user is the app's own developer."""
SCHEME = "oauth2 "


class SignIn:
    def __init__(self, world: World) -> None:
        self.world = world

    def token(self, call: Call) -> str:
        """From body, query, or the header `Authorization: OAuth2 TOKEN`: real clients use each."""
        header = call.headers.get("authorization", "")
        if header[: len(SCHEME)].lower() == SCHEME:
            return header[len(SCHEME) :].strip()
        return call.value("access_token") or ""

    def who(self, call: Call) -> str:
        return self.world.identify("weibo", self.token(call))

    def refusal(self, call: Call, method: str) -> Answer | None:
        """The checks that come before any parameter is read."""
        if call.method != method:
            return refuse(call, 10021)
        if not self.token(call):
            return refuse(call, 10006)
        if not call.account:
            return refuse(call, 21332)
        self.world.account("weibo", call.account)
        return self._over_limit(call, publishing=call.endpoint.endswith("/share.json"))

    def _over_limit(self, call: Call, *, publishing: bool) -> Answer | None:
        settings = self.world.settings
        if not settings.weibo_per_hour and not settings.weibo_per_day:
            return None
        if settings.weibo_per_day and self.used(call.account, "day") >= settings.weibo_per_day:
            return refuse(call, 10023)
        if publishing and settings.weibo_per_hour and self.used(call.account, "hour") >= settings.weibo_per_hour:
            return refuse(call, 10024, "/statuses/share")
        self.world.used["weibo", call.account, "day", self._window("day")] += 1
        if publishing:
            self.world.used["weibo", call.account, "hour", self._window("hour")] += 1
        return None

    def used(self, account: str, unit: str) -> int:
        return self.world.used["weibo", account, unit, self._window(unit)]

    def _window(self, unit: str) -> str:
        """Fixed windows on Beijing's clock."""
        moment = datetime.fromtimestamp(self.world.now(), BEIJING)
        return moment.strftime("%Y-%m-%d" if unit == "day" else "%Y-%m-%d %H")

    def token_info(self, call: Call) -> Answer:
        if call.method != "POST":
            return refuse(call, 10021)
        if not call.account:
            return refuse(call, 21332 if self.token(call) else 10006)
        account = self.world.account("weibo", call.account)
        info = self.world.get("weibo_tokens", call.account)
        if info is None:
            info = {"create_at": int(self.world.now())}
            self.world.put("weibo_tokens", call.account, info)
        left = info["create_at"] + FIVE_YEARS - int(self.world.now())
        return Answer.of(
            {
                "uid": uid_number(call.account) if call.account.isdigit() else call.account,
                "appkey": account.secret.get("app_key", "1352222456"),
                "scope": None,
                "create_at": info["create_at"],
                "expire_in": left,
            }
        )
