"""The session, the session's account, other users, and forum ids.

The calls are the ones of public clients. The web has `dc/common/tbs`, `c/s/pc/sync` and
`f/commit/share/fnameShareApi`. The app has `c/s/login`, `c/s/sync`, `c/s/initNickname` and
`c/u/user/profile`. They were read on 2026-11-24.
"""

from collections.abc import Mapping
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedAccount, SimulatorState

from .responses import format_restrictions, make_read_response, refuse
from .restrictions import get_level, get_restrictions
from .sign_in import check_signature, check_signed_in, check_signed_post, make_tbs
from .threads import get_forum_id, get_uid, is_forum, is_thread


def format_author(state: SimulatorState, identity: str) -> dict[str, Any]:
    account = state.ensure_account("tieba", identity)
    return {
        "id": get_uid(account),
        "name": account.display_name,
        "name_show": account.display_name,
        "portrait": account.identity,
        "level_id": get_level(state, identity),
        "gender": 0,
    }


def find_user(
    state: SimulatorState, wanted: Mapping[str, str]
) -> SimulatedAccount | None:
    """Return the account that a `uid` or a portrait names."""
    if portrait := wanted.get("friend_uid_portrait"):
        return state.accounts.get(("tieba", portrait))
    accounts = (each for each in state.accounts.values() if each.platform == "tieba")
    return next(
        (each for each in accounts if str(get_uid(each)) == wanted.get("uid")), None
    )


def show_tbs(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Check a session: `is_login` is 0 without one, and a token is returned in any case."""
    return ApiResponse.from_json(
        {
            "tbs": make_tbs(state, request.account),
            "is_login": int(bool(request.account)),
        }
    )


def sync_pc(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    refusal = check_signature(request)
    if refusal:
        return refusal
    user: dict[str, Any] = {"is_login": 0}
    if request.account:
        is_named = state.behaviour.tieba_session == "named"
        user = {
            "is_login": 1,
            **(format_author(state, request.account) if is_named else {}),
        }
    restrictions = get_restrictions(state, request.account)
    flags = (
        format_restrictions(request, restrictions) if any(restrictions.values()) else {}
    )
    anti = {"tbs": make_tbs(state, request.account), **flags}
    return make_read_response(request, {"anti": anti, "user": user})


def login_app(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Sign the app in by BDUSS; code 1 for an unknown one."""
    refusal = check_signed_post(request)
    if refusal or not request.account:
        return refusal or refuse(request, "1")
    user = format_author(state, request.account)
    shown = {"id": str(user["id"]), "name": user["name"], "portrait": user["portrait"]}
    return make_read_response(
        request, {"user": shown, "anti": {"tbs": make_tbs(state, request.account)}}
    )


def sync_app(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    refusal = check_signed_post(request)
    if refusal:
        return refusal
    client = f"wappc_{int(state.now() * 1000)}_{request.event_number % 1000:03d}"
    return make_read_response(
        request,
        {
            "client": {"client_id": client},
            "wl_config": {"sample_id": "104505_3-105324_2"},
        },
    )


def show_nickname(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    refusal = check_signed_post(request) or check_signed_in(state, request)
    if refusal:
        return refusal
    user = format_author(state, request.account)
    shown = {
        "user_name": user["name"],
        "name_show": user["name_show"],
        "tieba_uid": str(user["id"]),
    }
    return make_read_response(request, {"user_info": shown})


def show_profile(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    refusal = check_signed_post(request)
    account = find_user(state, request.form)
    if refusal or account is None:
        return refusal or refuse(request, "110001")
    posts = [
        post
        for post in state.get_posts("tieba", account.identity)
        if state.is_listed(post)
    ]
    user = {
        **format_author(state, account.identity),
        "post_num": len(posts),
        "thread_num": sum(1 for post in posts if is_thread(post)),
        "my_like_num": len(account.forums),
        "tieba_uid": str(get_uid(account)),
    }
    restrictions = format_restrictions(
        request, get_restrictions(state, account.identity)
    )
    return make_read_response(request, {"user": user, "anti_stat": restrictions})


def show_forum(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Return a forum's id; 0 for an unknown or closed forum."""
    name = request.query.get("fname", "")
    is_closed = state.behaviour.tieba_forums.get(name, {}).get("closed")
    found = is_forum(state, name) and not is_closed
    return ApiResponse.from_json(
        {
            "no": 0,
            "error": "success",
            "data": {"fid": get_forum_id(name) if found else 0, "can_send_pics": 1},
        }
    )
