"""Lists of threads: of a user on the PC site and in the app, of a forum.

The calls are `myThread` on the PC site, `userpost` in the app, and `frs/page` for a forum. Field
names are as read by public clients, seen on 2026-11-24.
"""

from collections.abc import Sequence
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .account import find_user, format_author
from .responses import make_read_response, refuse
from .sign_in import check_signature, check_signed_post
from .threads import (
    PICTURE_MARKUP,
    can_see,
    get_first_post_id,
    get_forum_id,
    get_visible_replies,
    is_forum,
    is_thread,
    parse_markup,
)

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 20, 100
TYPE_THREADS, TYPE_REPLIES = "1", "2"
ABSTRACT_CHARACTERS = 200
NO_AGREES = {"agree_num": 0, "disagree_num": 0}


def list_own_posts(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """List a user's threads or replies; posts in review are shown to their author only."""
    refusal = check_signature(request)
    if refusal:
        return refusal
    portrait = request.query.get("portrait") or request.account
    if not portrait:
        return refuse(request, "230265")
    kind = request.query.get("type", TYPE_THREADS)
    posts = _select_posts(
        state, request, portrait, request.account, are_threads=kind == TYPE_THREADS
    )
    shown, page = paginate(
        request,
        posts if kind in (TYPE_THREADS, TYPE_REPLIES) else [],
        DEFAULT_PAGE_SIZE,
    )
    entries = [_format_entry(state, post, request.account) for post in shown]
    named = [
        entry[key]
        for entry in entries
        for key in ("thread_info", "post_info")
        if key in entry
    ]
    users = move_authors(state, named)
    listed = {"user_list": users} if state.behaviour.tieba_authors == "listed" else {}
    return make_read_response(
        request, {"data": {"has_more": page["has_more"], "list": entries, **listed}}
    )


def move_authors(
    state: SimulatorState, posts: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the authors of these posts, and leave only their numbers in the posts.

    Authors named inline stay in the posts.
    """
    users = {post["author_id"]: post["author"] for post in posts}
    if state.behaviour.tieba_authors != "inline":
        for post in posts:
            del post["author"]
    return list(users.values())


def _select_posts(
    state: SimulatorState,
    request: ApiRequest,
    author: str,
    reader: str,
    *,
    are_threads: bool,
) -> list[SimulatedPost]:
    """Return an author's posts that the reader sees.

    A reply is listed as long as its thread is visible.
    """
    posts = [
        post
        for post in reversed(state.get_posts("tieba", author))
        if is_thread(post) == are_threads
        and can_see(post, reader)
        and (are_threads or can_see(state.posts[post.extra["thread"]], reader))
    ]
    return state.apply_list_faults(request, posts)


def _format_entry(
    state: SimulatorState, post: SimulatedPost, reader: str
) -> dict[str, Any]:
    private = int(post.state == "review" or bool(post.extra.get("hidden")))
    if is_thread(post):
        return {
            "type": 1,
            "private": private,
            "thread_info": _format_thread(state, post, reader),
        }
    reply = {
        "id": int(post.id),
        "content": parse_markup(state, post.text),
        "quote_id": str(post.extra.get("under", 0)),
        "author_id": (author := format_author(state, post.account))["id"],
        "author": author,
        "time": int(post.created),
    }
    thread = state.posts[post.extra["thread"]]
    info = _format_thread(state, thread, reader)
    return {
        "type": 3 if "under" in post.extra else 2,
        "private": private,
        "thread_info": info,
        "post_info": reply,
    }


def _format_thread(
    state: SimulatorState, post: SimulatedPost, reader: str
) -> dict[str, Any]:
    replies = get_visible_replies(state, post.id, reader)
    return {
        **format_thread_head(state, post, len(replies)),
        "last_time_int": int(max(each.created for each in (post, *replies))),
        "fid": post.extra["fid"],
        "fname": post.extra["forum"],
        "forum_info": {**format_forum(post), "is_liked": 0},
        "agree_num": 0,
        "is_good": 0,
        "is_top": 0,
        "is_frs_mask": 0,
        "abstract": [
            {
                "type": 0,
                "text": PICTURE_MARKUP.sub("", post.text).strip()[:ABSTRACT_CHARACTERS],
            }
        ],
        "first_post_content": parse_markup(state, post.text),
    }


def format_thread_head(
    state: SimulatorState, post: SimulatedPost, reply_count: int
) -> dict[str, Any]:
    """Return the fields of a thread that lists and its own page have in common."""
    author = format_author(state, post.account)
    return {
        "id": int(post.id),
        "tid": int(post.id),
        "title": post.title,
        "reply_num": reply_count,
        "view_num": 0,
        "create_time": int(post.created),
        "first_post_id": int(get_first_post_id(post.id)),
        "author_id": author["id"],
        "author": author,
        "thread_type": 0,
        "agree": NO_AGREES,
        "share_num": 0,
        "is_deleted": 0,
    }


def format_forum(thread: SimulatedPost) -> dict[str, Any]:
    return {
        "id": thread.extra["fid"],
        "name": thread.extra["forum"],
        "member_num": 0,
        "post_num": 0,
    }


def list_by_user(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Serve `userpost`: a user's threads, or their replies, each with its thread."""
    refusal = check_signed_post(request)
    account = find_user(state, request.form)
    if refusal or account is None:
        return refusal or refuse(request, "110001")
    are_threads = request.form.get("is_thread") == "1"
    posts = _select_posts(
        state, request, account.identity, request.account, are_threads=are_threads
    )
    shown, _ = paginate(request, posts, DEFAULT_PAGE_SIZE)
    entries = [_format_user_post(state, post, request.account) for post in shown]
    return make_read_response(request, {"post_list": entries})


def _format_user_post(
    state: SimulatorState, post: SimulatedPost, reader: str
) -> dict[str, Any]:
    author = format_author(state, post.account)
    thread = _format_thread(
        state, post if is_thread(post) else state.posts[post.extra["thread"]], reader
    )
    entry = {
        "forum_id": thread["fid"],
        "forum_name": thread["fname"],
        "thread_id": thread["tid"],
        "post_id": thread["first_post_id"] if is_thread(post) else int(post.id),
        "create_time": int(post.created),
        "title": thread["title"] if is_thread(post) else f"回复：{thread['title']}",
        "user_id": author["id"],
        "user_name": author["name"],
        "user_portrait": author["portrait"],
        "name_show": author["name_show"],
        "reply_num": thread["reply_num"],
        "freq_num": thread["view_num"],
        "share_num": thread["share_num"],
        "agree": NO_AGREES,
    }
    if is_thread(post):
        return {**entry, "first_post_content": thread["first_post_content"]}
    text = [{"type": 0, "text": PICTURE_MARKUP.sub("", post.text).strip()}]
    kind = int("under" in post.extra)
    reply = {
        "post_content": text,
        "create_time": int(post.created),
        "post_type": kind,
        "post_id": int(post.id),
    }
    return {**entry, "content": [reply]}


def list_by_forum(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Serve `frs/page`: a forum's public threads, the latest replies first."""
    refusal = check_signed_post(request)
    name = request.form.get("kw", "")
    if refusal or not is_forum(state, name):
        return refusal or refuse(request, "230274")
    threads = [
        post
        for post in state.posts.values()
        if is_thread(post) and post.extra.get("forum") == name and can_see(post, "")
    ]
    infos = [
        _format_thread(state, post, "")
        for post in state.apply_list_faults(request, threads)
    ]
    infos.sort(key=lambda info: (info["last_time_int"], info["tid"]), reverse=True)
    shown, page = paginate(request, infos, DEFAULT_PAGE_SIZE)
    counts = {"member_num": 0, "thread_num": len(infos), "post_num": len(infos)}
    forum = {"id": get_forum_id(name), "name": name, **counts}
    users = {info["author_id"]: info["author"] for info in shown}
    return make_read_response(
        request,
        {
            "forum": forum,
            "page": page,
            "thread_list": shown,
            "user_list": list(users.values()),
        },
    )


def paginate(
    request: ApiRequest, items: Sequence[Any], default_size: int
) -> tuple[Sequence[Any], dict[str, int]]:
    """Return the requested page of a list, and its description.

    Pages count from 1, and 0 means the first as well.
    """
    number = max(1, request.get_int("pn", 1))
    size = max(1, min(request.get_int("rn", default_size), MAX_PAGE_SIZE))
    start, total = (number - 1) * size, len(items)
    pages = max(1, -(-total // size))
    page = {
        "page_size": size,
        "current_page": number,
        "total_count": total,
        "total_page": pages,
        "has_more": int(number < pages),
        "has_prev": int(number > 1),
    }
    return items[start : start + size], page
