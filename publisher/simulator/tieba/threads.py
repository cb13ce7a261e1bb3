"""Creating a thread.

Field names and codes are those of the 2026 PC editor's call `c/c/thread/add_pc`, as public clients use them; read on
2026-11-24.
"""

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .forums import IdSequence, get_first_post_id, get_forum_id
from .markup import MarkupParser
from .responses import refuse
from .write import TiebaPostWriter

MIN_TITLE_LENGTH, MAX_TITLE_LENGTH = 5, 31


class ThreadApi:
    def __init__(self, state: SimulatorState, writer: TiebaPostWriter, ids: IdSequence) -> None:
        self.state = state
        self._writer = writer
        self._ids = ids
        self._markup = MarkupParser(state)

    def add(self, request: ApiRequest) -> ApiResponse:
        refusal = self._writer.check(request, _check_title)
        if refusal:
            return refusal
        tid = self._ids.next()
        content, forum = request.form["content"], request.form["kw"]
        extra = {"forum": forum, "fid": get_forum_id(forum), "floor": 1}
        now, title = self.state.now(), request.form.get("title", "")
        images = self._markup.get_picture_digests(content)
        post = SimulatedPost(tid, "tieba", request.account, now, content, title, images=images, extra=extra)
        return self._writer.create_post(request, post, tid, get_first_post_id(tid))


def _check_title(request: ApiRequest) -> ApiResponse | None:
    size = len(request.form.get("title", "").strip())
    if size < MIN_TITLE_LENGTH:
        return refuse(request, "230020")
    return refuse(request, "220011") if size > MAX_TITLE_LENGTH else None
