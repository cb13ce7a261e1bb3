"""Taking down one's own threads and floors by the app's `c/c/bawu/delthread` and `c/c/bawu/delpost`.

As public clients use them; read on 2026-11-24.
"""

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .replies import is_thread
from .responses import make_done_response, refuse
from .restrictions import check_delete_quota
from .sign_in import SimulatedTiebaAuth

POST_GONE_CODE, NOT_ALLOWED_CODE = "230273", "230308"


class TiebaDeleteApi:
    def __init__(self, state: SimulatorState, auth: SimulatedTiebaAuth) -> None:
        self.state = state
        self._auth = auth

    def delete_thread(self, request: ApiRequest) -> ApiResponse:
        return self._remove(request, self.state.posts.get(request.form.get("z", "")), is_reply=False)

    def delete_reply(self, request: ApiRequest) -> ApiResponse:
        """Take down one floor or answer; the first floor goes with its thread only."""
        post = self.state.posts.get(request.form.get("pid", ""))
        is_there = post is not None and post.extra.get("thread") == request.form.get("z")
        return self._remove(request, post if is_there else None, is_reply=True)

    def _remove(self, request: ApiRequest, post: SimulatedPost | None, *, is_reply: bool) -> ApiResponse:
        refusal = self._check(request, post, is_reply=is_reply) or check_delete_quota(self.state, request)
        if refusal or post is None:
            return refusal or refuse(request, POST_GONE_CODE)
        self.state.remove_post(post, "owner", request)
        return make_done_response(request)

    def _check(self, request: ApiRequest, post: SimulatedPost | None, *, is_reply: bool) -> ApiResponse | None:
        refusal = self._auth.check_signed_post(request) or self._auth.check_tbs(request)
        if refusal:
            return refusal
        if post is None or post.platform != "tieba" or is_thread(post) == is_reply or post.state == "removed":
            return refuse(request, POST_GONE_CODE)
        is_own = post.account == request.account and request.form.get("fid") == str(post.extra["fid"])
        return None if is_own else refuse(request, NOT_ALLOWED_CODE)
