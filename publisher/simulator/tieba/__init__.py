"""Baidu Tieba: its PC site, and its app in forms and in messages."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from publisher.simulator.platform import Platform
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .account import TiebaSessionApi
from .delete import TiebaDeleteApi
from .forums import FIRST_REPLY_ID, FIRST_THREAD_ID, IdSequence, get_forum_id
from .json_variants import apply_variant, with_variant
from .lists import ThreadListApi
from .page import ThreadPageApi
from .pictures import TiebaPictureApi
from .replies import ReplyApi, ReplyNumbering, is_thread
from .responses import CAPTCHA_CODE, refuse
from .sign_in import SimulatedTiebaAuth
from .threads import ThreadApi
from .users import TiebaUsers
from .write import TiebaPostWriter

Endpoints = dict[str, Callable[[ApiRequest], ApiResponse]]


def create_platform(state: SimulatorState) -> Platform:
    auth = SimulatedTiebaAuth(state)
    threads, reply_ids = IdSequence(state, FIRST_THREAD_ID), ReplyNumbering(state, IdSequence(state, FIRST_REPLY_ID))
    endpoints = {**_make_write_endpoints(state, auth, threads, reply_ids), **_make_read_endpoints(state, auth)}
    return Platform(
        name="tieba",
        endpoints={path: with_variant(state, handler) for path, handler in endpoints.items()},
        identify_caller=auth.identify_caller,
        refuse=lambda request, code, message: apply_variant(state.behaviour, refuse(request, code, message)),
        refuse_unknown=lambda request: refuse(request, "110001"),
        expire_token=lambda request: refuse(request, "230265"),
        fault_codes={"duplicate": "220034", "captcha": CAPTCHA_CODE},
        id_keys=frozenset({"tid", "pid", "picId", "fid"}),
        make_external_post=lambda wanted: _make_external_post(state, threads, reply_ids, wanted),
        get_public_url=_get_public_url,
        make_secret=make_secret,
        delayed_success_codes=frozenset({"230008"}),
    )


def _make_write_endpoints(
    state: SimulatorState, auth: SimulatedTiebaAuth, ids: IdSequence, floors: ReplyNumbering
) -> Endpoints:
    writer, pictures, deleting = TiebaPostWriter(state, auth), TiebaPictureApi(state, auth), TiebaDeleteApi(state, auth)
    threads, replies = ThreadApi(state, writer, ids), ReplyApi(state, writer, floors)
    return {
        "/c/c/thread/add_pc": threads.add,
        "/c/c/post/add_pc": replies.add,
        "/c/c/post/add": replies.add,
        "/c/s/uploadPicture_pc": pictures.upload,
        "/c/c/bawu/delthread": deleting.delete_thread,
        "/c/c/bawu/delpost": deleting.delete_reply,
    }


def _make_read_endpoints(state: SimulatorState, auth: SimulatedTiebaAuth) -> Endpoints:
    users = TiebaUsers(state)
    reading = TiebaSessionApi(state, auth, users)
    listing, page = ThreadListApi(state, auth, users), ThreadPageApi(state, auth, users)
    return {
        "/dc/common/tbs": reading.tbs,
        "/c/s/pc/sync": reading.sync,
        "/c/s/login": reading.login,
        "/c/s/sync": reading.app_sync,
        "/c/s/initNickname": reading.nickname,
        "/c/u/user/profile": reading.profile,
        "/f/commit/share/fnameShareApi": reading.forum,
        "/c/u/feed/myThread": listing.list_own,
        "/c/u/feed/userpost": listing.list_by_user,
        "/c/f/frs/page": listing.list_by_forum,
        "/c/f/pb/page_pc": page.show,
        "/c/f/pb/page": page.show,
        "/c/f/pb/floor": page.show_comments,
    }


def _make_external_post(
    state: SimulatorState, ids: IdSequence, floors: ReplyNumbering, wanted: Mapping[str, Any]
) -> SimulatedPost:
    """A thread, or with the number of a `thread` a floor under it."""
    account = state.ensure_account("tieba", str(wanted["account"]))
    text, title = str(wanted.get("text") or ""), str(wanted.get("title") or "")
    if wanted.get("thread"):
        thread = state.posts.get(str(wanted["thread"]))
        if thread is None or not is_thread(thread):
            raise ValueError("no such thread")
        pid, extra = floors.reserve_id(thread, "")
        return SimulatedPost(pid, "tieba", account.identity, state.now(), text, extra={"by_hand": True, **extra})
    forum = str(wanted.get("forum") or (account.forums[0] if account.forums else account.display_name))
    extra = {"by_hand": True, "forum": forum, "fid": get_forum_id(forum), "floor": 1}
    return SimulatedPost(ids.next(), "tieba", account.identity, state.now(), text, title, extra=extra)


def _get_public_url(post: SimulatedPost) -> str:
    if is_thread(post):
        return f"https://tieba.baidu.com/p/{post.id}"
    return f"https://tieba.baidu.com/p/{post.extra['thread']}?pid={post.id}"


def make_secret(identity: str) -> dict[str, str]:
    """A BDUSS of 192 characters and a STOKEN of 64, as the real ones have."""
    digest = hashlib.sha512(f"tieba/{identity}".encode()).hexdigest()
    return {"BDUSS": (digest * 2)[:192], "STOKEN": digest[-64:]}
