"""Replying: floors of a thread, and answers to a floor.

Field names and codes are those of `c/c/post/add_pc` and `c/c/post/add`, as public clients use them; read on 2026-11-24.
"""

from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import refuse
from .forums import Numbers, floor_id
from .marks import Marks
from .writing import Writing

TABLE = "tieba_floors"


def is_thread(post: Post) -> bool:
    return post.platform == "tieba" and "thread" not in post.extra


def floors_of(world: World, tid: str) -> list[Post]:
    """Everything said under a thread's first floor, in its order."""
    pids = (world.get(TABLE, tid) or {}).get("pids", [])
    return [world.posts[pid] for pid in pids if pid in world.posts]


def heard(world: World, tid: str, reader: str) -> list[Post]:
    """What of it a reader finds: an answer goes with its floor."""
    said = [each for each in floors_of(world, tid) if may_see(each, reader)]
    standing = {floor_id(tid), *(each.id for each in said)}
    return [each for each in said if each.extra.get("under", each.id) in standing]


class Floors:
    """Floors keep their numbers: one that is taken down leaves a gap."""

    def __init__(self, world: World, numbers: Numbers) -> None:
        self.world = world
        self._numbers = numbers

    def place(self, thread: Post, quoted: str) -> tuple[str, dict[str, Any]]:
        """Reserve a number under a thread, or under the floor that `quoted` names, for a post that follows at once."""
        known = self.world.get(TABLE, thread.id) or {"pids": [], "last": 1}
        extra = {"forum": thread.extra["forum"], "fid": thread.extra["fid"], "thread": thread.id}
        if quoted:
            extra["under"] = self._floor_of(quoted)
        else:
            known = {**known, "last": known["last"] + 1}
            extra["floor"] = known["last"]
        pid = self._numbers.next()
        self.world.put(TABLE, thread.id, {**known, "pids": [*known["pids"], pid]})
        return pid, extra

    def _floor_of(self, quoted: str) -> str:
        """An answer to an answer stands under the same floor."""
        post = self.world.posts.get(quoted)
        return str(post.extra.get("under", quoted)) if post else quoted


class Replies:
    def __init__(self, world: World, writing: Writing, floors: Floors) -> None:
        self.world = world
        self._writing = writing
        self._floors = floors
        self._marks = Marks(world)

    def add(self, call: Call) -> Answer:
        refusal = self._writing.refusal(call, self._thread, self._quoted)
        if refusal:
            return refusal
        thread = self.world.posts[call.form["tid"]]
        pid, extra = self._floors.place(thread, _quoted_by(call))
        text = call.form["content"]
        images = self._marks.pictures(text)
        post = Post(pid, "tieba", call.account, self.world.now(), text, images=images, extra=extra)
        return self._writing.finish(call, post, thread.id, pid)

    def _thread(self, call: Call) -> Answer | None:
        post = self.world.posts.get(call.form.get("tid", ""))
        if post is None or not is_thread(post) or not may_see(post, call.account):
            return refuse(call, "230273")
        if str(post.extra["fid"]) != call.form.get("fid"):
            return refuse(call, "230273")
        is_closed = post.id in self.world.settings.tieba_closed_threads
        return refuse(call, "230277") if is_closed else None

    def _quoted(self, call: Call) -> Answer | None:
        quoted, tid = _quoted_by(call), call.form.get("tid", "")
        if not quoted or quoted == floor_id(tid):
            return None
        post = self.world.posts.get(quoted)
        stands = post is not None and post.extra.get("thread") == tid and may_see(post, call.account)
        return None if stands else refuse(call, "230273")


def _quoted_by(call: Call) -> str:
    quoted = call.form.get("quote_id", "")
    return "" if quoted == "0" else quoted


def may_see(post: Post, account: str) -> bool:
    """What is in review or hidden is there for its own author only."""
    if post.account == account:
        return post.state in ("live", "review")
    return post.state == "live" and not post.extra.get("hidden")
