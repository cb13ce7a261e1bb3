"""Baidu Tieba: its PC site, and its app in forms and in messages."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.side import Side
from publisher.simulator.world import Post, World

from .answers import CAPTCHA, refuse
from .deleting import Deleting
from .floors import Floors, Replies, is_thread
from .forums import FIRST_FLOOR, FIRST_THREAD, Numbers, forum_id
from .listing import Listing
from .moods import in_mood, moody
from .page import Page
from .people import People
from .pictures import Pictures
from .reading import Reading
from .sign_in import SignIn
from .threads import Threads
from .writing import Writing

Endpoints = dict[str, Callable[[Call], Answer]]


def create(world: World) -> Side:
    sign_in = SignIn(world)
    threads, floors = Numbers(world, FIRST_THREAD), Floors(world, Numbers(world, FIRST_FLOOR))
    endpoints = {**_writes(world, sign_in, threads, floors), **_reads(world, sign_in)}
    return Side(
        name="tieba",
        endpoints={path: moody(world, handler) for path, handler in endpoints.items()},
        who=sign_in.who,
        refuse=lambda call, code, message: in_mood(world.settings, refuse(call, code, message)),
        unknown=lambda call: refuse(call, "110001"),
        expire=lambda call: refuse(call, "230265"),
        codes={"duplicate": "220034", "captcha": CAPTCHA},
        id_keys=frozenset({"tid", "pid", "picId", "fid"}),
        by_hand=lambda wanted: _by_hand(world, threads, floors, wanted),
        address=_address,
        secret=secret,
        late_success=frozenset({"230008"}),
    )


def _writes(world: World, sign_in: SignIn, numbers: Numbers, floors: Floors) -> Endpoints:
    writing, pictures, deleting = Writing(world, sign_in), Pictures(world, sign_in), Deleting(world, sign_in)
    threads, replies = Threads(world, writing, numbers), Replies(world, writing, floors)
    return {
        "/c/c/thread/add_pc": threads.add,
        "/c/c/post/add_pc": replies.add,
        "/c/c/post/add": replies.add,
        "/c/s/uploadPicture_pc": pictures.upload,
        "/c/c/bawu/delthread": deleting.thread,
        "/c/c/bawu/delpost": deleting.floor,
    }


def _reads(world: World, sign_in: SignIn) -> Endpoints:
    people = People(world)
    reading = Reading(world, sign_in, people)
    listing, page = Listing(world, sign_in, people), Page(world, sign_in, people)
    return {
        "/dc/common/tbs": reading.tbs,
        "/c/s/pc/sync": reading.sync,
        "/c/s/login": reading.login,
        "/c/s/sync": reading.app_sync,
        "/c/s/initNickname": reading.nickname,
        "/c/u/user/profile": reading.profile,
        "/f/commit/share/fnameShareApi": reading.forum,
        "/c/u/feed/myThread": listing.my_threads,
        "/c/u/feed/userpost": listing.of_user,
        "/c/f/frs/page": listing.of_forum,
        "/c/f/pb/page_pc": page.show,
        "/c/f/pb/page": page.show,
        "/c/f/pb/floor": page.answers,
    }


def _by_hand(world: World, numbers: Numbers, floors: Floors, wanted: Mapping[str, Any]) -> Post:
    """A thread, or with the number of a `thread` a floor under it."""
    account = world.account("tieba", str(wanted["account"]))
    text, title = str(wanted.get("text") or ""), str(wanted.get("title") or "")
    if wanted.get("thread"):
        thread = world.posts.get(str(wanted["thread"]))
        if thread is None or not is_thread(thread):
            raise ValueError("no such thread")
        pid, extra = floors.place(thread, "")
        return Post(pid, "tieba", account.identity, world.now(), text, extra={"by_hand": True, **extra})
    forum = str(wanted.get("forum") or (account.forums[0] if account.forums else account.shown))
    extra = {"by_hand": True, "forum": forum, "fid": forum_id(forum), "floor": 1}
    return Post(numbers.next(), "tieba", account.identity, world.now(), text, title, extra=extra)


def _address(post: Post) -> str:
    if is_thread(post):
        return f"https://tieba.baidu.com/p/{post.id}"
    return f"https://tieba.baidu.com/p/{post.extra['thread']}?pid={post.id}"


def secret(identity: str) -> dict[str, str]:
    """A BDUSS of 192 characters and a STOKEN of 64, as the real ones have."""
    digest = hashlib.sha512(f"tieba/{identity}".encode()).hexdigest()
    return {"BDUSS": (digest * 2)[:192], "STOKEN": digest[-64:]}
