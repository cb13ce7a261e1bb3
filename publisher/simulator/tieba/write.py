"""Creating threads, replies and comments, and deleting one's own.

Field names and codes are those of the 2026 PC editor's `c/c/thread/add_pc` and `c/c/post/add_pc`, and of the app's
`c/c/post/add`, `c/c/bawu/delthread` and `c/c/bawu/delpost`, as public clients use them; read on 2026-11-24.
"""

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .client_types import ClientType, get_client_type
from .forums import IdSequence, check_forum_access, get_first_post_id, get_forum_id
from .markup import PICTURE_MARKUP, MarkupParser
from .replies import ReplyNumbering, can_see, is_thread
from .responses import BAD_WORDS_CODE, make_created_response, make_done_response, refuse
from .restrictions import check_ban, check_rate_limit, get_restrictions
from .sign_in import SimulatedTiebaAuth

MIN_TITLE_LENGTH, MAX_TITLE_LENGTH = 5, 31
MAX_BODY_CHARACTERS = 2000
MAX_PICTURES = 9
IN_REVIEW_CODE, POST_GONE_CODE, NOT_ALLOWED_CODE = "230008", "230273", "230308"


class TiebaWriteApi:
    """Checks in the order: signature, tbs, ban, forum, then title or thread, content, rate."""

    def __init__(
        self, state: SimulatorState, auth: SimulatedTiebaAuth, thread_ids: IdSequence, numbering: ReplyNumbering
    ) -> None:
        self.state = state
        self._auth = auth
        self._thread_ids = thread_ids
        self._numbering = numbering
        self._markup = MarkupParser(state)

    def add_thread(self, request: ApiRequest) -> ApiResponse:
        if refusal := self._check_access(request):
            return refusal
        size = len(request.form.get("title", "").strip())
        if size < MIN_TITLE_LENGTH:
            return refuse(request, "230020")
        if size > MAX_TITLE_LENGTH:
            return refuse(request, "220011")
        if refusal := self._check_content(request):
            return refusal
        tid, forum = self._thread_ids.next(), request.form["kw"]
        extra = {"forum": forum, "fid": get_forum_id(forum), "floor": 1}
        post = SimulatedPost(tid, "tieba", request.account, self.state.now(), title=request.form["title"], extra=extra)
        return self._create_post(request, post, tid, get_first_post_id(tid))

    def add_reply(self, request: ApiRequest) -> ApiResponse:
        """Add a reply, or with `quote_id` a comment on a reply."""
        if refusal := self._check_access(request):
            return refusal
        thread = self.state.posts.get(request.form.get("tid", ""))
        if thread is None or not is_thread(thread) or not can_see(thread, request.account):
            return refuse(request, POST_GONE_CODE)
        if str(thread.extra["fid"]) != request.form.get("fid"):
            return refuse(request, POST_GONE_CODE)
        quoted = request.form.get("quote_id", "")
        quoted = "" if quoted == "0" else quoted
        if quoted and quoted != get_first_post_id(thread.id):
            reply = self.state.posts.get(quoted)
            if reply is None or reply.extra.get("thread") != thread.id or not can_see(reply, request.account):
                return refuse(request, POST_GONE_CODE)
        if refusal := self._check_content(request):
            return refusal
        pid, extra = self._numbering.reserve_id(thread, quoted)
        post = SimulatedPost(pid, "tieba", request.account, self.state.now(), extra=extra)
        return self._create_post(request, post, thread.id, pid)

    def _check_access(self, request: ApiRequest) -> ApiResponse | None:
        return (
            self._auth.check_signed_post(request)
            or self._auth.check_tbs(request)
            or check_ban(self.state, request)
            or check_forum_access(self.state, request)
        )

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
        if not all(self.state.get_row("tieba_pictures", name) for name in names):
            return refuse(request, "230961")
        if words := [word for word in self.state.behaviour.tieba_words if word in title + content]:
            return refuse(request, BAD_WORDS_CODE, words=words)
        return check_rate_limit(self.state, request)

    def _create_post(self, request: ApiRequest, post: SimulatedPost, tid: str, pid: str) -> ApiResponse:
        """Add the post to the state and respond; an account whose posts are hidden gets a success as well."""
        post.text = request.form["content"]
        post.images = self._markup.get_picture_digests(post.text)
        restrictions = get_restrictions(self.state, request.account)
        if restrictions.get("hide_stat"):
            post.extra["hidden"] = True
        self.state.create_post(request, post)
        if post.state == "review" and (request.get_fault("review") or {}).get("announce"):
            return refuse(request, IN_REVIEW_CODE)
        return make_created_response(request, tid, pid, restrictions)

    def delete_thread(self, request: ApiRequest) -> ApiResponse:
        return self._delete(request, self.state.posts.get(request.form.get("z", "")), is_reply=False)

    def delete_reply(self, request: ApiRequest) -> ApiResponse:
        """Delete one reply or comment; the first post is deleted only with its thread."""
        post = self.state.posts.get(request.form.get("pid", ""))
        is_in_thread = post is not None and post.extra.get("thread") == request.form.get("z")
        return self._delete(request, post if is_in_thread else None, is_reply=True)

    def _delete(self, request: ApiRequest, post: SimulatedPost | None, *, is_reply: bool) -> ApiResponse:
        refusal = self._auth.check_signed_post(request) or self._auth.check_tbs(request)
        if refusal:
            return refusal
        if post is None or post.platform != "tieba" or is_thread(post) == is_reply or post.state == "removed":
            return refuse(request, POST_GONE_CODE)
        if post.account != request.account or request.form.get("fid") != str(post.extra["fid"]):
            return refuse(request, NOT_ALLOWED_CODE)
        self.state.remove_post(post, "owner", request)
        return make_done_response(request)
