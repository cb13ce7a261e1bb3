"""What threads and floors have in common: who may write, which words are taken, how the answer reads."""

from collections.abc import Callable

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .client_types import ClientType, get_client_type
from .forums import check_forum_access
from .markup import EMOTICON_MARKUP, PICTURE_MARKUP
from .responses import BAD_WORDS_CODE, make_created_response, refuse
from .restrictions import check_ban, check_rate_limit, get_restrictions
from .sign_in import SimulatedTiebaAuth

MAX_BODY_CHARACTERS = 2000
MAX_PICTURES = 9
MAX_EMOTICONS = 10
IN_REVIEW_CODE = "230008"
TOO_FAST_CODE = "230871"

Check = Callable[[ApiRequest], ApiResponse | None]


class TiebaPostWriter:
    def __init__(self, state: SimulatorState, auth: SimulatedTiebaAuth) -> None:
        self.state = state
        self._access_checks: tuple[Check, ...] = (
            auth.check_signed_post,
            auth.check_tbs,
            lambda request: check_ban(state, request),
            lambda request: check_forum_access(state, request),
        )
        self._content_checks: tuple[Check, ...] = (
            self._check_content,
            self._check_pictures,
            self._check_words,
            lambda request: check_rate_limit(state, request, "write", state.behaviour.tieba_gap, TOO_FAST_CODE),
        )

    def check(self, request: ApiRequest, *own_checks: Check) -> ApiResponse | None:
        """The first thing that stands against it; what its kind alone needs is asked before its words are read."""
        answers = (check(request) for check in (*self._access_checks, *own_checks, *self._content_checks))
        return next((response for response in answers if response is not None), None)

    def _check_content(self, request: ApiRequest) -> ApiResponse | None:
        content = request.form.get("content", "")
        if not content.strip():
            return refuse(request, "230020")
        if len(PICTURE_MARKUP.sub("", content)) > MAX_BODY_CHARACTERS:
            return refuse(request, "230046")
        read_as_tags = any(each in "<>" for each in content + request.form.get("title", ""))
        if read_as_tags:
            return refuse(request, "2000" if get_client_type(request) is ClientType.PC_SITE else "232000")
        return None

    def _check_pictures(self, request: ApiRequest) -> ApiResponse | None:
        content = request.form.get("content", "")
        names = [match.group(1) for match in PICTURE_MARKUP.finditer(content)]
        if len(names) > MAX_PICTURES:
            return refuse(request, "230809")
        if len(EMOTICON_MARKUP.findall(content)) > MAX_EMOTICONS:
            return refuse(request, "230814")
        known = all(self.state.get_row("tieba_pictures", name) for name in names)
        return None if known else refuse(request, "230961")

    def _check_words(self, request: ApiRequest) -> ApiResponse | None:
        text = request.form.get("title", "") + request.form.get("content", "")
        found = [word for word in self.state.behaviour.tieba_words if word in text]
        return refuse(request, BAD_WORDS_CODE, words=found) if found else None

    def create_post(self, request: ApiRequest, post: SimulatedPost, tid: str, pid: str) -> ApiResponse:
        """Put it into the world and answer; an account whose posts are hidden is told of success all the same."""
        restrictions = get_restrictions(self.state, request.account)
        if restrictions.get("hide_stat"):
            post.extra["hidden"] = True
        self.state.create_post(request, post)
        if post.state == "review" and (request.get_fault("review") or {}).get("announce"):
            return refuse(request, IN_REVIEW_CODE)
        return make_created_response(request, tid, pid, restrictions)
