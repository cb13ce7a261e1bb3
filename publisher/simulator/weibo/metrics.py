"""Counts of reposts, comments and likes (open.weibo.com wiki 2/statuses/count; C/2/statuses/count/biz)."""

from publisher.simulator.metrics import compute_metrics
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .responses import refuse
from .sign_in import SimulatedWeiboAuth

MAX_COUNTED_POSTS = 100
MISSING_PARAMETER, NO_IDS, TOO_MANY_IDS = 10016, 20001, 20009


class WeiboMetricsApi:
    """Lists one entry per visible post; unknown and deleted posts are left out silently."""

    def __init__(self, state: SimulatorState, auth: SimulatedWeiboAuth) -> None:
        self.state = state
        self._auth = auth

    def counts(self, request: ApiRequest) -> ApiResponse:
        return self._auth.check(request, "GET") or self._list_counts(request, is_business=False)

    def business_counts(self, request: ApiRequest) -> ApiResponse:
        return self._auth.check(request, "GET", "biz") or self._list_counts(request, is_business=True)

    def _list_counts(self, request: ApiRequest, *, is_business: bool) -> ApiResponse:
        """Return the counts; business calls give numbers as text, and name the attitudes `likes`."""
        if request.get_parameter("ids") is None:
            return refuse(request, MISSING_PARAMETER, "ids")
        ids = [each.strip() for each in (request.get_parameter("ids") or "").split(",") if each.strip()]
        if not ids:
            return refuse(request, NO_IDS)
        if len(ids) > MAX_COUNTED_POSTS:
            return refuse(request, TOO_MANY_IDS)
        found = (self.state.posts.get(each) for each in ids)
        listed = [post for post in found if post and post.platform == "weibo" and self.state.is_listed(post)]
        entries: list[dict[str, object]] = []
        for post in self.state.apply_list_faults(request, listed):
            metrics = compute_metrics(post, self.state.now())
            likes = "likes" if is_business else "attitudes"
            entry = {"id": int(post.id), "comments": metrics.comments, "reposts": metrics.reposts, likes: metrics.likes}
            entries.append({name: str(count) if is_business else count for name, count in entry.items()})
        return ApiResponse.from_json(entries)
