"""Replies in a thread, and comments on a reply.

Field names and codes are those of `c/c/post/add_pc` and `c/c/post/add`, as public clients use them; read on 2026-11-24.
"""

from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .forums import IdSequence, get_first_post_id
from .markup import MarkupParser
from .responses import refuse
from .write import TiebaPostWriter

REPLIES_TABLE = "tieba_floors"


def is_thread(post: SimulatedPost) -> bool:
    return post.platform == "tieba" and "thread" not in post.extra


def get_replies(state: SimulatorState, tid: str) -> list[SimulatedPost]:
    """Return the replies and comments of a thread, in order."""
    pids = (state.get_row(REPLIES_TABLE, tid) or {}).get("pids", [])
    return [state.posts[pid] for pid in pids if pid in state.posts]


def get_visible_replies(state: SimulatorState, tid: str, reader: str) -> list[SimulatedPost]:
    """Return the replies and comments that a reader sees; a comment disappears with its reply."""
    visible = [each for each in get_replies(state, tid) if can_see(each, reader)]
    visible_ids = {get_first_post_id(tid), *(each.id for each in visible)}
    return [each for each in visible if each.extra.get("under", each.id) in visible_ids]


class ReplyNumbering:
    """Numbers replies; a deleted reply keeps its number and leaves a gap."""

    def __init__(self, state: SimulatorState, ids: IdSequence) -> None:
        self.state = state
        self._ids = ids

    def reserve_id(self, thread: SimulatedPost, quoted: str) -> tuple[str, dict[str, Any]]:
        """Reserve an id in a thread, or under the reply that `quoted` names, for a post that is created at once."""
        known = self.state.get_row(REPLIES_TABLE, thread.id) or {"pids": [], "last": 1}
        extra = {"forum": thread.extra["forum"], "fid": thread.extra["fid"], "thread": thread.id}
        if quoted:  # a comment on a comment belongs to the same reply
            quoted_post = self.state.posts.get(quoted)
            extra["under"] = str(quoted_post.extra.get("under", quoted)) if quoted_post else quoted
        else:
            known = {**known, "last": known["last"] + 1}
            extra["floor"] = known["last"]
        pid = self._ids.next()
        self.state.put_row(REPLIES_TABLE, thread.id, {**known, "pids": [*known["pids"], pid]})
        return pid, extra


class ReplyApi:
    def __init__(self, state: SimulatorState, writer: TiebaPostWriter, numbering: ReplyNumbering) -> None:
        self.state = state
        self._writer = writer
        self._numbering = numbering
        self._markup = MarkupParser(state)

    def add(self, request: ApiRequest) -> ApiResponse:
        refusal = self._writer.check(request, self._check_thread, self._check_quoted)
        if refusal:
            return refusal
        thread = self.state.posts[request.form["tid"]]
        pid, extra = self._numbering.reserve_id(thread, _get_quoted_id(request))
        text = request.form["content"]
        images = self._markup.get_picture_digests(text)
        post = SimulatedPost(pid, "tieba", request.account, self.state.now(), text, images=images, extra=extra)
        return self._writer.create_post(request, post, thread.id, pid)

    def _check_thread(self, request: ApiRequest) -> ApiResponse | None:
        post = self.state.posts.get(request.form.get("tid", ""))
        if post is None or not is_thread(post) or not can_see(post, request.account):
            return refuse(request, "230273")
        if str(post.extra["fid"]) != request.form.get("fid"):
            return refuse(request, "230273")
        is_closed = post.id in self.state.behaviour.tieba_closed_threads
        return refuse(request, "230277") if is_closed else None

    def _check_quoted(self, request: ApiRequest) -> ApiResponse | None:
        quoted, tid = _get_quoted_id(request), request.form.get("tid", "")
        if not quoted or quoted == get_first_post_id(tid):
            return None
        post = self.state.posts.get(quoted)
        is_visible = post is not None and post.extra.get("thread") == tid and can_see(post, request.account)
        return None if is_visible else refuse(request, "230273")


def _get_quoted_id(request: ApiRequest) -> str:
    quoted = request.form.get("quote_id", "")
    return "" if quoted == "0" else quoted


def can_see(post: SimulatedPost, account: str) -> bool:
    """True if the account sees the post: in review or hidden, only its author does."""
    if post.account == account:
        return post.state in ("live", "review")
    return post.state == "live" and not post.extra.get("hidden")
