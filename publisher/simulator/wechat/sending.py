"""Mass sends (developers.weixin.qq.com, Batch_Sends, api_sendall, api_masssend, api_massmsgget, api_deletemassmsg).

An accepted mass send is one post, public when its job has ended; no list ever shows it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.log import to_json
from publisher.simulator.world import Post, World

from .answers import OK, refuse
from .articles import Article
from .audience import OPEN_ID, Audience, Followers
from .drafts import Drafts
from .ids import article_url
from .media import Media
from .publishing import Publishing, delete_articles

FIRST_MESSAGE = 3_147_400_001
KEY_BYTES = 64
KEY_LASTS = 24 * 3600
KEY_RESTS = 60
"""Seconds in which a key may not be repeated."""
CONFIRMED_WITHIN = 30 * 60
STATES = {"review": "SENDING", "live": "SEND_SUCCESS", "refused": "SEND_FAIL", "removed": "DELETE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a mass send says: a draft's articles, a text, or pictures."""

    kind: str
    text: str = ""
    draft: str = ""
    articles: list[Article] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)


class Sending:
    def __init__(self, world: World, drafts: Drafts, media: Media, publishing: Publishing) -> None:
        self.world = world
        self.followers = Followers(world)
        self._drafts = drafts
        self._media = media
        self._publishing = publishing

    def send_all(self, call: Call) -> Answer:
        wanted = call.json()
        return self._send(call, wanted, self.followers.named(call, wanted)) if wanted else refuse(call, 47001)

    def send(self, call: Call) -> Answer:
        """To followers by name; service accounts only."""
        wanted = call.json()
        if self.world.settings.wechat_kind != "service":
            return refuse(call, 48001)
        return self._send(call, wanted, self.followers.listed(wanted)) if wanted else refuse(call, 47001)

    def _send(self, call: Call, wanted: Mapping[str, Any], audience: Audience | int) -> Answer:
        if isinstance(audience, int):
            return refuse(call, audience)
        key = str(wanted.get("clientmsgid") or "")
        if len(key.encode()) > KEY_BYTES:
            return refuse(call, 45067)
        key = f"{call.account}/{key or _digest_of(wanted, audience)}"
        content = self._content(call, wanted)
        accepts = self.world.settings.wechat_repeats == "accept"
        repeated = None if accepts else self._repeated(call, key)
        if repeated and (self.world.settings.wechat_mass_first == "key" or not isinstance(content, int)):
            return repeated
        if isinstance(content, int):
            return refuse(call, content)
        receivers = self.followers.receivers(call.account, audience)
        if receivers is None:
            return refuse(call, 45028)
        return self._accept(
            call,
            content,
            {"audience": audience.kind, "who": audience.who, "key": key, "total": audience.count, "sent": receivers},
        )

    def _repeated(self, call: Call, key: str) -> Answer | None:
        """What a known key is answered; the first mass send stays as it is."""
        known, now = self.world.get("wechat_keys", key), self.world.now()
        if known is None or now - known["at"] >= KEY_LASTS:
            return None
        if now - known["at"] < KEY_RESTS:
            return refuse(call, 45066)
        return refuse(call, 45065, msg_id=known["msg_id"])

    def _content(self, call: Call, wanted: Mapping[str, Any]) -> Content | int:
        kind = wanted.get("msgtype")
        said = wanted.get("images" if kind == "image" and "images" in wanted else str(kind))
        said = said if isinstance(said, dict) else {}
        if kind == "mpnews":
            return self._articles(call, said.get("media_id"))
        if kind == "text":
            return _text(str(said.get("content") or ""))
        if kind == "image":
            return self._pictures(call, said)
        return 40008

    def _articles(self, call: Call, name: object) -> Content | int:
        draft = self._drafts.of(call, name)
        is_taken = draft is not None and draft.get("submitted") and self.world.settings.wechat_repeats == "refuse"
        if draft is None or is_taken:
            return 40007 if name else 41006
        return Content(kind="mpnews", draft=str(name), articles=draft["articles"])

    def _pictures(self, call: Call, said: Mapping[str, Any]) -> Content | int:
        """`images.media_ids` by the newer pages, `image.media_id` by the older."""
        listed = said.get("media_ids")
        names = [str(name) for name in (listed if isinstance(listed, list) else [said.get("media_id") or ""]) if name]
        found = [self._media.owned(call, name) or self._media.temporary(call, name) for name in names]
        if not found:
            return 41006
        digests = [each["sha256"] for each in found if each]
        if len(digests) < len(found):
            return 40007
        return Content(kind="image", text=str(said.get("recommend") or ""), pictures=digests)

    def _accept(self, call: Call, content: Content, mass: dict[str, Any]) -> Answer:
        number = self._next_message()
        post = self._post(call, content, str(number))
        post.extra |= {"mass": {**mass, "msg_id": number, "kind": content.kind}}
        if self.world.settings.wechat_mass_confirm and mass["audience"] == "all":
            due = post.created + CONFIRMED_WITHIN
            post.review = {"due": due, "verdict": "refuse", "confirm_until": due}
        self.world.create(call, post)
        if content.draft:
            self._drafts.take(content.draft)
        self.world.put("wechat_keys", mass["key"], {"msg_id": number, "at": self.world.now()})
        told = {**OK, "errmsg": "send job submission success", "msg_id": number}
        return Answer.of(told | ({"msg_data_id": post.extra["publish_id"]} if content.draft else {}))

    def _post(self, call: Call, content: Content, name: str) -> Post:
        if content.draft:
            return self._publishing.made(call, content.draft, content.articles, name)
        html = f"<p>{escape(content.text)}</p>"
        only = {"title": "", "digest": content.text, "content": html, "pictures": content.pictures}
        post = self._publishing.made(call, "", [only], name)
        post.images, post.extra["articles"] = content.pictures, [only]
        return post

    def _next_message(self) -> int:
        counter = self.world.get("wechat_counter", "messages") or {"next": FIRST_MESSAGE}
        self.world.put("wechat_counter", "messages", {"next": counter["next"] + 1})
        return int(counter["next"])

    # --- afterwards ---

    def _found(self, call: Call, name: object) -> Post | None:
        post = self.world.posts.get(str(name or ""))
        owned = post is not None and (post.platform, post.account) == ("wechat", call.account)
        return post if post and owned and "mass" in post.extra else None

    def get(self, call: Call) -> Answer:
        post = self._found(call, (call.json() or {}).get("msg_id"))
        if post is None:
            return refuse(call, 40059)
        state = self.world.seen(call, post).state
        return Answer.of({"msg_id": post.extra["mass"]["msg_id"], "msg_status": STATES[state]})

    def delete(self, call: Call) -> Answer:
        """Articles of a mass send that succeeded, by number or address; the page goes, the card stays."""
        wanted = call.json() or {}
        post, index = self._found(call, wanted.get("msg_id")), wanted.get("article_idx") or 0
        if not wanted.get("msg_id") and wanted.get("url"):
            post, index = self._by_address(call, str(wanted["url"]))
        if post is None or post.extra["mass"]["kind"] != "mpnews" or post.state not in ("live", "removed"):
            return refuse(call, 40059)
        if not isinstance(index, int) or not 0 <= index <= len(post.extra["articles"]):
            return refuse(call, 40060)
        delete_articles(self.world, call, post, index)
        return Answer.of(OK)

    def _by_address(self, call: Call, address: str) -> tuple[Post | None, int]:
        for post in self.world.of("wechat", call.account):
            for index in range(1, len(post.extra["articles"]) + 1) if "mass" in post.extra else ():
                if article_url(post.account, post.extra["publish_id"], index) == address:
                    return post, index
        return None, 0

    def preview(self, call: Call) -> Answer:
        """To one person, by WeChat name or open id; the draft stays."""
        wanted = call.json() or {}
        name = wanted.get("towxname") or wanted.get("touser")
        if not name or (not wanted.get("towxname") and len(str(name)) != OPEN_ID):
            return refuse(call, 40003)
        content = self._content(call, wanted)
        if isinstance(content, int):
            return refuse(call, content)
        self.world.note("act", None, call)
        return Answer.of({**OK, "errmsg": "preview success", "msg_id": self._next_message()})


def _text(content: str) -> Content | int:
    """A plain text; links to pages elsewhere are refused."""
    if not content:
        return 44004
    foreign = "<a " in content.lower() and "mp.weixin.qq.com" not in content
    return 40066 if foreign else Content(kind="text", text=content)


def _digest_of(wanted: Mapping[str, Any], audience: Audience) -> str:
    """What stands in for a key that is not given: audience and content."""
    said = {name: value for name, value in wanted.items() if name not in ("filter", "touser")}
    return hashlib.sha256(to_json([audience.kind, audience.who, said])).hexdigest()
