"""One thread, floor by floor: the PC site's `page_pc`, the app's `pb/page`.

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
NEWEST_FIRST = 1
COMMENTS_SHOWN = 4
"""Answers shown under a floor, unless the call asks for more."""


class ThreadPageApi:
    def __init__(self, state: SimulatorState, auth: SimulatedTiebaAuth, users: TiebaUsers) -> None:
        self.state = state
        self._auth = auth
        self._users = users
        self._markup = MarkupParser(state)

    def show(self, request: ApiRequest) -> ApiResponse:
        """Needs no session; what its author alone may see is missing without one."""
        refusal = self._auth.check_signed_post(request)
        if refusal:
            return refusal
        post = self.state.posts.get(request.form.get("kz", ""))
        if (
            post is None
            or not is_thread(post)
            or not can_see(self.state.apply_read_faults(request, post), request.account)
        ):
            return make_missing_response(request, self.state.behaviour.tieba_deleted_code)
        return make_read_response(request, self._format_page(request, post))

    def show_comments(self, request: ApiRequest) -> ApiResponse:
        """What stands under one floor, named by its own number or by that of one of its answers."""
        refusal = self._auth.check_signed_post(request)
        if refusal:
            return refusal
        thread = self.state.posts.get(request.form.get("kz", ""))
        asked = self.state.posts.get(request.form.get("pid") or request.form.get("spid", ""))
        floor = self.state.posts.get(asked.extra.get("under", asked.id)) if asked else None
        shown = [each is not None and can_see(each, request.account) for each in (thread, floor)]
        if thread is None or floor is None or not all(shown) or floor.extra.get("thread") != thread.id:
            return make_missing_response(request, self.state.behaviour.tieba_deleted_code)
        said = self._get_visible_replies(request, thread)
        under = [self._format_comment(each) for each in said if each.extra.get("under") == floor.id]
        answers, page = paginate(under, request.get_int("pn", 1), POSTS_PER_PAGE)
        return make_read_response(
            request,
            {
                "page": page,
                "post": self._format_reply(request, floor, said),
                "subpost_list": answers,
                "thread": self._format_thread(thread, len(said)),
                "forum": _format_forum(thread),
            },
        )

    def _format_page(self, request: ApiRequest, thread: SimulatedPost) -> dict[str, Any]:
        said = self._get_visible_replies(request, thread)
        replies = [each for each in said if "under" not in each.extra]
        floors = [thread, *replies]
        if request.get_int("lz", 0):
            floors = [each for each in floors if each.account == thread.account]
        if request.get_int("r", 0) == NEWEST_FIRST:
            floors.reverse()
        shown, page = paginate(floors, request.get_int("pn", 1), request.get_int("rn", POSTS_PER_PAGE))
        posts = [self._format_reply(request, each, said) for each in shown]
        spoken = [*posts, *(response for each in posts for response in each["sub_post_list"]["sub_post_list"])]
        users = {each["author_id"]: each["author"] for each in spoken}
        return {
            "forum": _format_forum(thread),
            "page": page,
            "thread": self._format_thread(thread, len(said)),
            "thread_freq_num": 0,
            "first_floor": self._format_reply(request, thread, said),
            "post_list": posts,
            "user_list": list(users.values()),
        }

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
        answers = [each for each in replies if each.extra.get("under") == pid]
        asked = request.get_int("floor_rn", COMMENTS_SHOWN) if request.get_int("with_floor", 0) else 0
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
            "sub_post_number": len(answers),
            "sub_post_list": {"sub_post_list": [self._format_comment(each) for each in answers[:asked]]},
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
