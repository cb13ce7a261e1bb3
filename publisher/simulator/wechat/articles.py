"""What an article of a draft must be, and how it is kept (developers.weixin.qq.com, api_draft_add).

Two kinds: `news`, a text in HTML with a cover, and `newspic`, pictures with a plain text. Where the page and its users
disagree about a limit, the users' wider figure holds.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from publisher.simulator.request import ApiRequest
from publisher.simulator.state import SimulatorState

from .html import sanitise
from .ids import find_pictures

Article = dict[str, Any]
NEWS_TYPE, PICTURES_TYPE = "news", "newspic"
MAX_AUTHOR_LENGTH = 16
MAX_DIGEST_LENGTH = 128
DEFAULT_DIGEST_LENGTH = 54
"""Without a digest that many first characters of the text stand in for it."""
MAX_CONTENT_CHARACTERS = 20_000
MAX_CONTENT_BYTES = 1024 * 1024
MAX_SOURCE_URL_BYTES = 1024
MAX_PICTURE_TITLE_LENGTH = 20
MAX_PICTURE_TEXT_LENGTH = 1000
MAX_PICTURES = 20
MIN_COVER_PIXELS = 10
"""Pixels: one is known to be too few for a cover, 600 to be enough; between them it is our reading."""
CROP_PATTERN = re.compile(r"(?:[01](?:\.\d{1,6})?_){3}[01](?:\.\d{1,6})?")
CROP_RATIOS = ("1_1", "16_9", "2.35_1")
TEXT_FIELDS = ("title", "author", "digest", "content", "content_source_url", "thumb_media_id")
FLAG_FIELDS = ("show_cover_pic", "need_open_comment", "only_fans_can_comment")


class ArticleValidator:
    """Looks through what comes in, and keeps what stands in a draft."""

    def __init__(self, state: SimulatorState) -> None:
        self.state = state

    def find_error(self, request: ApiRequest, article: Article) -> int | None:
        """Why this article is not taken, as an error code."""
        kind = article.get("article_type") or NEWS_TYPE
        if kind not in (NEWS_TYPE, PICTURES_TYPE):
            return 40035
        if article.get("need_open_comment") in (1, "1") and not self.state.behaviour.wechat_comments:
            return 88000
        code = (self._find_news_error if kind == NEWS_TYPE else self._find_pictures_error)(request, article)
        return self._find_word_error(article) if code is None else code

    def _find_word_error(self, article: Article) -> int | None:
        said = "".join(str(article.get(name) or "") for name in ("title", "digest", "content"))
        return next((code for word, code in self.state.behaviour.wechat_words.items() if word in said), None)

    def _find_news_error(self, request: ApiRequest, article: Article) -> int | None:
        text = {name: str(article.get(name) or "") for name in TEXT_FIELDS}
        checks = (
            (not text["title"], 40035),
            (len(text["title"]) > self.state.behaviour.wechat_title_limit, 45003),
            (len(text["author"]) > MAX_AUTHOR_LENGTH, 45110),
            (len(text["digest"]) > MAX_DIGEST_LENGTH, 45004),
            (len(text["content_source_url"].encode()) > MAX_SOURCE_URL_BYTES, 45005),
            (not text["content"], 44004),
            (len(text["content"]) >= MAX_CONTENT_CHARACTERS, 45002),
            (len(text["content"].encode("utf-8", "surrogatepass")) >= MAX_CONTENT_BYTES, 45002),
            (self._find_material(request, text["thumb_media_id"]) is None, 40007),
            (not self._is_valid_cover(text["thumb_media_id"]), 53402),
            (not all(_is_crop(article.get(name)) for name in ("pic_crop_235_1", "pic_crop_1_1")), 53402),
        )
        code = next((code for wrong, code in checks if wrong), None)
        return 45166 if code is None and sanitise(text["content"]) is None else code

    def _find_pictures_error(self, request: ApiRequest, article: Article) -> int | None:
        title, content, names = (
            str(article.get("title") or ""),
            str(article.get("content") or ""),
            get_picture_ids(article),
        )
        checks = (
            (not title, 40035),
            (len(title) > MAX_PICTURE_TITLE_LENGTH, 45003),
            (not content, 44004),
            (len(content) > MAX_PICTURE_TEXT_LENGTH, 45002),
            (not names, 41006),
            (len(names) > MAX_PICTURES, 40035),
            (any(self._find_material(request, name) is None for name in names), 40007),
            (not all(self._is_valid_cover(name) for name in names[:1]), 53402),
            (not _has_valid_crops(article.get("cover_info")), 53402),
        )
        return next((code for wrong, code in checks if wrong), None)

    def normalize(self, article: Article) -> Article:
        if article.get("article_type") == PICTURES_TYPE:
            return self._normalize_pictures(article)
        kept: Article = {"article_type": NEWS_TYPE, **{name: article.get(name) or "" for name in TEXT_FIELDS}}
        kept["content"] = sanitise(str(kept["content"])) or ""
        kept["digest"] = kept["digest"] or _extract_digest(str(kept["content"]))
        return kept | _parse_flags(article)

    def _normalize_pictures(self, article: Article) -> Article:
        names = [{"image_media_id": name} for name in get_picture_ids(article)]
        kept: Article = {
            "article_type": PICTURES_TYPE,
            "title": article["title"],
            "content": article["content"],
            "digest": str(article["content"])[:DEFAULT_DIGEST_LENGTH],
            "image_info": {"image_list": names},
        }
        more = {name: article[name] for name in ("cover_info", "product_info") if name in article}
        return kept | more | _parse_flags(article)

    def get_picture_digests(self, article: Article) -> list[str]:
        """The pictures of an article, the cover first."""
        names = get_picture_ids(article) or [str(article.get("thumb_media_id") or "")]
        materials = [self.state.get_row("wechat_materials", name) for name in names]
        inside = find_pictures(str(article["content"])) if article.get("article_type") != PICTURES_TYPE else []
        return [str(each["sha256"]) for each in materials if each] + inside

    def format_article(self, article: Article, url: str, *, no_content: bool) -> Article:
        """An article as drafts and lists tell it."""
        material = self.state.get_row("wechat_materials", str(article.get("thumb_media_id") or ""))
        response = {**article, "url": url}
        response.pop("pictures", None)
        if article.get("article_type") != PICTURES_TYPE:
            response["thumb_url"] = material["url"] if material else ""
        if no_content:
            response.pop("content", None)
        return response

    def _find_material(self, request: ApiRequest, name: str) -> dict[str, Any] | None:
        """A picture of the caller's library; temporary ones are none."""
        found = self.state.get_row("wechat_materials", name)
        return found if found and found["app_id"] == request.account else None

    def _is_valid_cover(self, name: str) -> bool:
        found = self.state.get_row("wechat_materials", name) or {}
        size = found.get("size")
        return size is None or min(size) >= MIN_COVER_PIXELS


