"""One thread, floor by floor: the PC site's `page_pc`, the app's `pb/page`.

Field names are those that public clients read; read on 2026-11-24.
"""

from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import missing, read
from .floors import heard, is_thread, may_see
from .forums import floor_id
from .listing import AGREED, paged
from .marks import Marks
from .people import People
from .sign_in import SignIn

FLOORS = 30
NEWEST_FIRST = 1
ANSWERS = 4
"""Answers shown under a floor, unless the call asks for more."""


class Page:
    def __init__(self, world: World, sign_in: SignIn, people: People) -> None:
        self.world = world
        self._sign_in = sign_in
        self._people = people
        self._marks = Marks(world)

    def show(self, call: Call) -> Answer:
        """Needs no session; what its author alone may see is missing without one."""
        refusal = self._sign_in.posted(call)
        if refusal:
            return refusal
        post = self.world.posts.get(call.form.get("kz", ""))
        if post is None or not is_thread(post) or not may_see(self.world.seen(call, post), call.account):
            return missing(call, self.world.settings.tieba_deleted_code)
        return read(call, self._page(call, post))

    def answers(self, call: Call) -> Answer:
        """What stands under one floor, named by its own number or by that of one of its answers."""
        refusal = self._sign_in.posted(call)
        if refusal:
            return refusal
        thread = self.world.posts.get(call.form.get("kz", ""))
        asked = self.world.posts.get(call.form.get("pid") or call.form.get("spid", ""))
        floor = self.world.posts.get(asked.extra.get("under", asked.id)) if asked else None
        shown = [each is not None and may_see(each, call.account) for each in (thread, floor)]
        if thread is None or floor is None or not all(shown) or floor.extra.get("thread") != thread.id:
            return missing(call, self.world.settings.tieba_deleted_code)
        said = self._said(call, thread)
        under = [self._answer(each) for each in said if each.extra.get("under") == floor.id]
        answers, page = paged(under, call.number_of("pn", 1), FLOORS)
        return read(
            call,
            {
                "page": page,
                "post": self._floor(call, floor, said),
                "subpost_list": answers,
                "thread": self._thread(thread, len(said)),
                "forum": _forum(thread),
            },
        )

    def _page(self, call: Call, thread: Post) -> dict[str, Any]:
        said = self._said(call, thread)
        replies = [each for each in said if "under" not in each.extra]
        floors = [thread, *replies]
        if call.number_of("lz", 0):
            floors = [each for each in floors if each.account == thread.account]
        if call.number_of("r", 0) == NEWEST_FIRST:
            floors.reverse()
        shown, page = paged(floors, call.number_of("pn", 1), call.number_of("rn", FLOORS))
        posts = [self._floor(call, each, said) for each in shown]
        spoken = [*posts, *(answer for each in posts for answer in each["sub_post_list"]["sub_post_list"])]
        people = {each["author_id"]: each["author"] for each in spoken}
        return {
            "forum": _forum(thread),
            "page": page,
            "thread": self._thread(thread, len(said)),
            "thread_freq_num": 0,
            "first_floor": self._floor(call, thread, said),
            "post_list": posts,
            "user_list": list(people.values()),
        }

    def _said(self, call: Call, thread: Post) -> list[Post]:
        return self.world.listing(call, heard(self.world, thread.id, call.account))

    def _thread(self, post: Post, replies: int) -> dict[str, Any]:
        author = self._people.author(post.account)
        first = int(floor_id(post.id))
        pieces = self._marks.pieces(post.text)
        origin = {"title": post.title, "fname": post.extra["forum"], "tid": post.id, "content": pieces}
        return {
            "id": int(post.id),
            "tid": int(post.id),
            "title": post.title,
            "reply_num": replies,
            "view_num": 0,
            "create_time": int(post.created),
            "first_post_id": first,
            "post_id": first,
            "thread_type": 0,
            "author": author,
            "author_id": author["id"],
            "agree": AGREED,
            "share_num": 0,
            "is_deleted": 0,
            "is_frs_mask": int(bool(post.extra.get("hidden"))),
            "origin_thread_info": {**origin, "fid": post.extra["fid"]},
        }

    def _floor(self, call: Call, post: Post, said: list[Post]) -> dict[str, Any]:
        pid = floor_id(post.id) if is_thread(post) else post.id
        author = self._people.author(post.account)
        answers = [each for each in said if each.extra.get("under") == pid]
        asked = call.number_of("floor_rn", ANSWERS) if call.number_of("with_floor", 0) else 0
        return {
            "id": int(pid),
            "tid": int(post.extra.get("thread", post.id)),
            "floor": post.extra.get("floor", 1),
            "title": post.title,
            "time": int(post.created),
            "author_id": author["id"],
            "author": author,
            "content": self._marks.pieces(post.text),
            "agree": AGREED,
            "sub_post_number": len(answers),
            "sub_post_list": {"sub_post_list": [self._answer(each) for each in answers[:asked]]},
        }

    def _answer(self, post: Post) -> dict[str, Any]:
        author = self._people.author(post.account)
        return {
            "id": int(post.id),
            "time": int(post.created),
            "author_id": author["id"],
            "author": author,
            "content": self._marks.pieces(post.text),
            "agree": AGREED,
        }


def _forum(thread: Post) -> dict[str, Any]:
    return {"id": thread.extra["fid"], "name": thread.extra["forum"], "member_num": 0, "post_num": 0}
