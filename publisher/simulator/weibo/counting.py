"""How far posts have come (open.weibo.com wiki 2/statuses/count; C/2/statuses/count/biz)."""

from collections.abc import Callable
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.reach import reach_of
from publisher.simulator.world import Post, World

from .answers import refuse
from .sign_in import SignIn

MOST_COUNTED = 100
MISSING, NONE, TOO_MANY = 10016, 20001, 20009
Entry = Callable[[Post, float], dict[str, Any]]


class Counting:
    """One entry per post that stands; unknown and deleted ones are left out without a word."""

    def __init__(self, world: World, sign_in: SignIn) -> None:
        self.world = world
        self._sign_in = sign_in

    def counts(self, call: Call) -> Answer:
        return self._sign_in.refusal(call, "GET") or self._counted(call, _numbers)

    def business_counts(self, call: Call) -> Answer:
        return self._sign_in.refusal(call, "GET", "biz") or self._counted(call, _texts)

    def _counted(self, call: Call, entry: Entry) -> Answer:
        if call.value("ids") is None:
            return refuse(call, MISSING, "ids")
        ids = [each.strip() for each in (call.value("ids") or "").split(",") if each.strip()]
        if not ids:
            return refuse(call, NONE)
        if len(ids) > MOST_COUNTED:
            return refuse(call, TOO_MANY)
        found = (self.world.posts.get(each) for each in ids)
        standing = [post for post in found if post and post.platform == "weibo" and self.world.is_listed(post)]
        now = self.world.now()
        return Answer.of([entry(post, now) for post in self.world.listing(call, standing)])


def _numbers(post: Post, now: float) -> dict[str, Any]:
    reach = reach_of(post, now)
    return {"id": int(post.id), "comments": reach.comments, "reposts": reach.reposts, "attitudes": reach.likes}


def _texts(post: Post, now: float) -> dict[str, Any]:
    """The business calls spell numbers as text, and likes as likes."""
    reach = reach_of(post, now)
    counted = {"comments": reach.comments, "reposts": reach.reposts, "likes": reach.likes}
    return {"id": post.id, **{name: str(count) for name, count in counted.items()}}
