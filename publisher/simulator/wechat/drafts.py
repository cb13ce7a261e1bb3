"""The draft box (developers.weixin.qq.com, draftbox/draftmanage)."""

import secrets
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import OK, refuse
from .articles import Article, Desk
from .ids import media_id

MOST_ARTICLES = 8
MOST_LISTED = 20


class Drafts:
    def __init__(self, world: World) -> None:
        self.world = world
        self.desk = Desk(world)
        world.ended_reviews.append(self._consume)

    def add(self, call: Call) -> Answer:
        wanted = call.json()
        articles = wanted.get("articles") if wanted else None
        if not isinstance(articles, list) or not all(isinstance(each, dict) for each in articles):
            return refuse(call, 47001)
        if not articles:
            return refuse(call, 44003)
        if len(articles) > MOST_ARTICLES:
            return refuse(call, 45008)
        for article in articles:
            if code := self.desk.fault_of(call, article):
                return refuse(call, code)
        return self._keep(call, [self.desk.stored(article) for article in articles])

    def _keep(self, call: Call, articles: list[Article]) -> Answer:
        now = self.world.now()
        name = media_id(secrets.token_hex(8))
        draft = {"app_id": call.account, "articles": articles, "create_time": int(now), "update_time": now}
        self.world.put("wechat_drafts", name, draft)
        self.world.note("act", None, call)
        return Answer.of({"media_id": name, "item": []})

    def update(self, call: Call) -> Answer:
        """Put one article in another's place; here `articles` is the article itself, no list."""
        wanted = call.json() or {}
        article, index, draft = wanted.get("articles"), wanted.get("index", 0), self.of(call, wanted.get("media_id"))
        if not isinstance(article, dict):
            return refuse(call, 47001)
        if draft is None:
            return refuse(call, 40007)
        if not isinstance(index, int) or not 0 <= index < len(draft["articles"]):
            return refuse(call, 40035)
        code = 53401 if draft.get("submitted") else self.desk.fault_of(call, article)
        if code:
            return refuse(call, code)
        articles = [*draft["articles"]]
        articles[index] = self.desk.stored(article)
        changed = {**draft, "articles": articles, "update_time": self.world.now()}
        self.world.put("wechat_drafts", str(wanted["media_id"]), changed)
        self.world.note("act", None, call)
        return Answer.of(OK)

    def of(self, call: Call, name: object) -> dict[str, Any] | None:
        """The caller's draft of that name, if it still stands in the box."""
        draft = self.world.get("wechat_drafts", str(name or ""))
        return draft if draft and draft["app_id"] == call.account else None

    def take(self, name: str) -> None:
        """A draft was accepted for the public: it goes, or where it stays until its job has ended, it is marked."""
        draft = self.world.get("wechat_drafts", name)
        stays = self.world.settings.wechat_consume == "finish"
        self.world.put("wechat_drafts", name, {**draft, "submitted": True} if draft and stays else None)

    def _consume(self, post: Post) -> None:
        name = post.extra.get("draft")
        if name and self.world.get("wechat_drafts", name):
            self.world.put("wechat_drafts", name, None)

    def get(self, call: Call) -> Answer:
        name = (call.json() or {}).get("media_id")
        draft = self.of(call, name)
        if draft is None:
            return refuse(call, 40007)
        return Answer.of(self._content(str(name), draft, no_content=False))

    def batch_get(self, call: Call) -> Answer:
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
        name = (call.json() or {}).get("media_id")
        draft = self.of(call, name)
        if draft is None:
            return refuse(call, 40007)
        if draft.get("submitted"):
            return refuse(call, 53401)
        self.world.put("wechat_drafts", str(name), None)
        self.world.note("act", None, call)
        return Answer.of(OK)

    def count(self, call: Call) -> Answer:
        drafts = self.world.tables["wechat_drafts"].values()
        return Answer.of({"total_count": sum(1 for each in drafts if each["app_id"] == call.account)})

    def _content(self, name: str, draft: dict[str, Any], *, no_content: bool) -> dict[str, Any]:
        preview = f"http://mp.weixin.qq.com/s?__biz=preview&tempkey={name}&idx="
        items = [
            self.desk.shown(article, f"{preview}{index}", no_content=no_content)
            for index, article in enumerate(draft["articles"], 1)
        ]
        return {"news_item": items, "create_time": draft["create_time"], "update_time": int(draft["update_time"])}


def page_of(wanted: dict[str, Any]) -> tuple[int, int]:
    try:
        start, count = int(wanted.get("offset") or 0), int(wanted.get("count") or MOST_LISTED)
    except (TypeError, ValueError):
        return 0, MOST_LISTED
    return max(0, start), max(1, min(count, MOST_LISTED))
