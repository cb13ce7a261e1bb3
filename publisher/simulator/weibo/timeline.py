"""Listing, showing, counting and deleting posts.

Sources: open.weibo.com wiki 2/statuses/user_timeline, show, count, destroy; C/2/statuses/…/biz.
"""

from publisher.simulator.metrics import compute_metrics
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .responses import format_status, refuse
from .sign_in import SimulatedWeiboAuth

DEFAULT_LIST_SIZE = 20
MAX_LIST_SIZE = 100
MAX_COUNTED_POSTS = 100
MISSING_PARAMETER, POST_NOT_FOUND, NOT_OWN_POST = 10016, 20101, 20102
NO_IDS, TOO_MANY_IDS = 20001, 20009


class WeiboTimelineApi:
    def __init__(self, state: SimulatorState, auth: SimulatedWeiboAuth) -> None:
        self.state = state
        self._auth = auth

    def timeline(self, request: ApiRequest) -> ApiResponse:
        """List the caller's own posts, whatever `uid` is given; an ordinary app sees only the newest few."""
        refusal = self._auth.check(request, "GET")
        return refusal or self._statuses(request, self.state.behaviour.weibo_timeline_cap)

    def business_timeline(self, request: ApiRequest) -> ApiResponse:
        refusal = self._auth.check(request, "GET", "biz")
        return refusal or self._statuses(request, None)

    def _statuses(self, request: ApiRequest, cap: int | None) -> ApiResponse:
        """Return one page, newest first; `next_cursor` 0 marks the last page."""
        posts = [post for post in reversed(self.state.get_posts("weibo", request.account)) if post.state == "live"]
        posts = self.state.apply_list_faults(request, posts)
        listed = posts[:cap]
        count = max(1, min(request.get_int("count", DEFAULT_LIST_SIZE), MAX_LIST_SIZE))
        start = (max(1, request.get_int("page", 1)) - 1) * count
        older = listed[start + count : start + count + 1]
        account = self.state.ensure_account("weibo", request.account)
        entries = [format_status(post, account, self.state.now()) for post in listed[start : start + count]]
        cursors = {"previous_cursor": 0, "next_cursor": int(older[0].id) if older else 0}
        return ApiResponse.from_json({"statuses": entries, **cursors, "total_number": len(posts)})

    def _find_post(self, request: ApiRequest) -> SimulatedPost | None:
        post = self.state.posts.get(request.get_parameter("id") or "")
        return post if post and post.platform == "weibo" and post.state in ("live", "review") else None

    def show(self, request: ApiRequest) -> ApiResponse:
        refusal = self._auth.check(request, "GET") or _check_id(request)
        if refusal:
            return refusal
        found = self._find_post(request)
        post = found and self.state.apply_read_faults(request, found)
        if post is None or post.state != "live" or not self.state.apply_list_faults(request, [post]):
            return refuse(request, POST_NOT_FOUND)
        account = self.state.ensure_account("weibo", post.account)
        return ApiResponse.from_json(format_status(post, account, self.state.now()))

    def destroy(self, request: ApiRequest) -> ApiResponse:
        return self._auth.check(request, "POST") or _check_id(request) or self._destroy(request)

    def business_destroy(self, request: ApiRequest) -> ApiResponse:
        return self._auth.check(request, "POST", "biz") or _check_id(request) or self._destroy(request)

    def _destroy(self, request: ApiRequest) -> ApiResponse:
        post = self._find_post(request)
        if post is None:
            return refuse(request, POST_NOT_FOUND)
        if post.account != request.account:
            return refuse(request, NOT_OWN_POST)
        self.state.remove_post(post, "owner", request)
        account = self.state.ensure_account("weibo", request.account)
        return ApiResponse.from_json(format_status(post, account, self.state.now()))

    def counts(self, request: ApiRequest) -> ApiResponse:
        return self._auth.check(request, "GET") or self._list_counts(request, is_business=False)

    def business_counts(self, request: ApiRequest) -> ApiResponse:
        return self._auth.check(request, "GET", "biz") or self._list_counts(request, is_business=True)

    def _list_counts(self, request: ApiRequest, *, is_business: bool) -> ApiResponse:
        """Return the counts of visible posts; other ids are left out silently.

        Business calls give numbers as text, and name the attitudes `likes`.
        """
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


def _check_id(request: ApiRequest) -> ApiResponse | None:
    return None if request.get_parameter("id") else refuse(request, MISSING_PARAMETER, "id")
