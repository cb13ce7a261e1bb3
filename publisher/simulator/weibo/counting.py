"""How far posts have come, and their numbers in other spellings (open.weibo.com wiki 2/statuses/count, querymid)."""

from collections.abc import Callable
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.reach import reach_of
from publisher.simulator.world import Post, World

from .answers import refuse
from .ids import bid, mid_of
from .sign_in import SignIn

MOST_COUNTED = 100
MISSING, WRONG, NONE, TOO_MANY = 10016, 10017, 20001, 20009
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

    def media_counts(self, call: Call) -> Answer:
        """With reads, which media accounts alone are told."""
        return self._sign_in.refusal(call, "GET", "media") or self._counted(call, _texts_with_reads)

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

    def query_mid(self, call: Call) -> Answer:
        """A number as it stands in a post's address."""
        refusal = self._sign_in.refusal(call, "GET")
        if refusal:
            return refusal
        number = call.value("id") or ""
        if not number:
            return refuse(call, MISSING, "id")
        return Answer.of({"mid": bid(number)}) if _is_number(number) else refuse(call, WRONG, "id")

    def query_id(self, call: Call) -> Answer:
        """The number behind what stands in a post's address."""
        refusal = self._sign_in.refusal(call, "GET")
        if refusal:
            return refusal
        mid = call.value("mid") or ""
        if not mid:
            return refuse(call, MISSING, "mid")
        number = mid_of(mid) if call.value("isBase62") == "1" else mid
        return Answer.of({"id": number}) if _is_number(number) else refuse(call, WRONG, "mid")


def _numbers(post: Post, now: float) -> dict[str, Any]:
    reach = reach_of(post, now)
    return {"id": int(post.id), "comments": reach.comments, "reposts": reach.reposts, "attitudes": reach.likes}


def _texts(post: Post, now: float) -> dict[str, Any]:
    """The business calls spell numbers as text, and likes as likes."""
    reach = reach_of(post, now)
    counted = {"comments": reach.comments, "reposts": reach.reposts, "likes": reach.likes}
    return {"id": post.id, **{name: str(count) for name, count in counted.items()}}


def _texts_with_reads(post: Post, now: float) -> dict[str, Any]:
    return {**_texts(post, now), "reads": str(reach_of(post, now).reads)}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
