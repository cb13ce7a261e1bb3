"""Reading back, counting, taking down (open.weibo.com wiki 2/statuses/user_timeline, show, destroy, count)."""

from datetime import datetime, timedelta

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import BEIJING, refuse, status
from .sign_in import SignIn

DEFAULT_COUNT = 20
MOST_COUNTED = 100


class Reading:
    def __init__(self, world: World, sign_in: SignIn) -> None:
        self.world = world
        self._sign_in = sign_in

    def timeline(self, call: Call) -> Answer:
        """The caller's own posts, whatever uid is asked for; an ordinary app sees the newest few only."""
        refusal = self._sign_in.refusal(call, "GET")
        if refusal:
            return refusal
        posts = [post for post in reversed(self.world.of("weibo", call.account)) if post.state == "live"]
        if call.value("base_app") == "1":
            posts = [post for post in posts if not post.extra.get("by_hand")]
        shown = self.world.listing(call, posts)
        chosen = self._page(call, shown[: self.world.settings.weibo_timeline_cap])
        account = self.world.account("weibo", call.account)
        trim = call.value("trim_user") == "1"
        return Answer.of(
            {
                "statuses": [status(post, account, trim_user=trim) for post in chosen],
                "previous_cursor": 0,
                "next_cursor": 0,
                "total_number": len(shown),
            }
        )

    def _page(self, call: Call, posts: list[Post]) -> list[Post]:
        since, until = call.number_of("since_id", 0), call.number_of("max_id", 0)
        wanted = [post for post in posts if int(post.id) > since and (not until or int(post.id) <= until)]
        count = max(1, min(call.number_of("count", DEFAULT_COUNT), 100))
        start = (max(1, call.number_of("page", 1)) - 1) * count
        return wanted[start : start + count]

    def _found(self, call: Call) -> Post | None:
        post = self.world.posts.get(call.value("id") or "")
        return post if post and post.platform == "weibo" and post.state in ("live", "review") else None

    def show(self, call: Call) -> Answer:
        refusal = self._sign_in.refusal(call, "GET")
        if refusal:
            return refusal
        post = self._found(call)
        if post is None or not self.world.is_listed(post):
            return refuse(call, 20101)
        return Answer.of(status(post, self.world.account("weibo", post.account)))

    def destroy(self, call: Call) -> Answer:
        refusal = self._sign_in.refusal(call, "POST")
        if refusal:
            return refusal
        post = self._found(call)
        if post is None:
            return refuse(call, 20101)
        if post.account != call.account:
            return refuse(call, 20102)
        self.world.remove(post, "owner", call)
        return Answer.of(status(post, self.world.account("weibo", call.account)))

    def counts(self, call: Call) -> Answer:
        """One entry per post that stands; unknown and deleted ones are left out without a word."""
        refusal = self._sign_in.refusal(call, "GET")
        if refusal:
            return refusal
        ids = [each.strip() for each in (call.value("ids") or "").split(",") if each.strip()]
        if not ids:
            return refuse(call, 10016, "ids")
        if len(ids) > MOST_COUNTED:
            return refuse(call, 10008)
        found = (self.world.posts.get(each) for each in ids)
        return Answer.of(
            [
                {"id": int(post.id), "comments": 0, "reposts": 0, "attitudes": 0}
                for post in found
                if post and post.platform == "weibo" and self.world.is_listed(post)
            ]
        )

    def rate_limit(self, call: Call) -> Answer:
        """What is left of the user's calls; asking costs none."""
        if not call.account:
            return refuse(call, 21332 if self._sign_in.token(call) else 10006)
        settings = self.world.settings
        now = datetime.fromtimestamp(self.world.now(), BEIJING)
        reset = (now + timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
        hourly, daily = settings.weibo_per_hour or 30, settings.weibo_per_day or 100
        return Answer.of(
            {
                "ip_limit": 15000,
                "limit_time_unit": "HOURS",
                "remaining_ip_hits": 15000,
                "remaining_user_hits": max(0, daily - self._sign_in.used(call.account, "day")),
                "reset_time": reset.strftime("%Y-%m-%d %H:%M:%S"),
                "reset_time_in_seconds": int((reset - now).total_seconds()),
                "user_limit": daily,
                "api_rate_limits": [
                    {
                        "api": "/statuses/share",
                        "limit": hourly,
                        "limit_time_unit": "HOURS",
                        "remaining_hits": max(0, hourly - self._sign_in.used(call.account, "hour")),
                    }
                ],
            }
        )
