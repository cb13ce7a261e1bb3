"""One thread, reply by reply: the PC site's `page_pc`, the app's `pb/page` and `pb/floor`.

Field names are as read by public clients, seen on 2026-11-24.
"""

from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .account import format_author
from .lists import NO_AGREES, format_forum, format_thread_head, move_authors, paginate
from .responses import (
    ClientType,
    get_client_type,
    make_missing_response,
    make_read_response,
)
from .sign_in import check_signed_post
from .threads import (
    can_see,
    get_first_post_id,
    get_visible_replies,
    is_thread,
    parse_markup,
)

POSTS_PER_PAGE = 30
COMMENTS_SHOWN = 4
"""Comments shown under a reply, unless the call asks for more."""


def show_thread(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Show one page of a thread.

    Without a session, posts that only their author sees are missing.
    """
    refusal = check_signed_post(request)
    if refusal:
        return refusal
    thread = state.posts.get(request.form.get("kz", ""))
    if (
        thread is None
        or not is_thread(thread)
        or not can_see(state.apply_read_faults(request, thread), request.account)
    ):
        return make_missing_response(request)
    visible = _get_visible_replies(state, request, thread)
    replies = [thread, *(each for each in visible if "under" not in each.extra)]
    if request.get_int("lz", 0):
        replies = [each for each in replies if each.account == thread.account]
    shown, page = paginate(request, replies, POSTS_PER_PAGE)
    posts = [_format_reply(state, request, each, visible) for each in shown]
    with_comments = [
        *posts,
        *(
            comment
            for each in posts
            for comment in each["sub_post_list"]["sub_post_list"]
        ),
    ]
    first_post = _format_reply(state, request, thread, visible)
    if get_client_type(request) is ClientType.PC_SITE:
        users = move_authors(state, [first_post, *with_comments])
    else:
        users = list(
            {each["author_id"]: each["author"] for each in with_comments}.values()
        )
    return make_read_response(
        request,
        {
            "forum": format_forum(thread),
            "page": page,
            "thread": _format_thread(state, thread, len(visible)),
            "thread_freq_num": 0,
            "first_floor": first_post,
            "post_list": posts,
            "user_list": users,
        },
    )


def show_comments(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Show the comments on one reply, given by its own id or by the id of one of its comments."""
    refusal = check_signed_post(request)
    if refusal:
        return refusal
    thread = state.posts.get(request.form.get("kz", ""))
    named = state.posts.get(request.form.get("pid") or request.form.get("spid", ""))
    reply = state.posts.get(named.extra.get("under", named.id)) if named else None
    are_visible = [
        each is not None and can_see(each, request.account) for each in (thread, reply)
    ]
    if (
        thread is None
        or reply is None
        or not all(are_visible)
        or reply.extra.get("thread") != thread.id
    ):
        return make_missing_response(request)
    visible = _get_visible_replies(state, request, thread)
    comments = [
        _format_comment(state, each)
        for each in visible
        if each.extra.get("under") == reply.id
    ]
    shown, page = paginate(request, comments, POSTS_PER_PAGE)
    return make_read_response(
        request,
        {
            "page": page,
            "post": _format_reply(state, request, reply, visible),
            "subpost_list": shown,
            "thread": _format_thread(state, thread, len(visible)),
            "forum": format_forum(thread),
        },
    )


def _get_visible_replies(
    state: SimulatorState, request: ApiRequest, thread: SimulatedPost
) -> list[SimulatedPost]:
    return state.apply_list_faults(
        request, get_visible_replies(state, thread.id, request.account)
    )


def _format_thread(
    state: SimulatorState, post: SimulatedPost, replies: int
) -> dict[str, Any]:
    origin = {
        "title": post.title,
        "fname": post.extra["forum"],
        "tid": post.id,
        "fid": post.extra["fid"],
    }
    return {
        **format_thread_head(state, post, replies),
        "post_id": int(get_first_post_id(post.id)),
        "is_frs_mask": int(bool(post.extra.get("hidden"))),
        "origin_thread_info": {**origin, "content": parse_markup(state, post.text)},
    }


def _format_reply(
    state: SimulatorState,
    request: ApiRequest,
    post: SimulatedPost,
    replies: list[SimulatedPost],
) -> dict[str, Any]:
    pid = get_first_post_id(post.id) if is_thread(post) else post.id
    comments = [each for each in replies if each.extra.get("under") == pid]
    limit = (
        request.get_int("floor_rn", COMMENTS_SHOWN)
        if request.get_int("with_floor", 0)
        else 0
    )
    return {
        **_format_comment(state, post),
        "id": int(pid),
        "tid": int(post.extra.get("thread", post.id)),
        "floor": post.extra.get("floor", 1),
        "title": post.title,
        "sub_post_number": len(comments),
        "sub_post_list": {
            "sub_post_list": [_format_comment(state, each) for each in comments[:limit]]
        },
    }


def _format_comment(state: SimulatorState, post: SimulatedPost) -> dict[str, Any]:
    author = format_author(state, post.account)
    return {
        "id": int(post.id),
        "time": int(post.created),
        "author_id": author["id"],
        "author": author,
        "content": parse_markup(state, post.text),
        "agree": NO_AGREES,
    }
