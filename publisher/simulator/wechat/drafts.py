"""The draft box (developers.weixin.qq.com, draftbox/draftmanage)."""

import secrets
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .articles import ArticleValidator
from .ids import make_media_id
from .responses import OK_BODY, refuse

MAX_ARTICLES = 8
MAX_LIST_SIZE = 20


class DraftApi:
    def __init__(self, state: SimulatorState) -> None:
        self.state = state
        self.validator = ArticleValidator(state)
        state.review_listeners.append(self.remove_submitted)

    def add(self, request: ApiRequest) -> ApiResponse:
        fields = request.parse_json()
        articles = fields.get("articles") if fields else None
        if not isinstance(articles, list) or not all(isinstance(each, dict) for each in articles):
            return refuse(request, 47001)
        if not articles:
            return refuse(request, 44003)
        if len(articles) > MAX_ARTICLES:
            return refuse(request, 45008)
        for article in articles:
            if code := self.validator.find_error(request, article):
                return refuse(request, code)
        now, name = self.state.now(), make_media_id(secrets.token_hex(8))
        draft = {
            "app_id": request.account,
            "articles": [self.validator.normalize(article) for article in articles],
            "create_time": int(now),
            "update_time": now,
        }
        self.state.put_row("wechat_drafts", name, draft)
        self.state.record_event("act", None, request)
        return ApiResponse.from_json({"media_id": name, "item": []})

    def update(self, request: ApiRequest) -> ApiResponse:
        """Replace one article; in this call `articles` is the article itself, not a list."""
        fields = request.parse_json() or {}
        article, index = fields.get("articles"), fields.get("index", 0)
        draft = self.find(request, fields.get("media_id"))
        if not isinstance(article, dict):
            return refuse(request, 47001)
        if draft is None:
            return refuse(request, 40007)
        if not isinstance(index, int) or not 0 <= index < len(draft["articles"]):
            return refuse(request, 40035)
        code = 53401 if draft.get("submitted") else self.validator.find_error(request, article)
        if code:
            return refuse(request, code)
        articles = [*draft["articles"]]
        articles[index] = self.validator.normalize(article)
        changed = {**draft, "articles": articles, "update_time": self.state.now()}
        self.state.put_row("wechat_drafts", str(fields["media_id"]), changed)
        self.state.record_event("act", None, request)
        return ApiResponse.from_json(OK_BODY)

    def find(self, request: ApiRequest, name: object) -> dict[str, Any] | None:
        """Return the caller's draft of that name, if it is still in the draft box."""
        draft = self.state.get_row("wechat_drafts", str(name or ""))
        return draft if draft and draft["app_id"] == request.account else None

    def mark_submitted(self, name: str) -> None:
        """Remove an accepted draft; with `wechat_consume` at `finish`, only mark it until its job ends."""
        draft = self.state.get_row("wechat_drafts", name)
        stays = self.state.behaviour.wechat_consume == "finish"
        self.state.put_row("wechat_drafts", name, {**draft, "submitted": True} if draft and stays else None)

    def remove_submitted(self, post: SimulatedPost) -> None:
        name = post.extra.get("draft")
        if name and self.state.get_row("wechat_drafts", name):
            self.state.put_row("wechat_drafts", name, None)

    def get(self, request: ApiRequest) -> ApiResponse:
        name = (request.parse_json() or {}).get("media_id")
        draft = self.find(request, name)
        if draft is None:
            return refuse(request, 40007)
        return ApiResponse.from_json(self._format_draft(str(name), draft, no_content=False))

    def batch_get(self, request: ApiRequest) -> ApiResponse:
        fields = request.parse_json() or {}
        own = [
            (name, each)
            for name, each in self.state.tables["wechat_drafts"].items()
            if each["app_id"] == request.account
        ]
        own.sort(key=lambda pair: -float(pair[1]["update_time"]))
        if request.get_fault("empty_list"):
            own = []
        if request.get_fault("reorder"):
            own.reverse()
        start, count = parse_page(fields)
        items = [
            {
                "media_id": name,
                "content": self._format_draft(name, draft, no_content=bool(fields.get("no_content"))),
                "update_time": int(draft["update_time"]),
            }
            for name, draft in own[start : start + count]
        ]
        return ApiResponse.from_json({"total_count": len(own), "item_count": len(items), "item": items})

    def delete(self, request: ApiRequest) -> ApiResponse:
        name = (request.parse_json() or {}).get("media_id")
        draft = self.find(request, name)
        if draft is None:
            return refuse(request, 40007)
        if draft.get("submitted"):
            return refuse(request, 53401)
        self.state.put_row("wechat_drafts", str(name), None)
        self.state.record_event("act", None, request)
        return ApiResponse.from_json(OK_BODY)

    def count(self, request: ApiRequest) -> ApiResponse:
        drafts = self.state.tables["wechat_drafts"].values()
        return ApiResponse.from_json({"total_count": sum(1 for each in drafts if each["app_id"] == request.account)})

    def _format_draft(self, name: str, draft: dict[str, Any], *, no_content: bool) -> dict[str, Any]:
        preview = f"http://mp.weixin.qq.com/s?__biz=preview&tempkey={name}&idx="
        items = [
            self.validator.format_article(article, f"{preview}{index}", no_content=no_content)
            for index, article in enumerate(draft["articles"], 1)
        ]
        return {"news_item": items, "create_time": draft["create_time"], "update_time": int(draft["update_time"])}


def parse_page(fields: dict[str, Any]) -> tuple[int, int]:
    try:
        start, count = int(fields.get("offset") or 0), int(fields.get("count") or MAX_LIST_SIZE)
    except (TypeError, ValueError):
        return 0, MAX_LIST_SIZE
    return max(0, start), max(1, min(count, MAX_LIST_SIZE))
