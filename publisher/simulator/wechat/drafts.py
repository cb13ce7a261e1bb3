"""The draft box and the validation of its articles.

The sources are developers.weixin.qq.com, draftbox/draftmanage and api_draft_add. There are two
types of articles: `news`, HTML text with a cover, and `newspic`, pictures with plain text. If the
page and users disagree about a limit, the users' wider limit applies.
"""

import re
import secrets
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .html import sanitise
from .media import find_material
from .responses import OK_BODY, find_pictures, make_media_id, parse_page, refuse

Article = dict[str, Any]
Checks = tuple[tuple[bool, int], ...]
"""Conditions in the platform's order, each with the error code if it is true."""
MAX_ARTICLES = 8
NEWS_TYPE, PICTURES_TYPE = "news", "newspic"
MAX_TITLE_LENGTH = 64
MAX_AUTHOR_LENGTH = 16
MAX_DIGEST_LENGTH = 128
DEFAULT_DIGEST_LENGTH = 54
"""An article without a digest gets this many characters of its text."""
MAX_CONTENT_CHARACTERS = 20_000
MAX_CONTENT_BYTES = 1024 * 1024
MAX_SOURCE_URL_BYTES = 1024
MAX_PICTURE_TITLE_LENGTH = 20
MAX_PICTURE_TEXT_LENGTH = 1000
MAX_PICTURES = 20
MIN_COVER_PIXELS = 10
"""Least width of a cover: one pixel is too small, 600 are enough.

The value between them is our choice.
"""
TEXT_FIELDS = (
    "title",
    "author",
    "digest",
    "content",
    "content_source_url",
    "thumb_media_id",
)
CROP_RATIOS = {"pic_crop_235_1": 2.35, "pic_crop_1_1": 1.0}
"""The fields that cut the cover, and the width to height of each."""
CROP = re.compile(
    r"(?:0(?:\.\d{1,6})?|1(?:\.0{1,6})?)(?:_(?:0(?:\.\d{1,6})?|1(?:\.0{1,6})?)){3}"
)
"""Two corners `X1_Y1_X2_Y2`: fractions of the picture with six digits at most."""
MAX_RATIO_ERROR = 0.02
FLAG_FIELDS = ("show_cover_pic", "need_open_comment", "only_fans_can_comment")


