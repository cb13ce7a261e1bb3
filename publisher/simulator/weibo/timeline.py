"""Listing, showing, counting and deleting posts.

Sources: open.weibo.com wiki 2/statuses/user_timeline, show, count, destroy; C/2/statuses/…/biz.
"""

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState, compute_metrics

from .auth import check_access, is_business
from .responses import format_status, refuse

DEFAULT_LIST_SIZE = 20
MAX_LIST_SIZE = 100
MAX_COUNTED_POSTS = 100
MISSING_PARAMETER, POST_NOT_FOUND, NOT_OWN_POST = 10016, 20101, 20102
NO_IDS, TOO_MANY_IDS = 20001, 20009


def list_posts(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """List the caller's own posts, newest first, for any given `uid`.

    An ordinary app sees only the newest few. The platform's count comes from elsewhere: a list that
    comes back empty or disordered leaves it as it is.
    """
    if refusal := check_access(state, request, "GET"):
        return refusal
    posts = [
        post
        for post in reversed(state.get_posts("weibo", request.account))
        if post.state == "live"
    ]
    count_of_all = len(state.hide_late_posts(request, posts))
    posts = state.apply_list_faults(request, posts)
    listed = (
        posts if is_business(request) else posts[: state.behaviour.weibo_timeline_cap]
    )
    count = max(1, min(request.get_int("count", DEFAULT_LIST_SIZE), MAX_LIST_SIZE))
    start = (max(1, request.get_int("page", 1)) - 1) * count
    older = listed[start + count : start + count + 1]
    return ApiResponse.from_json(
        {
            "statuses": [
                format_status(state, post) for post in listed[start : start + count]
            ],
            "previous_cursor": 0,
            "next_cursor": int(older[0].id) if older else 0,  # 0 marks the last page
            "total_number": count_of_all,
        }
    )


def show_post(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    refusal = check_access(state, request, "GET") or _check_id(request)
    if refusal:
        return refusal
    found = _find_post(state, request)
    post = found and state.apply_read_faults(request, found)
    if (
        post is None
        or post.state != "live"
        or not state.apply_list_faults(request, [post])
    ):
        return refuse(request, POST_NOT_FOUND)
    return ApiResponse.from_json(format_status(state, post))


def delete_post(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    refusal = check_access(state, request, "POST") or _check_id(request)
    if refusal:
        return refusal
    post = _find_post(state, request)
    if post is None:
        return refuse(request, POST_NOT_FOUND)
    if post.account != request.account:
        return refuse(request, NOT_OWN_POST)
    state.remove_post(post, "owner", request)
    return ApiResponse.from_json(format_status(state, post))


def _check_id(request: ApiRequest) -> ApiResponse | None:
    return (
        None
        if request.get_parameter("id")
        else refuse(request, MISSING_PARAMETER, "id")
    )


def _find_post(state: SimulatorState, request: ApiRequest) -> SimulatedPost | None:
    post = state.posts.get(request.get_parameter("id") or "")
    return (
        post
        if post and post.platform == "weibo" and post.state in ("live", "review")
        else None
    )


def show_counts(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Return the counts of visible posts; other ids are left out silently.

    Business calls give numbers as text, and name the attitudes `likes`.
    """
    if refusal := check_access(state, request, "GET"):
        return refusal
    if request.get_parameter("ids") is None:
        return refuse(request, MISSING_PARAMETER, "ids")
    ids = [
        each.strip()
        for each in (request.get_parameter("ids") or "").split(",")
        if each.strip()
    ]
    if not ids:
        return refuse(request, NO_IDS)
    if len(ids) > MAX_COUNTED_POSTS:
        return refuse(request, TOO_MANY_IDS)
    found = (state.posts.get(each) for each in ids)
    listed = [
        post
        for post in found
        if post and post.platform == "weibo" and state.is_listed(post)
    ]
    likes, convert = ("likes", str) if is_business(request) else ("attitudes", int)
    entries = []
    for post in state.apply_list_faults(request, listed):
        metrics = compute_metrics(post, state.now())
        counts = {
            "id": int(post.id),
            "comments": metrics.comments,
            "reposts": metrics.reposts,
            likes: metrics.likes,
        }
        entries.append({name: convert(count) for name, count in counts.items()})
    return ApiResponse.from_json(entries)
