"""Mass sends.

The sources are developers.weixin.qq.com, Batch_Sends, api_sendall, api_masssend, api_massmsgget and
api_deletemassmsg. An accepted mass send is one post. It becomes public when its job ends, and no
list ever shows it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from publisher.simulator.log import to_json
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .drafts import Article, find_draft, mark_submitted
from .followers import (
    OPEN_ID_LENGTH,
    MassAudience,
    count_receivers,
    parse_filter,
    parse_open_ids,
)
from .publish import build_post, take_number
from .responses import OK_BODY, refuse

FIRST_MESSAGE_ID = 3_147_400_001
MAX_KEY_BYTES = 64
KEY_LIFETIME_SECONDS = 24 * 3600
KEY_RETRY_SECONDS = 60
"""A key repeated within this time is refused as a retry that came too fast."""
STATUS_BY_STATE = {
    "review": "SENDING",
    "live": "SEND_SUCCESS",
    "refused": "SEND_FAIL",
    "removed": "DELETE",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MassSendContent:
    """The content of a mass send: a draft's articles, or a text as an article without a draft."""

    kind: str
    draft: str
    articles: list[Article]


def send_all(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    fields = request.parse_json()
    return (
        _send(state, request, fields, parse_filter(state, request, fields))
        if fields
        else refuse(request, 47001)
    )


def send_to_list(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Send to followers by open id; service accounts only."""
    if state.behaviour.wechat_kind != "service":
        return refuse(request, 48001)
    fields = request.parse_json()
    return (
        _send(state, request, fields, parse_open_ids(fields))
        if fields
        else refuse(request, 47001)
    )


def _send(
    state: SimulatorState,
    request: ApiRequest,
    fields: Mapping[str, Any],
    audience: MassAudience | int,
) -> ApiResponse:
    if isinstance(audience, int):
        return refuse(request, audience)
    key = str(fields.get("clientmsgid") or "")
    if len(key.encode()) > MAX_KEY_BYTES:
        return refuse(request, 45067)
    if not key:  # audience and content stand in for a missing key
        message = {
            name: value
            for name, value in fields.items()
            if name not in ("filter", "touser")
        }
        key = hashlib.sha256(
            to_json([audience.kind, audience.key, message])
        ).hexdigest()
    key = f"{request.account}/{key}"
    if refusal := _check_repeated_key(state, request, key):
        return refusal
    content = _parse_content(state, request, fields)
    if isinstance(content, int):
        return refuse(request, content)
    receivers = count_receivers(state, request.account, audience)
    if receivers is None:
        return refuse(request, 45028)
    number = take_number(state, "messages", FIRST_MESSAGE_ID)
    post = build_post(state, request, content.draft, content.articles, str(number))
    post.extra["mass"] = {
        "audience": audience.kind,
        "who": audience.key,
        "key": key,
        "total": audience.count,
        "sent": receivers,
        "msg_id": number,
        "kind": content.kind,
    }
    state.create_post(request, post)
    if content.draft:
        mark_submitted(state, content.draft)
    state.put_row("wechat_keys", key, {"msg_id": number, "at": state.now()})
    body = {**OK_BODY, "errmsg": "send job submission success", "msg_id": number}
    return ApiResponse.from_json(
        body | ({"msg_data_id": post.extra["publish_id"]} if content.draft else {})
    )


def _check_repeated_key(
    state: SimulatorState, request: ApiRequest, key: str
) -> ApiResponse | None:
    """Refuse a known key for a day; the first mass send stays as it is."""
    if state.behaviour.wechat_repeats == "accept":
        return None
    known, now = state.get_row("wechat_keys", key), state.now()
    if known is None or now - known["at"] >= KEY_LIFETIME_SECONDS:
        return None
    if now - known["at"] < KEY_RETRY_SECONDS:
        return refuse(request, 45066)
    return refuse(request, 45065, msg_id=known["msg_id"])


def _parse_content(
    state: SimulatorState, request: ApiRequest, fields: Mapping[str, Any]
) -> MassSendContent | int:
    """Return the content or an error code."""
    kind = fields.get("msgtype")
    message = fields.get(str(kind))
    message = message if isinstance(message, dict) else {}
    if kind == "mpnews":
        name = message.get("media_id")
        draft = find_draft(state, request, name)
        if draft is None or (
            draft.get("submitted") and state.behaviour.wechat_repeats == "refuse"
        ):
            return 40007 if name else 41006
        return MassSendContent(
            kind="mpnews", draft=str(name), articles=draft["articles"]
        )
    if kind != "text":
        return 40008
    text = str(message.get("content") or "")
    if not text:
        return 44004
    if "<a " in text.lower() and "mp.weixin.qq.com" not in text:
        return 40066
    article = {"title": "", "digest": text, "content": f"<p>{escape(text)}</p>"}
    return MassSendContent(kind="text", draft="", articles=[article])


def _find_mass_send(state: SimulatorState, request: ApiRequest) -> SimulatedPost | None:
    post = state.posts.get(str(request.get_json("msg_id") or ""))
    owned = post is not None and (post.platform, post.account) == (
        "wechat",
        request.account,
    )
    return post if post and owned and "mass" in post.extra else None


def get_mass_send(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    post = _find_mass_send(state, request)
    if post is None:
        return refuse(request, 40059)
    status = STATUS_BY_STATE[state.apply_read_faults(request, post).state]
    return ApiResponse.from_json(
        {"msg_id": post.extra["mass"]["msg_id"], "msg_status": status}
    )


def delete_mass_send(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Delete all articles of a mass send; the page disappears, the card in the chat stays."""
    post = _find_mass_send(state, request)
    if (
        post is None
        or post.extra["mass"]["kind"] != "mpnews"
        or post.state not in ("live", "removed")
    ):
        return refuse(request, 40059)
    if post.state == "live":
        state.remove_post(post, "owner", request)
    return ApiResponse.from_json(OK_BODY)


def send_preview(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Send to one person, by WeChat name or open id; the draft stays."""
    fields = request.parse_json() or {}
    name = fields.get("towxname") or fields.get("touser")
    if not name or (not fields.get("towxname") and len(str(name)) != OPEN_ID_LENGTH):
        return refuse(request, 40003)
    content = _parse_content(state, request, fields)
    if isinstance(content, int):
        return refuse(request, content)
    state.record_event("act", None, request)
    number = take_number(state, "messages", FIRST_MESSAGE_ID)
    return ApiResponse.from_json(
        {**OK_BODY, "errmsg": "preview success", "msg_id": number}
    )
