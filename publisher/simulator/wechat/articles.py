"""What an article of a draft must be, and how it is kept (developers.weixin.qq.com, api_draft_add).

Two kinds: `news`, a text in HTML with a cover, and `newspic`, pictures with a plain text. Where the page and its users
disagree about a limit, the users' wider figure holds.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from publisher.simulator.call import Call
from publisher.simulator.world import World

from .html import clean
from .ids import pictures_in

Article = dict[str, Any]
NEWS, PICTURES = "news", "newspic"
AUTHOR = 16
DIGEST = 128
OWN_DIGEST = 54
"""Without a digest that many first characters of the text stand in for it."""
CONTENT_CHARACTERS = 20_000
CONTENT_BYTES = 1024 * 1024
SOURCE_BYTES = 1024
PICTURE_TITLE = 20
PICTURE_TEXT = 1000
MOST_PICTURES = 20
SMALLEST_COVER = 10
"""Pixels: one is known to be too few for a cover, 600 to be enough; between them it is our reading."""
CROP = re.compile(r"(?:[01](?:\.\d{1,6})?_){3}[01](?:\.\d{1,6})?")
RATIOS = ("1_1", "16_9", "2.35_1")
TEXTS = ("title", "author", "digest", "content", "content_source_url", "thumb_media_id")
FLAGS = ("show_cover_pic", "need_open_comment", "only_fans_can_comment")


class Desk:
    """Looks through what comes in, and keeps what stands in a draft."""

    def __init__(self, world: World) -> None:
        self.world = world

    def fault_of(self, call: Call, article: Article) -> int | None:
        """Why this article is not taken, as an error code."""
        kind = article.get("article_type") or NEWS
        if kind not in (NEWS, PICTURES):
            return 40035
        if article.get("need_open_comment") in (1, "1") and not self.world.settings.wechat_comments:
            return 88000
        code = (self._fault_of_news if kind == NEWS else self._fault_of_pictures)(call, article)
        return self._fault_of_words(article) if code is None else code

    def _fault_of_words(self, article: Article) -> int | None:
        said = "".join(str(article.get(name) or "") for name in ("title", "digest", "content"))
        return next((code for word, code in self.world.settings.wechat_words.items() if word in said), None)

    def _fault_of_news(self, call: Call, article: Article) -> int | None:
        text = {name: str(article.get(name) or "") for name in TEXTS}
        checks = (
            (not text["title"], 40035),
            (len(text["title"]) > self.world.settings.wechat_title_limit, 45003),
            (len(text["author"]) > AUTHOR, 45110),
            (len(text["digest"]) > DIGEST, 45004),
            (len(text["content_source_url"].encode()) > SOURCE_BYTES, 45005),
            (not text["content"], 44004),
            (len(text["content"]) >= CONTENT_CHARACTERS, 45002),
            (len(text["content"].encode("utf-8", "surrogatepass")) >= CONTENT_BYTES, 45002),
            (self._material(call, text["thumb_media_id"]) is None, 40007),
            (not self._makes_cover(text["thumb_media_id"]), 53402),
            (not all(_is_crop(article.get(name)) for name in ("pic_crop_235_1", "pic_crop_1_1")), 53402),
        )
        code = next((code for wrong, code in checks if wrong), None)
        return 45166 if code is None and clean(text["content"]) is None else code

    def _fault_of_pictures(self, call: Call, article: Article) -> int | None:
        title, content, names = str(article.get("title") or ""), str(article.get("content") or ""), pictures_of(article)
        checks = (
            (not title, 40035),
            (len(title) > PICTURE_TITLE, 45003),
            (not content, 44004),
            (len(content) > PICTURE_TEXT, 45002),
            (not names, 41006),
            (len(names) > MOST_PICTURES, 40035),
            (any(self._material(call, name) is None for name in names), 40007),
            (not all(self._makes_cover(name) for name in names[:1]), 53402),
            (not _are_crops(article.get("cover_info")), 53402),
        )
        return next((code for wrong, code in checks if wrong), None)

    def stored(self, article: Article) -> Article:
        if article.get("article_type") == PICTURES:
            return self._stored_pictures(article)
        kept: Article = {"article_type": NEWS, **{name: article.get(name) or "" for name in TEXTS}}
        kept["content"] = clean(str(kept["content"])) or ""
        kept["digest"] = kept["digest"] or _first_words(str(kept["content"]))
        return kept | _flags(article)

    def _stored_pictures(self, article: Article) -> Article:
        names = [{"image_media_id": name} for name in pictures_of(article)]
        kept: Article = {
            "article_type": PICTURES,
            "title": article["title"],
            "content": article["content"],
            "digest": str(article["content"])[:OWN_DIGEST],
            "image_info": {"image_list": names},
        }
        more = {name: article[name] for name in ("cover_info", "product_info") if name in article}
        return kept | more | _flags(article)

    def digests(self, article: Article) -> list[str]:
        """The pictures of an article, the cover first."""
        names = pictures_of(article) or [str(article.get("thumb_media_id") or "")]
        materials = [self.world.get("wechat_materials", name) for name in names]
        inside = pictures_in(str(article["content"])) if article.get("article_type") != PICTURES else []
        return [str(each["sha256"]) for each in materials if each] + inside

    def shown(self, article: Article, url: str, *, no_content: bool) -> Article:
        """An article as drafts and lists tell it."""
        material = self.world.get("wechat_materials", str(article.get("thumb_media_id") or ""))
        answer = {**article, "url": url}
        answer.pop("pictures", None)
        if article.get("article_type") != PICTURES:
            answer["thumb_url"] = material["url"] if material else ""
        if no_content:
            answer.pop("content", None)
        return answer

    def _material(self, call: Call, name: str) -> dict[str, Any] | None:
        """A picture of the caller's library; temporary ones are none."""
        found = self.world.get("wechat_materials", name)
        return found if found and found["app_id"] == call.account else None

    def _makes_cover(self, name: str) -> bool:
        found = self.world.get("wechat_materials", name) or {}
        size = found.get("size")
        return size is None or min(size) >= SMALLEST_COVER


def pictures_of(article: Article) -> list[str]:
    """The names of a `newspic`'s pictures; none for what has another shape."""
    info = article.get("image_info")
    listed = info.get("image_list") if isinstance(info, dict) else None
    items = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return [str(each.get("image_media_id") or "") for each in items]


def _flags(article: Article) -> Article:
    return {flag: int(article.get(flag) in (1, "1", True)) for flag in FLAGS}


def _is_crop(value: object) -> bool:
    """Four fractions, the left upper corner before the right lower one."""
    if not value:
        return True
    if not isinstance(value, str) or not CROP.fullmatch(value):
        return False
    return _is_frame(*map(float, value.split("_")))


def _are_crops(info: object) -> bool:
    listed = info.get("crop_percent_list") if isinstance(info, dict) else []
    return isinstance(listed, list) and all(isinstance(each, dict) and _is_ratio_crop(each) for each in listed)


def _is_ratio_crop(crop: Mapping[str, Any]) -> bool:
    try:
        corners = [float(crop[name]) for name in ("x1", "y1", "x2", "y2")]
    except (KeyError, TypeError, ValueError):
        return False
    return crop.get("ratio") in RATIOS and all(map(math.isfinite, corners)) and _is_frame(*corners)


def _is_frame(left: float, upper: float, right: float, lower: float) -> bool:
    return 0 <= left < right <= 1 and 0 <= upper < lower <= 1


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
