"""What WeChat would refuse, or silently change, before anyone approves it."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

from publisher.domain.account import Account
from publisher.domain.errors import Problem, Severity
from publisher.domain.rendered import RenderedPost

from .api import find_pictures, insert_picture_urls
from .capabilities import (
    ADVISED_TITLE_LENGTH,
    CAPABILITIES,
    COVER_MEDIA_TYPES,
    MASS_QUOTA_OPTIONS,
    MAX_CONTENT_LENGTH,
    MAX_COVER_BYTES,
    MAX_LINK_BYTES,
    MAX_PICTURE_BYTES,
    MAX_SUMMARY_LENGTH,
    MAX_TITLE_LENGTH,
    PICTURE_MEDIA_TYPES,
    PICTURE_URL_LENGTH,
    PROFILES,
    get_profile,
)

FORBIDDEN_TAGS = frozenset({
    "script", "style", "link", "meta", "base", "iframe", "frame", "object", "embed", "form", "input", "textarea",
    "select", "button", "video", "audio",
})  # fmt: skip
"""Tags that WeChat removes or refuses (draft/add: scripts are removed; the rest as converters avoid them)."""
LOST_ATTRIBUTES = frozenset({"class", "id"})
LOST_STYLES = frozenset({"position", "transform", "animation", "font-family"})
"""What the editor drops without a word, or readers' phones ignore (converters' common advice, read 2026-11-24)."""
LINK_HOST = "mp.weixin.qq.com"
"""The one host to which an article may link."""
PICTURE_HOST = "mmbiz.qpic.cn"
"""Pictures from elsewhere are filtered out."""


@dataclass(slots=True)
class _HtmlFindings:
    forbidden_tags: set[str] = field(default_factory=set)
    lost_styles: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)


class _Scanner(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.findings = _HtmlFindings()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in FORBIDDEN_TAGS:
            self.findings.forbidden_tags.add(tag)
        self.findings.forbidden_tags.update(name for name in values if name.startswith("on"))
        self.findings.lost_styles.update(LOST_ATTRIBUTES & values.keys())
        self.findings.lost_styles.update(LOST_STYLES & _parse_css_properties(values.get("style", "")))
        if tag == "a" and "href" in values:
            self.findings.links.append(values["href"])
        if tag == "img":
            self.findings.pictures.append(values.get("src", ""))


def find_setting_problems(account: Account) -> tuple[Problem, ...]:
    """Tell what is wrong with an account's profile or options."""
    problems = []
    profile, tag = get_profile(account), account.options.get("tag_id")
    if profile not in PROFILES:
        facts = {"profile": profile, "known": ", ".join(PROFILES)}
        problems.append(Problem(code="wechat_profile_unknown", facts=facts))
    if tag is not None and not (tag.isascii() and tag.isdigit()):
        problems.append(Problem(code="wechat_tag_invalid", facts={"tag": tag}))
    odd = [name for name in MASS_QUOTA_OPTIONS if not _is_number(account.options.get(name, "1"))]
    return (*problems, *(Problem(code="wechat_mass_quota_invalid", facts={"name": name}) for name in odd))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def find_problems(rendered: RenderedPost) -> tuple[Problem, ...]:
    """Tell all that is wrong with an article."""
    return (
        *_check_title(rendered),
        *_check_lengths(rendered),
        *_check_marker(rendered),
        *_check_html(rendered),
        *_check_pictures(rendered),
    )


def _check_title(rendered: RenderedPost) -> list[Problem]:
    length = len(rendered.title)
    facts = {"length": str(length), "limit": str(MAX_TITLE_LENGTH), "advised": str(ADVISED_TITLE_LENGTH)}
    if not rendered.title.strip():
        return [Problem(code="wechat_title_missing")]
    if length > MAX_TITLE_LENGTH:
        return [Problem(code="wechat_title_too_long", facts=facts)]
    if length > ADVISED_TITLE_LENGTH:
        return [Problem(code="wechat_title_long", severity=Severity.WARNING, facts=facts)]
    return []


