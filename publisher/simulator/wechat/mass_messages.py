"""Mass sends (developers.weixin.qq.com, Batch_Sends, api_sendall, api_masssend, api_massmsgget, api_deletemassmsg).

An accepted mass send is one post, which becomes public when its job ends; no list ever shows it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from publisher.simulator.log import to_json
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .articles import Article
from .drafts import DraftApi
from .followers import OPEN_ID_LENGTH, Audience, FollowerApi
from .publish import PublishApi
from .responses import OK_BODY, refuse

FIRST_MESSAGE_ID = 3_147_400_001
MAX_KEY_BYTES = 64
KEY_LIFETIME_SECONDS = 24 * 3600
KEY_RETRY_SECONDS = 60
"""A key repeated within this time is refused as a retry that came too fast."""
STATUS_BY_STATE = {"review": "SENDING", "live": "SEND_SUCCESS", "refused": "SEND_FAIL", "removed": "DELETE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MassSendContent:
    """The content of a mass send: a draft's articles, or a text as an article without a draft."""

    kind: str
    draft: str
    articles: list[Article]


class MassSendApi:
    def __init__(self, state: SimulatorState, drafts: DraftApi, publish_api: PublishApi) -> None:
        self.state = state
        self.followers = FollowerApi(state)
        self._drafts = drafts
        self._publish_api = publish_api

    def send_all(self, request: ApiRequest) -> ApiResponse:
        fields = request.parse_json()
        if not fields:
            return refuse(request, 47001)
        return self._send(request, fields, self.followers.parse_filter(request, fields))

    def send(self, request: ApiRequest) -> ApiResponse:
        """Send to followers by open id; service accounts only."""
        fields = request.parse_json()
        if self.state.behaviour.wechat_kind != "service":
            return refuse(request, 48001)
        if not fields:
            return refuse(request, 47001)
        return self._send(request, fields, self.followers.parse_open_ids(fields))

    def _send(self, request: ApiRequest, fields: Mapping[str, Any], audience: Audience | int) -> ApiResponse:
        if isinstance(audience, int):
            return refuse(request, audience)
        key = str(fields.get("clientmsgid") or "")
        if len(key.encode()) > MAX_KEY_BYTES:
            return refuse(request, 45067)
        if not key:  # audience and content stand in for a missing key
            message = {name: value for name, value in fields.items() if name not in ("filter", "touser")}
            key = hashlib.sha256(to_json([audience.kind, audience.key, message])).hexdigest()
        key = f"{request.account}/{key}"
        if refusal := self._check_repeated_key(request, key):
            return refusal
        content = self._parse_content(request, fields)
        if isinstance(content, int):
            return refuse(request, content)
        receivers = self.followers.count_receivers(request.account, audience)
        if receivers is None:
            return refuse(request, 45028)
        mass = {"audience": audience.kind, "who": audience.key, "key": key, "total": audience.count, "sent": receivers}
        return self._accept(request, content, mass)

    def _check_repeated_key(self, request: ApiRequest, key: str) -> ApiResponse | None:
        """Refuse a known key for a day; the first mass send stays as it is."""
        if self.state.behaviour.wechat_repeats == "accept":
            return None
        known, now = self.state.get_row("wechat_keys", key), self.state.now()
        if known is None or now - known["at"] >= KEY_LIFETIME_SECONDS:
            return None
        if now - known["at"] < KEY_RETRY_SECONDS:
            return refuse(request, 45066)
        return refuse(request, 45065, msg_id=known["msg_id"])

    def _parse_content(self, request: ApiRequest, fields: Mapping[str, Any]) -> MassSendContent | int:
        """Return the content or an error code."""
        kind = fields.get("msgtype")
        message = fields.get(str(kind))
        message = message if isinstance(message, dict) else {}
        if kind == "mpnews":
            name = message.get("media_id")
            draft = self._drafts.find(request, name)
            if draft is None or (draft.get("submitted") and self.state.behaviour.wechat_repeats == "refuse"):
                return 40007 if name else 41006
            return MassSendContent(kind="mpnews", draft=str(name), articles=draft["articles"])
        if kind != "text":
            return 40008
        text = str(message.get("content") or "")
        if not text:
            return 44004
        if "<a " in text.lower() and "mp.weixin.qq.com" not in text:
            return 40066
        article = {"title": "", "digest": text, "content": f"<p>{escape(text)}</p>"}
        return MassSendContent(kind="text", draft="", articles=[article])

    def _accept(self, request: ApiRequest, content: MassSendContent, mass: dict[str, Any]) -> ApiResponse:
        number = self._make_message_id()
        post = self._publish_api.build_post(request, content.draft, content.articles, str(number))
        post.extra |= {"mass": {**mass, "msg_id": number, "kind": content.kind}}
        self.state.create_post(request, post)
        if content.draft:
            self._drafts.mark_submitted(content.draft)
        self.state.put_row("wechat_keys", mass["key"], {"msg_id": number, "at": self.state.now()})
        body = {**OK_BODY, "errmsg": "send job submission success", "msg_id": number}
        return ApiResponse.from_json(body | ({"msg_data_id": post.extra["publish_id"]} if content.draft else {}))

    def _make_message_id(self) -> int:
        counter = self.state.get_row("wechat_counter", "messages") or {"next": FIRST_MESSAGE_ID}
        self.state.put_row("wechat_counter", "messages", {"next": counter["next"] + 1})
        return int(counter["next"])

    # --- afterwards ---

    def _find_mass_send(self, request: ApiRequest, name: object) -> SimulatedPost | None:
        post = self.state.posts.get(str(name or ""))
        owned = post is not None and (post.platform, post.account) == ("wechat", request.account)
        return post if post and owned and "mass" in post.extra else None

    def get(self, request: ApiRequest) -> ApiResponse:
        post = self._find_mass_send(request, (request.parse_json() or {}).get("msg_id"))
        if post is None:
            return refuse(request, 40059)
        state = self.state.apply_read_faults(request, post).state
        return ApiResponse.from_json({"msg_id": post.extra["mass"]["msg_id"], "msg_status": STATUS_BY_STATE[state]})

    def delete(self, request: ApiRequest) -> ApiResponse:
        """Delete all articles of a mass send; the page disappears, the card in the chat stays."""
        post = self._find_mass_send(request, (request.parse_json() or {}).get("msg_id"))
        if post is None or post.extra["mass"]["kind"] != "mpnews" or post.state not in ("live", "removed"):
            return refuse(request, 40059)
        if post.state == "live":
            self.state.remove_post(post, "owner", request)
        return ApiResponse.from_json(OK_BODY)

    def preview(self, request: ApiRequest) -> ApiResponse:
        """Send to one person, by WeChat name or open id; the draft stays."""
        fields = request.parse_json() or {}
        name = fields.get("towxname") or fields.get("touser")
        if not name or (not fields.get("towxname") and len(str(name)) != OPEN_ID_LENGTH):
            return refuse(request, 40003)
        content = self._parse_content(request, fields)
        if isinstance(content, int):
            return refuse(request, content)
        self.state.record_event("act", None, request)
        return ApiResponse.from_json({**OK_BODY, "errmsg": "preview success", "msg_id": self._make_message_id()})
