"""One thread, reply by reply: the PC site's `page_pc`, the app's `pb/page`.

Field names are those that public clients read; read on 2026-11-24.
"""

from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .forums import get_first_post_id
from .lists import NO_AGREES, paginate
from .markup import MarkupParser
from .replies import can_see, get_visible_replies, is_thread
from .responses import make_missing_response, make_read_response
from .sign_in import SimulatedTiebaAuth
from .users import TiebaUsers

POSTS_PER_PAGE = 30
COMMENTS_SHOWN = 4
"""Comments shown under a reply, unless the call asks for more."""


class ThreadPageApi:
    def __init__(self, state: SimulatorState, auth: SimulatedTiebaAuth, users: TiebaUsers) -> None:
        self.state = state
        self._auth = auth
        self._users = users
        self._markup = MarkupParser(state)

    def show(self, request: ApiRequest) -> ApiResponse:
        """Show one page of a thread; without a session, posts that only their author sees are missing."""
        refusal = self._auth.check_signed_post(request)
        if refusal:
            return refusal
        thread = self.state.posts.get(request.form.get("kz", ""))
        if (
            thread is None
            or not is_thread(thread)
            or not can_see(self.state.apply_read_faults(request, thread), request.account)
        ):
            return make_missing_response(request)
        visible = self._get_visible_replies(request, thread)
        replies = [thread, *(each for each in visible if "under" not in each.extra)]
        if request.get_int("lz", 0):
            replies = [each for each in replies if each.account == thread.account]
        shown, page = paginate(replies, request.get_int("pn", 1), request.get_int("rn", POSTS_PER_PAGE))
        posts = [self._format_reply(request, each, visible) for each in shown]
        with_comments = [*posts, *(comment for each in posts for comment in each["sub_post_list"]["sub_post_list"])]
        users = {each["author_id"]: each["author"] for each in with_comments}
        return make_read_response(
            request,
            {
                "forum": _format_forum(thread),
                "page": page,
                "thread": self._format_thread(thread, len(visible)),
                "thread_freq_num": 0,
                "first_floor": self._format_reply(request, thread, visible),
                "post_list": posts,
                "user_list": list(users.values()),
            },
        )

    def show_comments(self, request: ApiRequest) -> ApiResponse:
        """Show the comments on one reply, given by its own id or by the id of one of its comments."""
        refusal = self._auth.check_signed_post(request)
        if refusal:
            return refusal
        thread = self.state.posts.get(request.form.get("kz", ""))
        named = self.state.posts.get(request.form.get("pid") or request.form.get("spid", ""))
        reply = self.state.posts.get(named.extra.get("under", named.id)) if named else None
        are_visible = [each is not None and can_see(each, request.account) for each in (thread, reply)]
        if thread is None or reply is None or not all(are_visible) or reply.extra.get("thread") != thread.id:
            return make_missing_response(request)
        visible = self._get_visible_replies(request, thread)
        comments = [self._format_comment(each) for each in visible if each.extra.get("under") == reply.id]
        shown, page = paginate(comments, request.get_int("pn", 1), POSTS_PER_PAGE)
        return make_read_response(
            request,
            {
                "page": page,
                "post": self._format_reply(request, reply, visible),
                "subpost_list": shown,
                "thread": self._format_thread(thread, len(visible)),
                "forum": _format_forum(thread),
            },
        )

    def _get_visible_replies(self, request: ApiRequest, thread: SimulatedPost) -> list[SimulatedPost]:
        return self.state.apply_list_faults(request, get_visible_replies(self.state, thread.id, request.account))

    def _format_thread(self, post: SimulatedPost, replies: int) -> dict[str, Any]:
        author = self._users.format_author(post.account)
        first = int(get_first_post_id(post.id))
        pieces = self._markup.parse(post.text)
        origin = {"title": post.title, "fname": post.extra["forum"], "tid": post.id, "content": pieces}
        return {
            "id": int(post.id),
            "tid": int(post.id),
            "title": post.title,
            "reply_num": replies,
            "view_num": 0,
            "create_time": int(post.created),
            "first_post_id": first,
            "post_id": first,
            "thread_type": 0,
            "author": author,
            "author_id": author["id"],
            "agree": NO_AGREES,
            "share_num": 0,
            "is_deleted": 0,
            "is_frs_mask": int(bool(post.extra.get("hidden"))),
            "origin_thread_info": {**origin, "fid": post.extra["fid"]},
        }

    def _format_reply(self, request: ApiRequest, post: SimulatedPost, replies: list[SimulatedPost]) -> dict[str, Any]:
        pid = get_first_post_id(post.id) if is_thread(post) else post.id
        author = self._users.format_author(post.account)
        comments = [each for each in replies if each.extra.get("under") == pid]
        limit = request.get_int("floor_rn", COMMENTS_SHOWN) if request.get_int("with_floor", 0) else 0
        return {
            "id": int(pid),
            "tid": int(post.extra.get("thread", post.id)),
            "floor": post.extra.get("floor", 1),
            "title": post.title,
            "time": int(post.created),
            "author_id": author["id"],
            "author": author,
            "content": self._markup.parse(post.text),
            "agree": NO_AGREES,
            "sub_post_number": len(comments),
            "sub_post_list": {"sub_post_list": [self._format_comment(each) for each in comments[:limit]]},
        }

    def _format_comment(self, post: SimulatedPost) -> dict[str, Any]:
        author = self._users.format_author(post.account)
        return {
            "id": int(post.id),
            "time": int(post.created),
            "author_id": author["id"],
            "author": author,
            "content": self._markup.parse(post.text),
            "agree": NO_AGREES,
        }


def _format_forum(thread: SimulatedPost) -> dict[str, Any]:
    return {"id": thread.extra["fid"], "name": thread.extra["forum"], "member_num": 0, "post_num": 0}
