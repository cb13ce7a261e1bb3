"""Reading back and taking down (open.weibo.com wiki 2/statuses/user_timeline, show, destroy; C/2/statuses/…/biz)."""

from collections.abc import Callable

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import refuse, status
from .sign_in import SignIn

DEFAULT_COUNT = 20
MOST_LISTED = 100
FEATURES: dict[str, Callable[[Post], bool]] = {
    "2": lambda post: bool(post.images),
    "3": lambda _post: False,
    "4": lambda _post: False,
    "7": lambda post: not post.images,
    "8": lambda _post: False,
}
"""Pictures, video, music, text only, reposts; every other number leaves the list as it is."""
MISSING, GONE, NOT_OWN, PRIVATE = 10016, 20101, 20102, 20112


class Reading:
    def __init__(self, world: World, sign_in: SignIn) -> None:
        self.world = world
        self._sign_in = sign_in

    def timeline(self, call: Call) -> Answer:
        """The caller's own posts, whatever uid is asked for; an ordinary app sees the newest few only."""
        refusal = self._sign_in.refusal(call, "GET")
        return refusal or self._statuses(call, self.world.settings.weibo_timeline_cap)

    def business_timeline(self, call: Call) -> Answer:
        refusal = self._sign_in.refusal(call, "GET", "biz")
        return refusal or self._statuses(call, None)

    def _statuses(self, call: Call, cap: int | None) -> Answer:
        posts = self._own(call)
        chosen, older = self._page(call, posts[:cap])
        account, trim = self.world.account("weibo", call.account), call.value("trim_user") == "1"
        now = self.world.now()
        return _listing([status(post, account, now, trim_user=trim) for post in chosen], older, len(posts))

    def _own(self, call: Call) -> list[Post]:
        """What the list is cut from, newest first; posts for the author's own eyes are among them."""
        posts = [post for post in reversed(self.world.of("weibo", call.account)) if post.state == "live"]
        if call.value("base_app") == "1":
            posts = [post for post in posts if not post.extra.get("by_hand")]
        if wanted := FEATURES.get(call.value("feature") or ""):
            posts = [post for post in posts if wanted(post)]
        return self.world.listing(call, posts)

    def _page(self, call: Call, posts: list[Post]) -> tuple[list[Post], int]:
        """The posts asked for, and the number of the next older one, or 0."""
        since, until = call.number_of("since_id", 0), call.number_of("max_id", 0)
        wanted = [post for post in posts if int(post.id) > since and (not until or int(post.id) <= until)]
        count = max(1, min(call.number_of("count", DEFAULT_COUNT), MOST_LISTED))
        start = (max(1, call.number_of("page", 1)) - 1) * count
        older = wanted[start + count : start + count + 1]
        return wanted[start : start + count], int(older[0].id) if older else 0

    def _found(self, call: Call) -> Post | None:
        post = self.world.posts.get(call.value("id") or "")
        return post if post and post.platform == "weibo" and post.state in ("live", "review") else None

    def show(self, call: Call) -> Answer:
        refusal = self._sign_in.refusal(call, "GET") or _without_id(call)
        if refusal:
            return refusal
        found = self._found(call)
        post = found and self.world.seen(call, found)
        if post is None or post.state != "live" or not self.world.listing(call, [post]):
            return refuse(call, GONE)
        if post.extra.get("hidden") and post.account != call.account:
            return refuse(call, PRIVATE)
        return Answer.of(status(post, self.world.account("weibo", post.account), self.world.now()))

    def destroy(self, call: Call) -> Answer:
        return self._sign_in.refusal(call, "POST") or _without_id(call) or self._destroy(call)

    def business_destroy(self, call: Call) -> Answer:
        return self._sign_in.refusal(call, "POST", "biz") or _without_id(call) or self._destroy(call)

    def _destroy(self, call: Call) -> Answer:
        post = self._found(call)
        if post is None:
            return refuse(call, GONE)
        if post.account != call.account:
            return refuse(call, NOT_OWN)
        self.world.remove(post, "owner", call)
        return Answer.of(status(post, self.world.account("weibo", call.account), self.world.now()))


def _without_id(call: Call) -> Answer | None:
    return None if call.value("id") else refuse(call, MISSING, "id")


def _listing(entries: list[object], older: int, total: int) -> Answer:
    return Answer.of({"statuses": entries, "previous_cursor": 0, "next_cursor": older, "total_number": total})
