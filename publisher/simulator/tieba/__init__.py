"""Baidu Tieba: its PC site, and its app by forms and by Protocol Buffers."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from publisher.simulator.platform import Handler, Platform
from publisher.simulator.request import JSON_CONTENT_TYPE, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from . import account, lists, page, write
from .responses import CAPTCHA_CODE, refuse
from .sign_in import identify_caller
from .threads import FIRST_THREAD_ID, get_forum_id, is_thread, reserve_reply_id

VARIANT_ID_KEYS = ("tid", "pid")
ENDPOINTS: Mapping[str, Handler] = {
    "/c/c/thread/add_pc": write.add_thread,
    "/c/c/post/add_pc": write.add_reply,
    "/c/c/post/add": write.add_reply,
    "/c/s/uploadPicture_pc": write.upload_picture,
    "/c/c/bawu/delthread": write.delete_thread,
    "/c/c/bawu/delpost": write.delete_reply,
    "/dc/common/tbs": account.show_tbs,
    "/c/s/pc/sync": account.sync_pc,
    "/c/s/login": account.login_app,
    "/c/s/sync": account.sync_app,
    "/c/s/initNickname": account.show_nickname,
    "/c/u/user/profile": account.show_profile,
    "/f/commit/share/fnameShareApi": account.show_forum,
    "/c/u/feed/myThread": lists.list_own_posts,
    "/c/u/feed/userpost": lists.list_by_user,
    "/c/f/frs/page": lists.list_by_forum,
    "/c/f/pb/page_pc": page.show_thread,
    "/c/f/pb/page": page.show_thread,
    "/c/f/pb/floor": page.show_comments,
}


def make_secret(identity: str) -> dict[str, str]:
    """Return a BDUSS of 192 characters and a STOKEN of 64, as long as the real ones."""
    digest = hashlib.sha512(f"tieba/{identity}".encode()).hexdigest()
    return {"BDUSS": (digest * 2)[:192], "STOKEN": digest[-64:]}


def make_external_post(
    state: SimulatorState, fields: Mapping[str, Any]
) -> SimulatedPost:
    """Return a thread, or with the id of a `thread` a reply in it.

    Raises ValueError for an unknown thread.
    """
    account = state.ensure_account("tieba", str(fields["account"]))
    text, title = str(fields.get("text") or ""), str(fields.get("title") or "")
    if fields.get("thread"):
        thread = state.posts.get(str(fields["thread"]))
        if thread is None or not is_thread(thread):
            raise ValueError("no such thread")
        pid, extra = reserve_reply_id(state, thread, "")
        return SimulatedPost(
            pid,
            "tieba",
            account.identity,
            state.now(),
            text,
            extra={"by_hand": True, **extra},
        )
    forum = str(
        fields.get("forum")
        or (account.forums[0] if account.forums else account.display_name)
    )
    extra = {"by_hand": True, "forum": forum, "fid": get_forum_id(forum), "floor": 1}
    tid = str(state.take_number("tieba/thread", FIRST_THREAD_ID))
    return SimulatedPost(
        tid, "tieba", account.identity, state.now(), text, title, extra=extra
    )


def get_public_url(post: SimulatedPost) -> str:
    path = post.id if is_thread(post) else f"{post.extra['thread']}?pid={post.id}"
    return f"https://tieba.baidu.com/p/{path}"


def vary_response(state: SimulatorState, response: ApiResponse) -> ApiResponse:
    """Apply the settings to a JSON response.

    They set variants of ids and numbers that clients have seen, and a wrong charset.
    """
    behaviour = state.behaviour
    if response.content_type != JSON_CONTENT_TYPE:
        return response
    if behaviour.tieba_types != "own" or behaviour.tieba_ids_in != "top":
        value = json.loads(response.body)
        ids = {name: value[name] for name in VARIANT_ID_KEYS if name in value}
        if ids and behaviour.tieba_ids_in == "data":
            value = {
                **{name: each for name, each in value.items() if name not in ids},
                "data": ids,
            }
        response = ApiResponse.from_json(
            _convert_types(value, behaviour.tieba_types), response.status
        )
    if behaviour.tieba_charset == "gbk":
        return ApiResponse(
            response.body, response.status, "text/html; charset=GBK", response.headers
        )
    return response


def _convert_types(value: object, types: str) -> object:
    if isinstance(value, dict):
        return {name: _convert_types(each, types) for name, each in value.items()}
    if isinstance(value, list):
        return [_convert_types(each, types) for each in value]
    if types == "text" and isinstance(value, int):
        return str(value)
    if types == "numbers" and isinstance(value, str) and value.isdecimal():
        return int(value)
    return value


PLATFORM = Platform(
    name="tieba",
    endpoints=ENDPOINTS,
    identify_caller=identify_caller,
    refuse=refuse,
    unknown_endpoint_code="110001",
    expire_token=lambda _state, request: refuse(request, "230265"),
    fault_codes={"duplicate": "220034", "captcha": CAPTCHA_CODE},
    id_keys=frozenset({"tid", "pid", "picId", "fid"}),
    make_external_post=make_external_post,
    get_public_url=get_public_url,
    make_secret=make_secret,
    delayed_success_codes=frozenset({"230008"}),
    vary_response=vary_response,
)
