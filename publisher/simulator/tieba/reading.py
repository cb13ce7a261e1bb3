"""Reading: the session, a forum's number, one's own threads, one thread as anybody sees it."""

from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Account, Post, World

from .answers import read, refuse
from .forums import exists, floor_id, forum_id, uid
from .sign_in import WEB_SALT, SignIn
from .threads import PICTURE_MARK

PAGE = 20


class Reading:
    def __init__(self, world: World, sign_in: SignIn) -> None:
        self.world = world
        self._sign_in = sign_in

    def tbs(self, call: Call) -> Answer:
        """The cheapest look at a session: `is_login` is 0 without one, and a token comes all the same."""
        return Answer.of({"tbs": self._sign_in.tbs(call.account), "is_login": int(bool(call.account))})

    def sync(self, call: Call) -> Answer:
        refusal = self._sign_in.unsigned(call, WEB_SALT)
        if refusal:
            return refusal
        user: dict[str, Any] = {"is_login": 0}
        if call.account:
            user = {"is_login": 1, **author(self.world.account("tieba", call.account))}
        return read({"anti": {"tbs": self._sign_in.tbs(call.account)}, "user": user})

    def forum(self, call: Call) -> Answer:
        name = call.query.get("fname", "")
        found = exists(self.world, name)
        return Answer.of(
            {"no": 0, "error": "success", "data": {"fid": forum_id(name) if found else 0, "can_send_pics": 1}}
        )

    def my_threads(self, call: Call) -> Answer:
        """Threads of the portrait asked for; those in review only to their own author."""
        refusal = self._sign_in.unsigned(call, WEB_SALT)
        if refusal:
            return refusal
        portrait = call.query.get("portrait") or call.account
        if not portrait:
            return refuse(call, "230265")
        seen = ("live", "review") if portrait == call.account else ("live",)
        posts = [post for post in reversed(self.world.of("tieba", portrait)) if post.state in seen]
        if call.query.get("type", "1") != "1":
            posts = []
        posts = self.world.listing(call, posts)
        size = max(1, min(call.number_of("rn", PAGE), 100))
        start = (max(1, call.number_of("pn", 1)) - 1) * size
        entries = [self._entry(post) for post in posts[start : start + size]]
        return read({"data": {"has_more": int(len(posts) > start + size), "list": entries}})

    def _entry(self, post: Post) -> dict[str, Any]:
        info = {
            "id": int(post.id),
            "tid": int(post.id),
            "title": post.title,
            "reply_num": 0,
            "view_num": 0,
            "create_time": int(post.created),
            "first_post_id": int(floor_id(post.id)),
            "fid": post.extra["fid"],
            "fname": post.extra["forum"],
            "author_id": uid(self.world.account("tieba", post.account)),
            "author": author(self.world.account("tieba", post.account)),
            "agree_num": 0,
            "share_num": 0,
            "is_deleted": 0,
            "abstract": [{"type": 0, "text": PICTURE_MARK.sub("", post.text).strip()[:200]}],
        }
        return {"type": 1, "private": int(post.state == "review"), "thread_info": info}

    def page(self, call: Call) -> Answer:
        """One thread; needs no session, and what its author alone may see is missing without one."""
        if call.method != "POST":
            return refuse(call, "110001")
        refusal = self._sign_in.unsigned(call, WEB_SALT)
        if refusal:
            return refusal
        post = self.world.posts.get(call.form.get("kz", ""))
        if post is None or not self._may_see(call, post):
            return Answer.of({"error_code": self.world.settings.tieba_deleted_code, "error_msg": "贴子已被删除"})
        return read(self._page(post))

    def _may_see(self, call: Call, post: Post) -> bool:
        own = call.account == post.account and post.state == "review"
        return post.platform == "tieba" and (post.state == "live" or own)

    def _page(self, post: Post) -> dict[str, Any]:
        account = self.world.account("tieba", post.account)
        floor = self._floor(post, account)
        return {
            "forum": {"id": post.extra["fid"], "name": post.extra["forum"]},
            "page": {"current_page": 1, "total_page": 1, "has_more": 0, "has_prev": 0},
            "thread": {
                "id": int(post.id),
                "tid": int(post.id),
                "title": post.title,
                "reply_num": 0,
                "view_num": 0,
                "create_time": int(post.created),
                "first_post_id": int(floor["id"]),
                "author": author(account),
                "is_deleted": 0,
            },
            "first_floor": floor,
            "post_list": [floor],
            "user_list": [author(account)],
        }

    def _floor(self, post: Post, account: Account) -> dict[str, Any]:
        return {
            "id": int(floor_id(post.id)),
            "tid": int(post.id),
            "floor": 1,
            "title": post.title,
            "time": int(post.created),
            "author_id": uid(account),
            "author": author(account),
            "content": self._content(post),
            "sub_post_number": 0,
        }

    def _content(self, post: Post) -> list[dict[str, Any]]:
        """Text and pictures in their order: type 0 is text, type 3 a picture."""
        pieces: list[dict[str, Any]] = []
        end = 0
        for match in PICTURE_MARK.finditer(post.text):
            pieces += _text(post.text[end : match.start()])
            found = self.world.get("tieba_pictures", match.group(1)) or {"sha256": ""}
            source = f"http://tiebapic.baidu.com/forum/pic/item/{found['sha256']}.jpg"
            size = f"{match.group(2)},{match.group(3)}"
            pieces.append({"type": 3, "src": source, "origin_src": source, "bsize": size, "pic_id": match.group(1)})
            end = match.end()
        return pieces + _text(post.text[end:])


def _text(text: str) -> list[dict[str, Any]]:
    stripped = text.strip("\r\n")
    return [{"type": 0, "text": stripped.replace("\r\n", "\n")}] if stripped else []


def author(account: Account) -> dict[str, Any]:
    return {
        "id": uid(account),
        "name": account.shown,
        "name_show": account.shown,
        "portrait": account.identity,
        "level_id": 12,
    }
