"""Opening a thread.

Field names and codes are those of the 2026 PC editor's call `c/c/thread/add_pc`, as public clients use them; read on
2026-11-24.
"""

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import refuse
from .forums import Numbers, floor_id, forum_id
from .marks import Marks
from .writing import Writing

SHORTEST_TITLE, LONGEST_TITLE = 5, 31


class Threads:
    def __init__(self, world: World, writing: Writing, numbers: Numbers) -> None:
        self.world = world
        self._writing = writing
        self._numbers = numbers
        self._marks = Marks(world)

    def add(self, call: Call) -> Answer:
        refusal = self._writing.refusal(call, _title)
        if refusal:
            return refusal
        tid = self._numbers.next()
        return self._writing.finish(call, self._post(call, tid), tid, floor_id(tid))

    def _post(self, call: Call, tid: str) -> Post:
        content, forum = call.form["content"], call.form["kw"]
        extra = {"forum": forum, "fid": forum_id(forum), "floor": 1}
        now, title = self.world.now(), call.form.get("title", "")
        images = self._marks.pictures(content)
        return Post(tid, "tieba", call.account, now, content, title, images=images, extra=extra)


def _title(call: Call) -> Answer | None:
    size = len(call.form.get("title", "").strip())
    if size < SHORTEST_TITLE:
        return refuse(call, "230020")
    return refuse(call, "220011") if size > LONGEST_TITLE else None
