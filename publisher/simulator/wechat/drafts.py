"""The draft box (developers.weixin.qq.com, draftbox/draftmanage)."""

import secrets
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import OK, refuse
from .html import clean
from .ids import media_id
from .tokens import Tokens

Article = dict[str, Any]
MOST_ARTICLES = 8
AUTHOR = 16
DIGEST = 128
OWN_DIGEST = 54
"""Without a digest that many first characters of the text stand in for it."""
CONTENT_CHARACTERS = 20_000
CONTENT_BYTES = 1024 * 1024
SOURCE_BYTES = 1024
MOST_LISTED = 20
KEPT = (
    "title",
    "author",
    "digest",
    "content",
    "content_source_url",
    "thumb_media_id",
    "show_cover_pic",
    "need_open_comment",
    "only_fans_can_comment",
)


class Drafts:
    def __init__(self, world: World, tokens: Tokens) -> None:
        self.world = world
        self._tokens = tokens

    def add(self, call: Call) -> Answer:
        refusal = self._tokens.refusal(call)
        if refusal:
            return refusal
        wanted = call.json()
        articles = wanted.get("articles") if wanted else None
        if wanted is None or not isinstance(articles, list) or not all(isinstance(each, dict) for each in articles):
            return refuse(call, 47001)
        if not articles:
            return refuse(call, 44003)
        if len(articles) > MOST_ARTICLES:
            return refuse(call, 45008)
        for article in articles:
            if code := self._fault_of(call, article):
                return refuse(call, code)
        return self._keep(call, [self._stored(article) for article in articles])

    def _fault_of(self, call: Call, article: Article) -> int | None:
        text = {name: str(article.get(name) or "") for name in KEPT}
        material = self.world.get("wechat_materials", text["thumb_media_id"])
        checks = (
            (not text["title"], 40035),
            (len(text["title"]) > self.world.settings.wechat_title_limit, 45003),
            (len(text["author"]) > AUTHOR, 45110),
            (len(text["digest"]) > DIGEST, 45004),
            (len(text["content_source_url"].encode()) > SOURCE_BYTES, 45005),
            (not text["content"], 44004),
            (len(text["content"]) >= CONTENT_CHARACTERS, 45002),
            (len(text["content"].encode("utf-8", "surrogatepass")) >= CONTENT_BYTES, 45002),
            (material is None or material["app_id"] != call.account, 40007),
        )
        code = next((code for wrong, code in checks if wrong), None)
        if code is None and clean(text["content"]) is None:
            return 45166
        return code

    def _stored(self, article: Article) -> Article:
        kept: Article = {name: article.get(name) or "" for name in KEPT}
        kept["content"] = clean(str(kept["content"])) or ""
        kept["digest"] = kept["digest"] or _first_words(str(kept["content"]))
        for flag in ("show_cover_pic", "need_open_comment", "only_fans_can_comment"):
            kept[flag] = int(article.get(flag) in (1, "1", True))
        return kept

    def _keep(self, call: Call, articles: list[Article]) -> Answer:
        now = self.world.now()
        name = media_id(secrets.token_hex(8))
        draft = {"app_id": call.account, "articles": articles, "create_time": int(now), "update_time": now}
        self.world.put("wechat_drafts", name, draft)
        self.world.note("act", None, call)
        return Answer.of({"media_id": name, "item": []})

    def of(self, call: Call, name: object) -> dict[str, Any] | None:
        """The caller's draft of that name, if it still stands in the box."""
        draft = self.world.get("wechat_drafts", str(name or ""))
        return draft if draft and draft["app_id"] == call.account else None

    def get(self, call: Call) -> Answer:
        refusal = self._tokens.refusal(call)
        if refusal:
            return refusal
        name = (call.json() or {}).get("media_id")
        draft = self.of(call, name)
        if draft is None:
            return refuse(call, 40007)
        return Answer.of(self._content(str(name), draft, no_content=False))

    def batch_get(self, call: Call) -> Answer:
        refusal = self._tokens.refusal(call)
        if refusal:
            return refusal
        wanted = call.json() or {}
        mine = [
            (name, each) for name, each in self.world.tables["wechat_drafts"].items() if each["app_id"] == call.account
        ]
        mine.sort(key=lambda pair: -float(pair[1]["update_time"]))
        if call.fault("empty_list"):
            mine = []
        if call.fault("reorder"):
            mine.reverse()
        start, count = page_of(wanted)
        items = [
            {
                "media_id": name,
                "content": self._content(name, draft, no_content=bool(wanted.get("no_content"))),
                "update_time": int(draft["update_time"]),
            }
            for name, draft in mine[start : start + count]
        ]
        return Answer.of({"total_count": len(mine), "item_count": len(items), "item": items})

    def delete(self, call: Call) -> Answer:
        refusal = self._tokens.refusal(call)
        if refusal:
            return refusal
        name = (call.json() or {}).get("media_id")
        if self.of(call, name) is None:
            return refuse(call, 40007)
        self.world.put("wechat_drafts", str(name), None)
        self.world.note("act", None, call)
        return Answer.of(OK)

    def count(self, call: Call) -> Answer:
        refusal = self._tokens.refusal(call, "GET")
        if refusal:
            return refusal
        drafts = self.world.tables["wechat_drafts"].values()
        return Answer.of({"total_count": sum(1 for each in drafts if each["app_id"] == call.account)})

    def _content(self, name: str, draft: dict[str, Any], *, no_content: bool) -> dict[str, Any]:
        items = [
            shown(
                article,
                self.world,
                f"http://mp.weixin.qq.com/s?__biz=preview&tempkey={name}&idx={index}",
                no_content=no_content,
            )
            for index, article in enumerate(draft["articles"], 1)
        ]
        return {"news_item": items, "create_time": draft["create_time"], "update_time": int(draft["update_time"])}


def shown(article: Article, world: World, url: str, *, no_content: bool) -> Article:
    material = world.get("wechat_materials", str(article.get("thumb_media_id") or ""))
    answer = {**article, "url": url, "thumb_url": material["url"] if material else ""}
    if no_content:
        answer.pop("content", None)
    return answer


def page_of(wanted: dict[str, Any]) -> tuple[int, int]:
    try:
        start, count = int(wanted.get("offset") or 0), int(wanted.get("count") or MOST_LISTED)
    except (TypeError, ValueError):
        return 0, MOST_LISTED
    return max(0, start), max(1, min(count, MOST_LISTED))


def _first_words(html: str) -> str:
    """The first characters of the text between the tags."""
    text, inside = [], False
    for each in html:
        if each in "<>":
            inside = each == "<"
        elif not inside and not each.isspace():
            text.append(each)
            if len(text) == OWN_DIGEST:
                break
    return "".join(text)