def add_draft(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    fields = request.parse_json()
    articles = fields.get("articles") if fields else None
    if not isinstance(articles, list) or not all(
        isinstance(each, dict) for each in articles
    ):
        return refuse(request, 47001)
    if not articles:
        return refuse(request, 44003)
    if len(articles) > MAX_ARTICLES:
        return refuse(request, 45008)
    for article in articles:
        if code := _find_error(state, request, article):
            return refuse(request, code)
    now, name = state.now(), make_media_id(secrets.token_hex(8))
    draft = {
        "app_id": request.account,
        "articles": [_normalize(article) for article in articles],
        "create_time": int(now),
        "update_time": now,
    }
    state.put_row("wechat_drafts", name, draft)
    state.record_event("act", None, request)
    return ApiResponse.from_json({"media_id": name, "item": []})


def update_draft(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Replace one article; in this call `articles` is the article itself, not a list."""
    fields = request.parse_json() or {}
    article, index = fields.get("articles"), fields.get("index", 0)
    draft = find_draft(state, request, fields.get("media_id"))
    if not isinstance(article, dict):
        return refuse(request, 47001)
    if draft is None:
        return refuse(request, 40007)
    if not isinstance(index, int) or not 0 <= index < len(draft["articles"]):
        return refuse(request, 40035)
    code = 53401 if draft.get("submitted") else _find_error(state, request, article)
    if code:
        return refuse(request, code)
    articles = [*draft["articles"]]
    articles[index] = _normalize(article)
    changed = {**draft, "articles": articles, "update_time": state.now()}
    state.put_row("wechat_drafts", str(fields["media_id"]), changed)
    state.record_event("act", None, request)
    return ApiResponse.from_json(OK_BODY)


def find_draft(
    state: SimulatorState, request: ApiRequest, name: object
) -> dict[str, Any] | None:
    """Return the caller's draft of that name, if it is still in the draft box."""
    draft = state.get_row("wechat_drafts", str(name or ""))
    return draft if draft and draft["app_id"] == request.account else None


def mark_submitted(state: SimulatorState, name: str) -> None:
    """Remove an accepted draft.

    With `wechat_consume` at `finish`, only mark it until its job ends.
    """
    draft = state.get_row("wechat_drafts", name)
    stays = state.behaviour.wechat_consume == "finish"
    state.put_row(
        "wechat_drafts", name, {**draft, "submitted": True} if draft and stays else None
    )


def remove_submitted(state: SimulatorState, post: SimulatedPost) -> None:
    name = post.extra.get("draft")
    if name and state.get_row("wechat_drafts", name):
        state.put_row("wechat_drafts", name, None)


def get_draft(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    name = request.get_json("media_id")
    draft = find_draft(state, request, name)
    if draft is None:
        return refuse(request, 40007)
    return ApiResponse.from_json(
        _format_draft(state, str(name), draft, no_content=False)
    )


def batch_get_drafts(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    fields = request.parse_json() or {}
    own = [
        (name, each)
        for name, each in state.tables["wechat_drafts"].items()
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
            "content": _format_draft(
                state, name, draft, no_content=bool(fields.get("no_content"))
            ),
            "update_time": int(draft["update_time"]),
        }
        for name, draft in own[start : start + count]
    ]
    return ApiResponse.from_json(
        {"total_count": len(own), "item_count": len(items), "item": items}
    )


def delete_draft(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    name = request.get_json("media_id")
    draft = find_draft(state, request, name)
    if draft is None:
        return refuse(request, 40007)
    if draft.get("submitted"):
        return refuse(request, 53401)
    state.put_row("wechat_drafts", str(name), None)
    state.record_event("act", None, request)
    return ApiResponse.from_json(OK_BODY)


def count_drafts(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    drafts = state.tables["wechat_drafts"].values()
    return ApiResponse.from_json(
        {"total_count": sum(1 for each in drafts if each["app_id"] == request.account)}
    )


def _format_draft(
    state: SimulatorState, name: str, draft: dict[str, Any], *, no_content: bool
) -> dict[str, Any]:
    preview = f"http://mp.weixin.qq.com/s?__biz=preview&tempkey={name}&idx="
    items = [
        format_article(state, article, f"{preview}{index}", no_content=no_content)
        for index, article in enumerate(draft["articles"], 1)
    ]
    return {
        "news_item": items,
        "create_time": draft["create_time"],
        "update_time": int(draft["update_time"]),
    }


def _find_error(
    state: SimulatorState, request: ApiRequest, article: Article
) -> int | None:
    """Return the error code that refuses this article, or None."""
    kind = article.get("article_type") or NEWS_TYPE
    if kind not in (NEWS_TYPE, PICTURES_TYPE):
        return 40035
    checks = (
        _check_news(state, request, article)
        if kind == NEWS_TYPE
        else _check_pictures(state, request, article)
    )
    return next((code for is_wrong, code in checks if is_wrong), None)


def _check_news(state: SimulatorState, request: ApiRequest, article: Article) -> Checks:
    text = {name: str(article.get(name) or "") for name in TEXT_FIELDS}
    return (
        (not text["title"], 40035),
        (len(text["title"]) > MAX_TITLE_LENGTH, 45003),
        (len(text["author"]) > MAX_AUTHOR_LENGTH, 45110),
        (len(text["digest"]) > MAX_DIGEST_LENGTH, 45004),
        (len(text["content_source_url"].encode()) > MAX_SOURCE_URL_BYTES, 45005),
        (not text["content"], 44004),
        (len(text["content"]) >= MAX_CONTENT_CHARACTERS, 45002),
        (
            len(text["content"].encode("utf-8", "surrogatepass")) >= MAX_CONTENT_BYTES,
            45002,
        ),
        (find_material(state, request, text["thumb_media_id"]) is None, 40007),
        (not _is_valid_cover(state, text["thumb_media_id"]), 53402),
        (not all(_is_valid_crop(state, article, name) for name in CROP_RATIOS), 53402),
        (sanitise(text["content"]) is None, 45166),
    )


def _check_pictures(
    state: SimulatorState, request: ApiRequest, article: Article
) -> Checks:
    title, content = str(article.get("title") or ""), str(article.get("content") or "")
    names = _get_picture_ids(article)
    return (
        (not title, 40035),
        (len(title) > MAX_PICTURE_TITLE_LENGTH, 45003),
        (not content, 44004),
        (len(content) > MAX_PICTURE_TEXT_LENGTH, 45002),
        (not names, 41006),
        (len(names) > MAX_PICTURES, 40035),
        (any(find_material(state, request, name) is None for name in names), 40007),
        (not all(_is_valid_cover(state, name) for name in names[:1]), 53402),
    )


def _normalize(article: Article) -> Article:
    """Return an article as the draft box stores it."""
    stored: Article
    if article.get("article_type") == PICTURES_TYPE:
        stored = {
            "article_type": PICTURES_TYPE,
            "title": article["title"],
            "content": article["content"],
            "digest": str(article["content"])[:DEFAULT_DIGEST_LENGTH],
            "image_info": {
                "image_list": [
                    {"image_media_id": name} for name in _get_picture_ids(article)
                ]
            },
        }
    else:
        stored = {
            "article_type": NEWS_TYPE,
            **{name: article.get(name) or "" for name in TEXT_FIELDS},
            **{name: article[name] for name in CROP_RATIOS if article.get(name)},
        }
        stored["content"] = sanitise(str(stored["content"])) or ""
        stored["digest"] = stored["digest"] or _extract_digest(str(stored["content"]))
    return stored | {
        flag: int(article.get(flag) in (1, "1", True)) for flag in FLAG_FIELDS
    }


def get_picture_digests(state: SimulatorState, article: Article) -> list[str]:
    """Return the digests of an article's pictures, the cover first."""
    names = _get_picture_ids(article) or [str(article.get("thumb_media_id") or "")]
    materials = [state.get_row("wechat_materials", name) for name in names]
    inside = (
        find_pictures(str(article["content"]))
        if article.get("article_type") != PICTURES_TYPE
        else []
    )
    return [str(each["sha256"]) for each in materials if each] + inside


def format_article(
    state: SimulatorState, article: Article, url: str, *, no_content: bool
) -> Article:
    """Return an article as drafts and lists show it."""
    material = state.get_row(
        "wechat_materials", str(article.get("thumb_media_id") or "")
    )
    hidden = ("pictures", "content") if no_content else ("pictures",)
    response = {
        **{name: value for name, value in article.items() if name not in hidden},
        "url": url,
    }
    if article.get("article_type") != PICTURES_TYPE:
        response["thumb_url"] = material["url"] if material else ""
    return response


def _is_valid_cover(state: SimulatorState, name: str) -> bool:
    found = state.get_row("wechat_materials", name) or {}
    size = found.get("size")
    return size is None or min(size) >= MIN_COVER_PIXELS


def _is_valid_crop(state: SimulatorState, article: Article, name: str) -> bool:
    """Return True if a crop is missing, or is a part of the cover with the ratio of its field.

    The platform's page shows the form of the value only. To refuse other ratios is our choice: the
    real one would stretch or cut them once more.
    """
    text = article.get(name) or ""
    if not text:
        return True
    if not isinstance(text, str) or CROP.fullmatch(text) is None:
        return False
    left, top, right, bottom = map(float, text.split("_"))
    if left >= right or top >= bottom:
        return False
    material = state.get_row("wechat_materials", str(article.get("thumb_media_id")))
    if not material or material.get("size") is None:
        return True
    width, height = material["size"]
    ratio: float = (right - left) * width / ((bottom - top) * height)
    return abs(ratio / CROP_RATIOS[name] - 1) <= MAX_RATIO_ERROR


def _get_picture_ids(article: Article) -> list[str]:
    """The names of a `newspic`'s pictures, or none for another shape of article."""
    info = article.get("image_info")
    listed = info.get("image_list") if isinstance(info, dict) else None
    items = (
        [each for each in listed if isinstance(each, dict)]
        if isinstance(listed, list)
        else []
    )
    return [str(each.get("image_media_id") or "") for each in items]


def _extract_digest(html: str) -> str:
    """Return the first characters of the text between the tags."""
    text, inside = [], False
    for each in html:
        if each in "<>":
            inside = each == "<"
        elif not inside and not each.isspace():
            text.append(each)
            if len(text) == DEFAULT_DIGEST_LENGTH:
                break
    return "".join(text)
