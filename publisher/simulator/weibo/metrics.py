"""How far posts have come (open.weibo.com wiki 2/statuses/count; C/2/statuses/count/biz)."""

from collections.abc import Callable
from typing import Any

from publisher.simulator.metrics import compute_metrics
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .responses import refuse
from .sign_in import SimulatedWeiboAuth

MAX_COUNTED_POSTS = 100
MISSING_PARAMETER, NO_IDS, TOO_MANY_IDS = 10016, 20001, 20009
CountsFormatter = Callable[[SimulatedPost, float], dict[str, Any]]


class WeiboMetricsApi:
    """One entry per post that stands; unknown and deleted ones are left out without a word."""

    def __init__(self, state: SimulatorState, auth: SimulatedWeiboAuth) -> None:
        self.state = state
        self._auth = auth

    def counts(self, request: ApiRequest) -> ApiResponse:
        return self._auth.check(request, "GET") or self._list_counts(request, _format_numeric_counts)

    def business_counts(self, request: ApiRequest) -> ApiResponse:
        return self._auth.check(request, "GET", "biz") or self._list_counts(request, _format_text_counts)

    def _list_counts(self, request: ApiRequest, entry: CountsFormatter) -> ApiResponse:
        if request.get_parameter("ids") is None:
            return refuse(request, MISSING_PARAMETER, "ids")
        ids = [each.strip() for each in (request.get_parameter("ids") or "").split(",") if each.strip()]
        if not ids:
            return refuse(request, NO_IDS)
        if len(ids) > MAX_COUNTED_POSTS:
            return refuse(request, TOO_MANY_IDS)
        found = (self.state.posts.get(each) for each in ids)
        standing = [post for post in found if post and post.platform == "weibo" and self.state.is_listed(post)]
        now = self.state.now()
        return ApiResponse.from_json([entry(post, now) for post in self.state.apply_list_faults(request, standing)])


def _format_numeric_counts(post: SimulatedPost, now: float) -> dict[str, Any]:
    reach = compute_metrics(post, now)
    return {"id": int(post.id), "comments": reach.comments, "reposts": reach.reposts, "attitudes": reach.likes}


def _format_text_counts(post: SimulatedPost, now: float) -> dict[str, Any]:
    """The business calls spell numbers as text, and likes as likes."""
    reach = compute_metrics(post, now)
    counted = {"comments": reach.comments, "reposts": reach.reposts, "likes": reach.likes}
    return {"id": post.id, **{name: str(count) for name, count in counted.items()}}
