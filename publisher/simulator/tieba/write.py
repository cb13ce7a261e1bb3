"""Creating threads, replies, comments and pictures, and deleting one's own.

Field names and codes are as public clients use them, read on 2026-11-24. The 2026 PC editor has
`c/c/thread/add_pc`, `c/c/post/add_pc` and `c/s/uploadPicture_pc`. The app has `c/c/post/add`,
`c/c/bawu/delthread` and `c/c/bawu/delpost`.
"""

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .responses import (
    BAD_WORDS_CODE,
    ClientType,
    get_client_type,
    make_created_response,
    refuse,
)
from .restrictions import (
    check_ban,
    check_forum_access,
    check_rate_limit,
    get_restrictions,
)
from .sign_in import check_signed_post, check_tbs
from .threads import (
    FIRST_THREAD_ID,
    PICTURE_HOST,
    PICTURE_MARKUP,
    can_see,
    get_first_post_id,
    get_forum_id,
    get_picture_digests,
    is_thread,
    reserve_reply_id,
)

MIN_TITLE_LENGTH, MAX_TITLE_LENGTH = 5, 31
MAX_BODY_CHARACTERS = 2000
MAX_PICTURES = 9
FIRST_PICTURE_ID = 301_500_000_001
FILE_SIGNATURES = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png", b"GIF8": "gif"}
FILE_PLACEHOLDER = "[object File]"
"""The signature contains this text in place of the file's bytes."""
MAX_PICTURE_BYTES = 10 * 1024 * 1024
IN_REVIEW_CODE, POST_GONE_CODE, NOT_ALLOWED_CODE = "230008", "230273", "230308"


