"""Validation and storage of a draft's articles (developers.weixin.qq.com, api_draft_add).

There are two types: `news`, HTML text with a cover, and `newspic`, pictures with plain text. Where the page and users
disagree about a limit, the users' wider limit applies.
"""

from typing import Any

from publisher.simulator.request import ApiRequest
from publisher.simulator.state import SimulatorState

from .html import sanitise
from .ids import find_pictures

Article = dict[str, Any]
Checks = tuple[tuple[bool, int], ...]
"""Conditions in the platform's order, each with the error code if it is true."""
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
"""One pixel is known to be too small for a cover and 600 to be enough; the value between them is our choice."""
TEXT_FIELDS = ("title", "author", "digest", "content", "content_source_url", "thumb_media_id")
FLAG_FIELDS = ("show_cover_pic", "need_open_comment", "only_fans_can_comment")


class ArticleValidator:
    """Validates incoming articles, and normalizes them for the draft box."""

    def __init__(self, state: SimulatorState) -> None:
        self.state = state

    def find_error(self, request: ApiRequest, article: Article) -> int | None:
        """Return the error code that refuses this article, or None."""
        kind = article.get("article_type") or NEWS_TYPE
        if kind not in (NEWS_TYPE, PICTURES_TYPE):
            return 40035
        checks = self._check_news(request, article) if kind == NEWS_TYPE else self._check_pictures(request, article)
        return next((code for is_wrong, code in checks if is_wrong), None)

    def _check_news(self, request: ApiRequest, article: Article) -> Checks:
        text = {name: str(article.get(name) or "") for name in TEXT_FIELDS}
        return (
            (not text["title"], 40035),
            (len(text["title"]) > MAX_TITLE_LENGTH, 45003),
            (len(text["author"]) > MAX_AUTHOR_LENGTH, 45110),
            (len(text["digest"]) > MAX_DIGEST_LENGTH, 45004),
            (len(text["content_source_url"].encode()) > MAX_SOURCE_URL_BYTES, 45005),
            (not text["content"], 44004),
            (len(text["content"]) >= MAX_CONTENT_CHARACTERS, 45002),
            (len(text["content"].encode("utf-8", "surrogatepass")) >= MAX_CONTENT_BYTES, 45002),
            (self._find_material(request, text["thumb_media_id"]) is None, 40007),
            (not self._is_valid_cover(text["thumb_media_id"]), 53402),
            (sanitise(text["content"]) is None, 45166),
        )

    def _check_pictures(self, request: ApiRequest, article: Article) -> Checks:
        title, content = str(article.get("title") or ""), str(article.get("content") or "")
        names = get_picture_ids(article)
        return (
            (not title, 40035),
            (len(title) > MAX_PICTURE_TITLE_LENGTH, 45003),
            (not content, 44004),
            (len(content) > MAX_PICTURE_TEXT_LENGTH, 45002),
            (not names, 41006),
            (len(names) > MAX_PICTURES, 40035),
            (any(self._find_material(request, name) is None for name in names), 40007),
            (not all(self._is_valid_cover(name) for name in names[:1]), 53402),
        )

    def normalize(self, article: Article) -> Article:
        stored: Article
        if article.get("article_type") == PICTURES_TYPE:
            stored = {
                "article_type": PICTURES_TYPE,
                "title": article["title"],
                "content": article["content"],
                "digest": str(article["content"])[:DEFAULT_DIGEST_LENGTH],
                "image_info": {"image_list": [{"image_media_id": name} for name in get_picture_ids(article)]},
            }
        else:
            stored = {"article_type": NEWS_TYPE, **{name: article.get(name) or "" for name in TEXT_FIELDS}}
            stored["content"] = sanitise(str(stored["content"])) or ""
            stored["digest"] = stored["digest"] or _extract_digest(str(stored["content"]))
        return stored | {flag: int(article.get(flag) in (1, "1", True)) for flag in FLAG_FIELDS}

    def get_picture_digests(self, article: Article) -> list[str]:
        """Return the digests of an article's pictures, the cover first."""
        names = get_picture_ids(article) or [str(article.get("thumb_media_id") or "")]
        materials = [self.state.get_row("wechat_materials", name) for name in names]
        inside = find_pictures(str(article["content"])) if article.get("article_type") != PICTURES_TYPE else []
        return [str(each["sha256"]) for each in materials if each] + inside

    def format_article(self, article: Article, url: str, *, no_content: bool) -> Article:
        """Return an article as drafts and lists show it."""
        material = self.state.get_row("wechat_materials", str(article.get("thumb_media_id") or ""))
        response = {**article, "url": url}
        response.pop("pictures", None)
        if article.get("article_type") != PICTURES_TYPE:
            response["thumb_url"] = material["url"] if material else ""
        if no_content:
            response.pop("content", None)
        return response

    def _find_material(self, request: ApiRequest, name: str) -> dict[str, Any] | None:
        """Return the caller's permanent picture; temporary ones do not count."""
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
