"""Reads that concern no thread: the session, forum ids, users.

The calls are those of public clients: `dc/common/tbs`, `c/s/pc/sync` and `f/commit/share/fnameShareApi` of the web,
`c/s/login`, `c/s/sync`, `c/s/initNickname` and `c/u/user/profile` of the app; read on 2026-11-24.
"""

from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .forums import get_forum_id, get_uid, is_forum
from .replies import is_thread
from .responses import format_restrictions, make_read_response, refuse
from .restrictions import get_restrictions
from .sign_in import SimulatedTiebaAuth
from .users import TiebaUsers

BAD_LOGIN_CODE = "1"


class TiebaSessionApi:
    def __init__(self, state: SimulatorState, auth: SimulatedTiebaAuth, users: TiebaUsers) -> None:
        self.state = state
        self._auth = auth
        self._users = users

    def tbs(self, request: ApiRequest) -> ApiResponse:
        """Check a session: `is_login` is 0 without one, and a token is returned in any case."""
        return ApiResponse.from_json(
            {"tbs": self._auth.make_tbs(request.account), "is_login": int(bool(request.account))}
        )

    def sync(self, request: ApiRequest) -> ApiResponse:
        refusal = self._auth.check_signature(request)
        if refusal:
            return refusal
        user: dict[str, Any] = {"is_login": 0}
        if request.account:
            user = {"is_login": 1, **self._users.format_author(request.account)}
        restrictions = get_restrictions(self.state, request.account)
        flags = format_restrictions(request, restrictions) if any(restrictions.values()) else {}
        anti = {"tbs": self._auth.make_tbs(request.account), **flags}
        return make_read_response(request, {"anti": anti, "user": user})

    def login(self, request: ApiRequest) -> ApiResponse:
        """Sign the app in by BDUSS; code 1 for an unknown one."""
        refusal = self._auth.check_signed_post(request)
        if refusal or not request.account:
            return refusal or refuse(request, BAD_LOGIN_CODE)
        user = self._users.format_author(request.account)
        shown = {"id": str(user["id"]), "name": user["name"], "portrait": user["portrait"]}
        return make_read_response(request, {"user": shown, "anti": {"tbs": self._auth.make_tbs(request.account)}})

    def app_sync(self, request: ApiRequest) -> ApiResponse:
        refusal = self._auth.check_signed_post(request)
        if refusal:
            return refusal
        client = f"wappc_{int(self.state.now() * 1000)}_{request.event_number % 1000:03d}"
        return make_read_response(
            request, {"client": {"client_id": client}, "wl_config": {"sample_id": "104505_3-105324_2"}}
        )

    def nickname(self, request: ApiRequest) -> ApiResponse:
        refusal = self._auth.check_signed_post(request) or self._auth.check_signed_in(request)
        if refusal:
            return refusal
        user = self._users.format_author(request.account)
        shown = {"user_name": user["name"], "name_show": user["name_show"], "tieba_uid": str(user["id"])}
        return make_read_response(request, {"user_info": shown})

    def profile(self, request: ApiRequest) -> ApiResponse:
        refusal = self._auth.check_signed_post(request)
        account = self._users.find(request.form)
        if refusal or account is None:
            return refusal or refuse(request, "110001")
        posts = [post for post in self.state.get_posts("tieba", account.identity) if self.state.is_listed(post)]
        user = {
            **self._users.format_author(account.identity),
            "post_num": len(posts),
            "thread_num": sum(1 for post in posts if is_thread(post)),
            "my_like_num": len(account.forums),
            "tieba_uid": str(get_uid(account)),
        }
        restrictions = format_restrictions(request, get_restrictions(self.state, account.identity))
        return make_read_response(request, {"user": user, "anti_stat": restrictions})

    def forum(self, request: ApiRequest) -> ApiResponse:
        """Return a forum's id; 0 for an unknown or closed forum."""
        name = request.query.get("fname", "")
        is_closed = self.state.behaviour.tieba_forums.get(name, {}).get("closed")
        found = is_forum(self.state, name) and not is_closed
        return ApiResponse.from_json(
            {"no": 0, "error": "success", "data": {"fid": get_forum_id(name) if found else 0, "can_send_pics": 1}}
        )
