"""Baidu Tieba, the calls of its PC site and one of its app."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.side import Side
from publisher.simulator.world import Post, World

from .answers import CAPTCHA, refuse
from .forums import ThreadIds, forum_id
from .reading import Reading
from .sign_in import SignIn
from .threads import Threads


def create(world: World) -> Side:
    sign_in, ids = SignIn(world), ThreadIds(world)
    threads, reading = Threads(world, sign_in, ids), Reading(world, sign_in)
    endpoints: dict[str, Callable[[Call], Answer]] = {
        "/dc/common/tbs": reading.tbs,
        "/c/s/pc/sync": reading.sync,
        "/f/commit/share/fnameShareApi": reading.forum,
        "/c/c/thread/add_pc": threads.add,
        "/c/s/uploadPicture_pc": threads.upload,
        "/c/c/bawu/delthread": threads.delete,
        "/c/u/feed/myThread": reading.my_threads,
        "/c/f/pb/page_pc": reading.page,
    }

    def by_hand(wanted: Mapping[str, Any]) -> Post:
        account = world.account("tieba", str(wanted["account"]))
        forum = str(wanted.get("forum") or (account.forums[0] if account.forums else account.shown))
        extra = {"by_hand": True, "forum": forum, "fid": forum_id(forum)}
        text, title = str(wanted.get("text") or ""), str(wanted.get("title") or "")
        return Post(ids.next(), "tieba", account.identity, world.now(), text, title, extra=extra)

    return Side(
        name="tieba",
        endpoints=endpoints,
        who=sign_in.who,
        refuse=refuse,
        unknown=lambda call: refuse(call, "110001"),
        expire=lambda call: refuse(call, "230265"),
        codes={"duplicate": "220034", "captcha": CAPTCHA},
        id_keys=frozenset({"tid", "pid", "picId", "fid"}),
        by_hand=by_hand,
        address=lambda post: f"https://tieba.baidu.com/p/{post.id}",
        secret=secret,
        late_success=frozenset({"230008"}),
    )


def secret(identity: str) -> dict[str, str]:
    """A BDUSS of 192 characters and a STOKEN of 64, as the real ones have."""
    digest = hashlib.sha512(f"tieba/{identity}".encode()).hexdigest()
    return {"BDUSS": (digest * 2)[:192], "STOKEN": digest[-64:]}
