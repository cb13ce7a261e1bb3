"""WeChat's refusals and silent changes, reported before anyone approves. Pure."""

import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from urllib.parse import urlsplit

from publisher.domain.account import Account
from publisher.domain.errors import Problem, Severity
from publisher.domain.post import RenderedPost

from .api import find_pictures, insert_picture_urls
from .capabilities import (
    CAPABILITIES,
    MASS_QUOTA_OPTIONS,
    MAX_CONTENT_LENGTH,
    MAX_PICTURE_BYTES,
    MAX_TITLE_LENGTH,
    PROFILES,
    get_profile,
)

ADVISED_TITLE_LENGTH = 32
"""The length that the reference of draft/add states."""
MAX_SUMMARY_LENGTH = 120
MAX_LINK_BYTES = 1024
MAX_COVER_BYTES = 10_000_000
PICTURE_URL_LENGTH = 160
"""A generous length of the URL that replaces a picture in the content."""
COVER_MEDIA_TYPES = frozenset({"image/bmp", "image/png", "image/jpeg", "image/gif"})
PICTURE_MEDIA_TYPES = frozenset({"image/png", "image/jpeg"})
FORBIDDEN_TAGS = frozenset({
    "script", "style", "link", "meta", "base", "iframe", "frame", "object", "embed",
    "form", "input", "textarea", "select", "button", "video", "audio",
})  # fmt: skip
"""Tags that WeChat removes or refuses.

Scripts are removed, by draft/add; converters avoid the rest.
"""
LOST_ATTRIBUTES = frozenset({"class", "id"})
LOST_STYLES = frozenset({"position", "transform", "animation", "font-family"})
"""Styles that the editor drops silently, or that readers' phones ignore.

The source is converters' common advice, read 2026-11-24.
"""
_APP_ID = re.compile(r"wx[0-9a-z]{16}")
LINK_HOST = "mp.weixin.qq.com"
"""The one host for links of an article."""
PICTURE_HOST = "mmbiz.qpic.cn"
"""Pictures from other hosts are filtered out."""


class _HtmlScanner(HTMLParser):
    """Collects the data that find_html_problems checks."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forbidden_tags: set[str] = set()
        self.lost_styles: set[str] = set()
        self.links: list[str] = []
        self.pictures: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in FORBIDDEN_TAGS:
            self.forbidden_tags.add(tag)
        self.forbidden_tags.update(name for name in values if name.startswith("on"))
        css_properties = {
            part.partition(":")[0].strip().lower()
            for part in values.get("style", "").split(";")
        }
        self.lost_styles |= (LOST_ATTRIBUTES & values.keys()) | (
            LOST_STYLES & css_properties
        )
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "img":
            self.pictures.append(values.get("src", ""))


def find_account_problems(account: Account) -> tuple[Problem, ...]:
    """Return the problems of an account's profile or options."""
    problems = (
        [Problem(code="key_not_used", facts={"key": "forum"})] if account.forum else []
    )
    # a simulator or a gateway may name its accounts otherwise
    if account.base_url is None and not _APP_ID.fullmatch(account.identity):
        facts = {"key": "identity", "value": account.identity}
        problems.append(Problem(code="wechat_identity_no_app_id", facts=facts))
    profile, tag = get_profile(account), account.options.get("tag_id")
    if profile not in PROFILES:
        facts = {"key": "profile", "profile": profile, "known": ", ".join(PROFILES)}
        problems.append(Problem(code="wechat_profile_unknown", facts=facts))
    if tag is not None and not (tag.isascii() and tag.isdigit()):
        problems.append(
            Problem(
                code="wechat_tag_invalid", facts={"key": "options.tag_id", "tag": tag}
            )
        )
    for name in MASS_QUOTA_OPTIONS:
        quota = account.options.get(name, "1")
        if not (quota.isascii() and quota.isdigit() and int(quota) > 0):
            facts = {"key": f"options.{name}", "name": name}
            problems.append(Problem(code="wechat_mass_quota_invalid", facts=facts))
    return tuple(problems)


def find_problems(_account: Account, rendered: RenderedPost) -> tuple[Problem, ...]:
    """Return the problems of an article."""
    shown = find_pictures(rendered.text)
    return (
        *find_title_problems(rendered),
        *find_content_problems(rendered, shown),
        *find_html_problems(rendered, shown),
        *_find_picture_problems(rendered, shown),
    )


