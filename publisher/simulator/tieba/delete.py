"""Deleting own threads and replies by the app's `c/c/bawu/delthread` and `c/c/bawu/delpost`.

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
        """Delete one reply or comment; the first post is deleted only with its thread."""
        post = self.state.posts.get(request.form.get("pid", ""))
        is_there = post is not None and post.extra.get("thread") == request.form.get("z")
        return self._remove(request, post if is_there else None, is_reply=True)

    def _remove(self, request: ApiRequest, post: SimulatedPost | None, *, is_reply: bool) -> ApiResponse:
        refusal = self._auth.check_signed_post(request) or self._auth.check_tbs(request)
        if refusal:
            return refusal
        if post is None or post.platform != "tieba" or is_thread(post) == is_reply or post.state == "removed":
            return refuse(request, POST_GONE_CODE)
        if post.account != request.account or request.form.get("fid") != str(post.extra["fid"]):
            return refuse(request, NOT_ALLOWED_CODE)
        if refusal := check_delete_quota(self.state, request):
            return refusal
        self.state.remove_post(post, "owner", request)
        return make_done_response(request)