def _check_lengths(rendered: RenderedPost) -> list[Problem]:
    content = insert_picture_urls(rendered.text, dict.fromkeys(find_pictures(rendered.text), "x" * PICTURE_URL_LENGTH))
    measured = (
        ("wechat_summary_too_long", len(rendered.summary), MAX_SUMMARY_LENGTH),
        ("wechat_content_too_long", len(content), MAX_CONTENT_LENGTH),
        ("wechat_link_too_long", len((rendered.link or "").encode()), MAX_LINK_BYTES),
        ("wechat_too_many_images", len(rendered.images), CAPABILITIES.picture_limit),
    )
    problems = [
        Problem(code=code, facts={"length": str(length), "limit": str(limit)})
        for code, length, limit in measured
        if length > limit
    ]
    return problems if rendered.text.strip() else [*problems, Problem(code="wechat_content_missing")]


def _check_marker(rendered: RenderedPost) -> list[Problem]:
    """Demand the marker where lists show it: without it a lost answer could never be resolved."""
    places = (rendered.link or "", rendered.title, rendered.summary)
    if any(rendered.marker.is_in(place) for place in places):
        return []
    return [Problem(code="wechat_marker_missing", facts={"marker": rendered.marker.code})]


def _check_html(rendered: RenderedPost) -> list[Problem]:
    findings = _scan_html(rendered.text)
    shown = find_pictures(rendered.text)
    known = {picture.sha256 for picture in rendered.images}
    foreign = [
        address
        for address in findings.pictures
        if address.removeprefix("media:") not in shown and _get_host(address) != PICTURE_HOST
    ]
    return [
        *(Problem(code="wechat_forbidden_tag", facts={"tag": tag}) for tag in sorted(findings.forbidden_tags)),
        *(
            Problem(code="wechat_style_lost", severity=Severity.WARNING, facts={"name": name})
            for name in sorted(findings.lost_styles)
        ),
        *(
            Problem(code="wechat_foreign_link", facts={"link": link})
            for link in findings.links
            if _get_host(link) != LINK_HOST
        ),
        *(Problem(code="wechat_foreign_image", facts={"address": address}) for address in foreign),
        *(Problem(code="wechat_image_unknown", facts={"sha256": name}) for name in shown if name not in known),
    ]


def _check_pictures(rendered: RenderedPost) -> list[Problem]:
    if not rendered.images:
        return [Problem(code="wechat_cover_missing")]
    cover = rendered.images[0]
    shown = set(find_pictures(rendered.text))
    problems = _check_picture("wechat_cover", cover.media_type, COVER_MEDIA_TYPES, cover.size, MAX_COVER_BYTES)
    for picture in rendered.images:
        if picture.sha256 in shown:
            problems += _check_picture(
                "wechat_image", picture.media_type, PICTURE_MEDIA_TYPES, picture.size, MAX_PICTURE_BYTES
            )
    return problems


def _check_picture(
    code_prefix: str, media_type: str, types: frozenset[str], size: int, max_bytes: int
) -> list[Problem]:
    problems = []
    if media_type not in types:
        problems.append(Problem(code=f"{code_prefix}_type", facts={"type": media_type}))
    if size > max_bytes:
        problems.append(Problem(code=f"{code_prefix}_too_large", facts={"size": str(size), "limit": str(max_bytes)}))
    return problems


def _parse_css_properties(style: str) -> set[str]:
    """Give the names of the properties that a style attribute sets."""
    return {declaration.partition(":")[0].strip().lower() for declaration in style.split(";")}


def _scan_html(text: str) -> _HtmlFindings:
    scanner = _Scanner()
    scanner.feed(text)
    scanner.close()
    return scanner.findings


def _get_host(link: str) -> str | None:
    try:
        return urlsplit(link).hostname
    except ValueError:
        return None