def find_title_problems(rendered: RenderedPost) -> Iterator[Problem]:
    """Yield the problems of the title."""
    length = len(rendered.title)
    facts = {
        "length": str(length),
        "limit": str(MAX_TITLE_LENGTH),
        "advised": str(ADVISED_TITLE_LENGTH),
    }
    if not rendered.title.strip():
        yield Problem(code="wechat_title_missing")
    elif length > MAX_TITLE_LENGTH:
        yield Problem(code="wechat_title_too_long", facts=facts)
    elif length > ADVISED_TITLE_LENGTH:
        yield Problem(code="wechat_title_long", severity=Severity.WARNING, facts=facts)


def find_content_problems(
    rendered: RenderedPost, shown: Sequence[str]
) -> Iterator[Problem]:
    """Yield the texts that are too long or missing, the marker included."""
    content = insert_picture_urls(
        rendered.text, dict.fromkeys(shown, "x" * PICTURE_URL_LENGTH)
    )
    for code, length, limit in (
        ("wechat_summary_too_long", len(rendered.summary), MAX_SUMMARY_LENGTH),
        ("wechat_content_too_long", len(content), MAX_CONTENT_LENGTH),
        ("wechat_link_too_long", len((rendered.link or "").encode()), MAX_LINK_BYTES),
        ("wechat_too_many_images", len(rendered.images), CAPABILITIES.picture_limit),
    ):
        if length > limit:
            yield Problem(code=code, facts={"length": str(length), "limit": str(limit)})
    if not rendered.text.strip():
        yield Problem(code="wechat_content_missing")
    # lists must show the marker: without it a lost response could never be resolved
    if not any(
        rendered.marker.is_in(text)
        for text in (rendered.link or "", rendered.title, rendered.summary)
    ):
        yield Problem(
            code="wechat_marker_missing", facts={"marker": rendered.marker.code}
        )


def find_html_problems(
    rendered: RenderedPost, shown: Sequence[str]
) -> Iterator[Problem]:
    """Yield the tags, styles, links and pictures that WeChat refuses or removes."""
    html = _HtmlScanner()
    html.feed(rendered.text)
    html.close()
    for tag in sorted(html.forbidden_tags):
        yield Problem(code="wechat_forbidden_tag", facts={"tag": tag})
    for name in sorted(html.lost_styles):
        yield Problem(
            code="wechat_style_lost", severity=Severity.WARNING, facts={"name": name}
        )
    for link in html.links:
        if _get_host(link) != LINK_HOST:
            yield Problem(code="wechat_foreign_link", facts={"link": link})
    for url in html.pictures:
        if url.removeprefix("media:") not in shown and _get_host(url) != PICTURE_HOST:
            yield Problem(code="wechat_foreign_image", facts={"address": url})
    known = {picture.sha256 for picture in rendered.images}
    for sha256 in shown:
        if sha256 not in known:
            yield Problem(code="wechat_image_unknown", facts={"sha256": sha256})


def _find_picture_problems(
    rendered: RenderedPost, shown: tuple[str, ...]
) -> Iterator[Problem]:
    """Yield the problems of the cover and of the pictures that the text shows.

    The cover is the first picture.
    """
    if not rendered.images:
        yield Problem(code="wechat_cover_missing")
    inside = [picture for picture in rendered.images if picture.sha256 in shown]
    for prefix, pictures, types, limit in (
        ("wechat_cover", rendered.images[:1], COVER_MEDIA_TYPES, MAX_COVER_BYTES),
        ("wechat_image", inside, PICTURE_MEDIA_TYPES, MAX_PICTURE_BYTES),
    ):
        for picture in pictures:
            if picture.media_type not in types:
                yield Problem(code=f"{prefix}_type", facts={"type": picture.media_type})
            if picture.size > limit:
                facts = {"size": str(picture.size), "limit": str(limit)}
                yield Problem(code=f"{prefix}_too_large", facts=facts)


def _get_host(link: str) -> str | None:
    try:
        return urlsplit(link).hostname
    except ValueError:
        return None
