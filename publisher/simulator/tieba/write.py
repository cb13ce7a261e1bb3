"""What threads and replies share: access, content checks, the response."""

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
        self._auth = auth

    def check(self, request: ApiRequest, *own_checks: Check) -> ApiResponse | None:
        """Return the first refusal, if any; `own_checks` of threads or replies come before the content is read."""
        checks: tuple[Check, ...] = (
            self._auth.check_signed_post,
            self._auth.check_tbs,
            lambda request: check_ban(self.state, request),
            lambda request: check_forum_access(self.state, request),
            *own_checks,
            self._check_content,
        )
        refusals = (check(request) for check in checks)
        return next((refusal for refusal in refusals if refusal is not None), None)

    def _check_content(self, request: ApiRequest) -> ApiResponse | None:
        content, title = request.form.get("content", ""), request.form.get("title", "")
        if not content.strip():
            return refuse(request, "230020")
        if len(PICTURE_MARKUP.sub("", content)) > MAX_BODY_CHARACTERS:
            return refuse(request, "230046")
        if any(each in "<>" for each in content + title):  # the platform reads them as tags
            return refuse(request, "2000" if get_client_type(request) is ClientType.PC_SITE else "232000")
        names = [match.group(1) for match in PICTURE_MARKUP.finditer(content)]
        if len(names) > MAX_PICTURES:
            return refuse(request, "230809")
        if len(EMOTICON_MARKUP.findall(content)) > MAX_EMOTICONS:
            return refuse(request, "230814")
        if not all(self.state.get_row("tieba_pictures", name) for name in names):
            return refuse(request, "230961")
        if words := [word for word in self.state.behaviour.tieba_words if word in title + content]:
            return refuse(request, BAD_WORDS_CODE, words=words)
        return check_rate_limit(self.state, request, "write", self.state.behaviour.tieba_gap, TOO_FAST_CODE)

    def create_post(self, request: ApiRequest, post: SimulatedPost, tid: str, pid: str) -> ApiResponse:
        """Add the post to the state and respond; an account whose posts are hidden gets a success as well."""
        restrictions = get_restrictions(self.state, request.account)
        if restrictions.get("hide_stat"):
            post.extra["hidden"] = True
        self.state.create_post(request, post)
        if post.state == "review" and (request.get_fault("review") or {}).get("announce"):
            return refuse(request, IN_REVIEW_CODE)
        return make_created_response(request, tid, pid, restrictions)
