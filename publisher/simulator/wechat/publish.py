"""Publishing without a push (developers.weixin.qq.com, public/api_freepublish_*).

An accepted submit creates one post at once. The post becomes public when its review has passed. The
creation is the submit's acceptance, and one submitted draft is one post, however many articles it
contains.
"""

import secrets
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .drafts import (
    Article,
    find_draft,
    format_article,
    get_picture_digests,
    mark_submitted,
)
from .responses import OK_BODY, build_article_url, make_media_id, parse_page, refuse

FIRST_JOB_ID = 2_247_483_649
SUCCESS, IN_PROGRESS, REVIEW_REJECTED, DELETED_BY_OWNER, BANNED_BY_SYSTEM = (
    0,
    1,
    4,
    5,
    6,
)


def submit(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    name = request.get_json("media_id")
    draft = find_draft(state, request, name)
    if draft is None:
        return refuse(request, 40007 if name else 41006)
    if draft.get("submitted") and state.behaviour.wechat_repeats == "refuse":
        return refuse(request, 53503)
    post = build_post(
        state,
        request,
        str(name),
        draft["articles"],
        make_media_id(secrets.token_hex(8)),
    )
    state.create_post(request, post)
    mark_submitted(state, str(name))
    number = post.extra["publish_id"]
    state.put_row("wechat_jobs", str(number), {"post_id": post.id})
    return ApiResponse.from_json(
        {**OK_BODY, "publish_id": number, "msg_data_id": number}
    )


def build_post(
    state: SimulatorState,
    request: ApiRequest,
    draft: str,
    articles: list[Article],
    name: str,
) -> SimulatedPost:
    """Return a post of a draft's articles; its job id is the `mid` in their URLs."""
    now, first = state.now(), articles[0]
    pictured = [
        {**article, "pictures": get_picture_digests(state, article)}
        for article in articles
    ]
    return SimulatedPost(
        name,
        "wechat",
        request.account,
        now,
        text=str(first["digest"]),
        title=str(first["title"]),
        html=str(first["content"]),
        images=list(
            dict.fromkeys(
                digest for article in pictured for digest in article["pictures"]
            )
        ),
        state="review",
        review={"due": now + state.behaviour.wechat_review_seconds, "verdict": "pass"},
        extra={"articles": pictured, "publish_id": make_job_id(state), "draft": draft},
    )


def make_job_id(state: SimulatorState) -> int:
    return take_number(state, "jobs", FIRST_JOB_ID)


def take_number(state: SimulatorState, counter: str, first: int) -> int:
    """Return the next number of a counter that a restart keeps."""
    row = state.get_row("wechat_counter", counter) or {"next": first}
    state.put_row("wechat_counter", counter, {"next": row["next"] + 1})
    return int(row["next"])


def get_job(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    job = state.get_row("wechat_jobs", str(request.get_json("publish_id") or ""))
    post = state.posts.get(job["post_id"]) if job else None
    if post is None or post.account != request.account:
        return refuse(request, 53502)
    return ApiResponse.from_json(format_job(state.apply_read_faults(request, post)))


def batch_get_articles(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """List posts published without a push, newest first, deleted ones included.

    Mass sends are in no list.
    """
    fields = request.parse_json() or {}
    posts = [
        post
        for post in reversed(state.get_posts("wechat", request.account))
        if "mass" not in post.extra and post.state in ("live", "removed")
    ]
    posts = state.apply_list_faults(request, posts)
    start, count = parse_page(fields)
    items = [
        {
            "article_id": post.id,
            "content": _format_content(
                state,
                state.apply_read_faults(request, post),
                no_content=bool(fields.get("no_content")),
            ),
            "update_time": int(post.created),
        }
        for post in posts[start : start + count]
    ]
    return ApiResponse.from_json(
        {"total_count": len(posts), "item_count": len(items), "item": items}
    )


def _find_post(state: SimulatorState, request: ApiRequest) -> SimulatedPost | None:
    post = state.posts.get(str(request.get_json("article_id") or ""))
    owned = post is not None and (post.platform, post.account) == (
        "wechat",
        request.account,
    )
    return (
        post
        if post
        and owned
        and post.state in ("live", "removed")
        and "mass" not in post.extra
        else None
    )


def get_article(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    post = _find_post(state, request)
    if post is None:
        return refuse(request, 53600)
    return ApiResponse.from_json(
        _format_content(state, state.apply_read_faults(request, post), no_content=False)
    )


def delete_article(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Delete a post with all its articles; deletion is final, and repeating it is harmless."""
    post = _find_post(state, request)
    if post is None:
        return refuse(request, 53600)
    if post.state == "live":
        state.remove_post(post, "owner", request)
    return ApiResponse.from_json(OK_BODY)


def _format_content(
    state: SimulatorState, post: SimulatedPost, *, no_content: bool
) -> dict[str, Any]:
    number = post.extra["publish_id"]
    items = [
        format_article(
            state,
            article,
            build_article_url(post.account, number, index),
            no_content=no_content,
        )
        | {"is_deleted": post.state == "removed"}
        for index, article in enumerate(post.extra["articles"], 1)
    ]
    return {
        "news_item": items,
        "create_time": int(post.created),
        "update_time": int(post.created),
    }


def format_job(post: SimulatedPost) -> dict[str, Any]:
    """Return the status of a submission, for the status call and the event at the job's end."""
    publish_id, indexes = (
        post.extra["publish_id"],
        range(1, len(post.extra["articles"]) + 1),
    )
    if post.state == "removed":
        status = DELETED_BY_OWNER if post.removed_by == "owner" else BANNED_BY_SYSTEM
    elif post.state == "refused":
        status = int(post.review.get("status") or REVIEW_REJECTED)
    else:
        status = SUCCESS if post.state == "live" else IN_PROGRESS
    response: dict[str, Any] = {"publish_id": str(publish_id), "publish_status": status}
    if status in (SUCCESS, DELETED_BY_OWNER, BANNED_BY_SYSTEM):
        items = [
            {"idx": n, "article_url": build_article_url(post.account, publish_id, n)}
            for n in indexes
        ]
        response |= {
            "article_id": post.id,
            "article_detail": {"count": len(items), "item": items},
        }
    is_refused = status not in (
        SUCCESS,
        IN_PROGRESS,
        DELETED_BY_OWNER,
        BANNED_BY_SYSTEM,
    )
    return response | {"fail_idx": list(indexes) if is_refused else []}