def get_picture_ids(article: Article) -> list[str]:
    """The names of a `newspic`'s pictures; none for what has another shape."""
    info = article.get("image_info")
    listed = info.get("image_list") if isinstance(info, dict) else None
    items = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return [str(each.get("image_media_id") or "") for each in items]


def _parse_flags(article: Article) -> Article:
    return {flag: int(article.get(flag) in (1, "1", True)) for flag in FLAG_FIELDS}


def _is_crop(value: object) -> bool:
    """Four fractions, the left upper corner before the right lower one."""
    if not value:
        return True
    if not isinstance(value, str) or not CROP_PATTERN.fullmatch(value):
        return False
    return _is_frame(*map(float, value.split("_")))


def _has_valid_crops(info: object) -> bool:
    listed = info.get("crop_percent_list") if isinstance(info, dict) else []
    return isinstance(listed, list) and all(isinstance(each, dict) and _is_ratio_crop(each) for each in listed)


def _is_ratio_crop(crop: Mapping[str, Any]) -> bool:
    try:
        corners = [float(crop[name]) for name in ("x1", "y1", "x2", "y2")]
    except (KeyError, TypeError, ValueError):
        return False
    return crop.get("ratio") in CROP_RATIOS and all(map(math.isfinite, corners)) and _is_frame(*corners)


def _is_frame(left: float, upper: float, right: float, lower: float) -> bool:
    return 0 <= left < right <= 1 and 0 <= upper < lower <= 1


def _extract_digest(html: str) -> str:
    """The first characters of the text between the tags."""
    text, inside = [], False
    for each in html:
        if each in "<>":
            inside = each == "<"
        elif not inside and not each.isspace():
            text.append(each)
            if len(text) == DEFAULT_DIGEST_LENGTH:
                break
    return "".join(text)
