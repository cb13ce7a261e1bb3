"""Lists of threads: one's own on the PC site (`myThread`) and in the app (`userpost`), a forum's (`frs/page`).

Field names are those that public clients read; read on 2026-11-24.
"""

from collections.abc import Sequence
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import read, refuse
from .floors import heard, is_thread, may_see
from .forums import exists, floor_id, forum_id
from .marks import PICTURE_MARK, Marks
from .people import People
from .sign_in import SignIn

PAGE, LARGEST_PAGE = 20, 100
THREADS, REPLIES = "1", "2"
PUBLIC_ONLY = 2
BY_CREATION = 1
ABSTRACT = 200
AGREED = {"agree_num": 0, "disagree_num": 0}


class Listing:
    def __init__(self, world: World, sign_in: SignIn, people: People) -> None:
        self.world = world
        self._sign_in = sign_in
        self._people = people
        self._marks = Marks(world)

    def my_threads(self, call: Call) -> Answer:
        """Threads or replies of the portrait asked for; those in review only to their own author."""
        refusal = self._sign_in.unsigned(call)
        if refusal:
            return refusal
        portrait = call.query.get("portrait") or call.account
        if not portrait:
            return refuse(call, "230265")
        kind = call.query.get("type", THREADS)
        posts = self._posts(call, portrait, call.account, are_threads=kind == THREADS)
        shown, has_more = _page(call, posts if kind in (THREADS, REPLIES) else [])
        entries = [self._entry(post, call.account) for post in shown]
        return read(call, {"data": {"has_more": int(has_more), "list": entries}})

    def _posts(self, call: Call, author: str, reader: str, *, are_threads: bool) -> list[Post]:
        posts = [
            post
            for post in reversed(self.world.of("tieba", author))
            if is_thread(post) == are_threads and may_see(post, reader) and self._stands(post, reader)
        ]
        return self.world.listing(call, posts)

    def _stands(self, post: Post, reader: str) -> bool:
        """A reply is listed as long as its thread is there."""
        return is_thread(post) or may_see(self.world.posts[post.extra["thread"]], reader)

    def _entry(self, post: Post, reader: str) -> dict[str, Any]:
        private = int(post.state == "review" or bool(post.extra.get("hidden")))
        if is_thread(post):
            return {"type": 1, "private": private, "thread_info": self._thread(post, reader)}
        said = {
            "id": int(post.id),
            "content": self._marks.pieces(post.text),
            "quote_id": str(post.extra.get("under", 0)),
            "author": self._people.author(post.account),
            "time": int(post.created),
        }
        thread = self.world.posts[post.extra["thread"]]
        info = self._thread(thread, reader)
        return {"type": 3 if "under" in post.extra else 2, "private": private, "thread_info": info, "post_info": said}

    def _thread(self, post: Post, reader: str) -> dict[str, Any]:
        author = self._people.author(post.account)
        replies = heard(self.world, post.id, reader)
        forum = {"id": post.extra["fid"], "name": post.extra["forum"], "member_num": 0, "post_num": 0, "is_liked": 0}
        return {
            "id": int(post.id),
            "tid": int(post.id),
            "title": post.title,
            "reply_num": len(replies),
            "view_num": 0,
            "create_time": int(post.created),
            "last_time_int": int(max(each.created for each in (post, *replies))),
            "first_post_id": int(floor_id(post.id)),
            "fid": post.extra["fid"],
            "fname": post.extra["forum"],
            "forum_info": forum,
            "author_id": author["id"],
            "author": author,
            "thread_type": 0,
            "agree_num": 0,
            "agree": AGREED,
            "share_num": 0,
            "is_deleted": 0,
            "is_good": 0,
            "is_top": 0,
            "is_frs_mask": 0,
            "abstract": [{"type": 0, "text": PICTURE_MARK.sub("", post.text).strip()[:ABSTRACT]}],
            "first_post_content": self._marks.pieces(post.text),
        }

    def of_user(self, call: Call) -> Answer:
        """`userpost`: a person's threads, or their replies, each under its thread."""
        refusal = self._sign_in.posted(call)
        account = self._people.find(call.form)
        if refusal or account is None:
            return refusal or refuse(call, "110001")
        are_threads = call.form.get("is_thread") == "1"
        reader = "" if call.number_of("is_view_card", 1) == PUBLIC_ONLY else call.account
        posts = self._posts(call, account.identity, reader, are_threads=are_threads)
        shown, _ = _page(call, posts)
        return read(call, {"post_list": [self._own(post, reader) for post in shown]})

    def _own(self, post: Post, reader: str) -> dict[str, Any]:
        author = self._people.author(post.account)
        thread = self._thread(post if is_thread(post) else self.world.posts[post.extra["thread"]], reader)
        entry = {
            "forum_id": thread["fid"],
            "forum_name": thread["fname"],
            "thread_id": thread["tid"],
            "post_id": thread["first_post_id"] if is_thread(post) else int(post.id),
            "create_time": int(post.created),
            "title": thread["title"] if is_thread(post) else f"回复：{thread['title']}",
            "user_id": author["id"],
            "user_name": author["name"],
            "user_portrait": author["portrait"],
            "name_show": author["name_show"],
            "reply_num": thread["reply_num"],
            "freq_num": thread["view_num"],
            "share_num": thread["share_num"],
            "agree": AGREED,
        }
        if is_thread(post):
            return {**entry, "first_post_content": thread["first_post_content"]}
        text = [{"type": 0, "text": PICTURE_MARK.sub("", post.text).strip()}]
        kind = int("under" in post.extra)
        said = {"post_content": text, "create_time": int(post.created), "post_type": kind, "post_id": int(post.id)}
        return {**entry, "content": [said]}

    def of_forum(self, call: Call) -> Answer:
        """`frs/page`: a forum's threads as anybody sees them, those last replied to first."""
        refusal = self._sign_in.posted(call)
        name = call.form.get("kw", "")
        if refusal or not exists(self.world, name):
            return refusal or refuse(call, "230274")
        threads = [post for post in self.world.posts.values() if is_thread(post) and self._is_in(post, name)]
        infos = [self._thread(post, "") for post in self.world.listing(call, threads)]
        order = "create_time" if call.number_of("sort_type", 0) == BY_CREATION else "last_time_int"
        infos.sort(key=lambda info: (info[order], info["tid"]), reverse=True)
        if call.number_of("is_good", 0):
            infos = []
        shown, page = paged(infos, call.number_of("pn", 1), call.number_of("rn", PAGE))
        forum = {"id": forum_id(name), "name": name, "member_num": 0, "thread_num": len(infos), "post_num": len(infos)}
        people = {info["author_id"]: info["author"] for info in shown}
        return read(call, {"forum": forum, "page": page, "thread_list": shown, "user_list": list(people.values())})

    def _is_in(self, post: Post, forum: str) -> bool:
        return post.extra.get("forum") == forum and may_see(post, "")


def _page(call: Call, posts: Sequence[Post]) -> tuple[Sequence[Post], bool]:
    shown, page = paged(posts, call.number_of("pn", 1), call.number_of("rn", PAGE))
    return shown, bool(page["has_more"])


def paged(items: Sequence[Any], number: int, size: int) -> tuple[Sequence[Any], dict[str, int]]:
    """One page of a list, and what is said about it; pages count from 1, and 0 is the first as well."""
    number, size = max(1, number), max(1, min(size, LARGEST_PAGE))
    start, total = (number - 1) * size, len(items)
    pages = max(1, -(-total // size))
    page = {
        "page_size": size,
        "current_page": number,
        "total_count": total,
        "total_page": pages,
        "has_more": int(number < pages),
        "has_prev": int(number > 1),
    }
    return items[start : start + size], page
