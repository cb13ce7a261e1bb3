"""Threads, the replies in them, and the comments on a reply."""

from typing import Any

from publisher.simulator.state import SimulatedPost, SimulatorState

from .forums import IdSequence, get_first_post_id

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


def can_see(post: SimulatedPost, account: str) -> bool:
    """True if the account sees the post: in review or hidden, only its author does."""
    if post.account == account:
        return post.state in ("live", "review")
    return post.state == "live" and not post.extra.get("hidden")