def add_thread(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    if refusal := _check_access(state, request):
        return refusal
    size = len(request.form.get("title", "").strip())
    if size < MIN_TITLE_LENGTH:
        return refuse(request, "230020")
    if size > MAX_TITLE_LENGTH:
        return refuse(request, "220011")
    if refusal := _check_content(state, request):
        return refusal
    tid, forum = (
        str(state.take_number("tieba/thread", FIRST_THREAD_ID)),
        request.form["kw"],
    )
    extra = {"forum": forum, "fid": get_forum_id(forum), "floor": 1}
    post = SimulatedPost(
        tid,
        "tieba",
        request.account,
        state.now(),
        title=request.form["title"],
        extra=extra,
    )
    return _create_post(state, request, post, tid, get_first_post_id(tid))


def add_reply(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Add a reply, or with `quote_id` a comment on a reply."""
    if refusal := _check_access(state, request):
        return refusal
    thread = state.posts.get(request.form.get("tid", ""))
    if thread is None or not is_thread(thread) or not can_see(thread, request.account):
        return refuse(request, POST_GONE_CODE)
    if str(thread.extra["fid"]) != request.form.get("fid"):
        return refuse(request, POST_GONE_CODE)
    quoted = request.form.get("quote_id", "")
    quoted = "" if quoted == "0" else quoted
    if quoted and quoted != get_first_post_id(thread.id):
        reply = state.posts.get(quoted)
        if (
            reply is None
            or reply.extra.get("thread") != thread.id
            or not can_see(reply, request.account)
        ):
            return refuse(request, POST_GONE_CODE)
    if refusal := _check_content(state, request):
        return refusal
    pid, extra = reserve_reply_id(state, thread, quoted)
    post = SimulatedPost(pid, "tieba", request.account, state.now(), extra=extra)
    return _create_post(state, request, post, thread.id, pid)


def _check_access(state: SimulatorState, request: ApiRequest) -> ApiResponse | None:
    return (
        check_signed_post(request)
        or check_tbs(state, request)
        or check_ban(state, request)
        or check_forum_access(state, request)
    )


def _check_content(state: SimulatorState, request: ApiRequest) -> ApiResponse | None:
    content, title = request.form.get("content", ""), request.form.get("title", "")
    if not content.strip():
        return refuse(request, "230020")
    if len(PICTURE_MARKUP.sub("", content)) > MAX_BODY_CHARACTERS:
        return refuse(request, "230046")
    if any(each in "<>" for each in content + title):  # the platform reads them as tags
        return refuse(
            request,
            "2000" if get_client_type(request) is ClientType.PC_SITE else "232000",
        )
    names = [match.group(1) for match in PICTURE_MARKUP.finditer(content)]
    if len(names) > MAX_PICTURES:
        return refuse(request, "230809")
    if not all(state.get_row("tieba_pictures", name) for name in names):
        return refuse(request, "230961")
    if words := [
        word for word in state.behaviour.tieba_words if word in title + content
    ]:
        return refuse(request, BAD_WORDS_CODE, words=words)
    return check_rate_limit(state, request)


def _create_post(
    state: SimulatorState, request: ApiRequest, post: SimulatedPost, tid: str, pid: str
) -> ApiResponse:
    """Add the post to the state and respond.

    An account with hidden posts gets a success as well.
    """
    post.text = request.form["content"]
    post.images = get_picture_digests(state, post.text)
    restrictions = get_restrictions(state, request.account)
    if restrictions.get("hide_stat"):
        post.extra["hidden"] = True
    state.create_post(request, post)
    if post.state == "review" and (request.get_fault("review") or {}).get("announce"):
        return refuse(request, IN_REVIEW_CODE)
    return make_created_response(request, tid, pid, restrictions)


def delete_thread(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    return _delete(
        state, request, state.posts.get(request.form.get("z", "")), is_reply=False
    )


def delete_reply(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Delete one reply or comment; the first post is deleted only with its thread."""
    post = state.posts.get(request.form.get("pid", ""))
    is_in_thread = post is not None and post.extra.get("thread") == request.form.get(
        "z"
    )
    return _delete(state, request, post if is_in_thread else None, is_reply=True)


def _delete(
    state: SimulatorState,
    request: ApiRequest,
    post: SimulatedPost | None,
    *,
    is_reply: bool,
) -> ApiResponse:
    refusal = check_signed_post(request) or check_tbs(state, request)
    if refusal:
        return refusal
    if (
        post is None
        or post.platform != "tieba"
        or is_thread(post) == is_reply
        or post.state == "removed"
    ):
        return refuse(request, POST_GONE_CODE)
    if post.account != request.account or request.form.get("fid") != str(
        post.extra["fid"]
    ):
        return refuse(request, NOT_ALLOWED_CODE)
    state.remove_post(post, "owner", request)
    return ApiResponse.from_json(
        {"error_code": "0", "error_msg": "", "ctime": 0, "logid": request.event_number}
    )


def upload_picture(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    refusal = check_signed_post(request, chunk=FILE_PLACEHOLDER) or check_tbs(
        state, request
    )
    if refusal:
        return refusal
    # the editor sends one chunk; an incomplete file counts as empty
    file = request.files.get("chunk")
    is_complete = (request.form.get("chunkNo"), request.form.get("isFinish")) == (
        "1",
        "1",
    )
    data = file.data if file and is_complete else b""
    kind = next(
        (kind for start, kind in FILE_SIGNATURES.items() if data.startswith(start)),
        None,
    )
    if kind is None or len(data) > MAX_PICTURE_BYTES:
        return refuse(request, "2230201")
    name = str(FIRST_PICTURE_ID + len(state.tables["tieba_pictures"]))
    digest = state.store_media(data)
    state.put_row(
        "tieba_pictures", name, {"sha256": digest, "account": request.account}
    )
    state.record_event("act", None, request)
    picture = {
        "width": request.form.get("width", "0"),
        "height": request.form.get("height", "0"),
        "type": kind,
        "picUrl": f"{PICTURE_HOST}/{digest}.{kind}",
    }
    return ApiResponse.from_json(
        {
            "error_code": "0",
            "error_msg": "sucess",
            "resourceId": request.form.get("resourceId", ""),
            "chunkNo": request.form.get("chunkNo", "1"),
            "picId": name,
            "picInfo": {"originPic": picture, "bigPic": picture, "smallPic": picture},
        }
    )
