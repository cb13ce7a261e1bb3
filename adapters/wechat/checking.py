"""What WeChat would refuse, or silently change, before anyone approves it."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

from publisher.domain.account import Account
from publisher.domain.problem import Problem, Severity
from publisher.domain.rendition import Rendition

from .traits import (
    ADDRESS_LENGTH,
    CONTENT_LIMIT,
    COVER_BYTES,
    COVER_TYPES,
    LINK_BYTES,
    MASS_QUOTAS,
    PICTURE_BYTES,
    PICTURE_TYPES,
    PROFILES,
    SUMMARY_LIMIT,
    TITLE_ADVISED,
    TITLE_LIMIT,
    TRAITS,
    profile_of,
)
from .wire import pictures_in, put_addresses

FORBIDDEN = frozenset({
    "script", "style", "link", "meta", "base", "iframe", "frame", "object", "embed", "form", "input", "textarea",
    "select", "button", "video", "audio",
})  # fmt: skip
"""Tags that WeChat removes or refuses (draft/add: scripts are removed; the rest as converters avoid them)."""
LOST_ATTRIBUTES = frozenset({"class", "id"})
LOST_STYLES = frozenset({"position", "transform", "animation", "font-family"})
"""What the editor drops without a word, or readers' phones ignore (converters' common advice, read 2026-11-24)."""
HOST = "mp.weixin.qq.com"
"""The one host to which an article may link."""
PICTURE_HOST = "mmbiz.qpic.cn"
"""Pictures from elsewhere are filtered out."""


@dataclass(slots=True)
class _Findings:
    tags: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)


class _Scanner(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.findings = _Findings()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in FORBIDDEN:
            self.findings.tags.add(tag)
        self.findings.tags.update(name for name in values if name.startswith("on"))
        self.findings.lost.update(LOST_ATTRIBUTES & values.keys())
        self.findings.lost.update(LOST_STYLES & _properties(values.get("style", "")))
        if tag == "a" and "href" in values:
            self.findings.links.append(values["href"])
        if tag == "img":
            self.findings.pictures.append(values.get("src", ""))


def setting_problems(account: Account) -> tuple[Problem, ...]:
    """Tell what is wrong with an account's profile or options."""
    problems = []
    profile, tag = profile_of(account), account.options.get("tag_id")
    if profile not in PROFILES:
        facts = {"profile": profile, "known": ", ".join(PROFILES)}
        problems.append(Problem(code="wechat_profile_unknown", facts=facts))
    if tag is not None and not (tag.isascii() and tag.isdigit()):
        problems.append(Problem(code="wechat_tag_invalid", facts={"tag": tag}))
    odd = [name for name in MASS_QUOTAS if not _is_number(account.options.get(name, "1"))]
    return (*problems, *(Problem(code="wechat_mass_quota_invalid", facts={"name": name}) for name in odd))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def problems_of(rendition: Rendition) -> tuple[Problem, ...]:
    """Tell all that is wrong with an article."""
    return (
        *_title(rendition),
        *_lengths(rendition),
        *_marker(rendition),
        *_html(rendition),
        *_pictures(rendition),
    )


def _title(rendition: Rendition) -> list[Problem]:
    length = len(rendition.title)
    facts = {"length": str(length), "limit": str(TITLE_LIMIT), "advised": str(TITLE_ADVISED)}
    if not rendition.title.strip():
        return [Problem(code="wechat_title_missing")]
    if length > TITLE_LIMIT:
        return [Problem(code="wechat_title_too_long", facts=facts)]
    if length > TITLE_ADVISED:
        return [Problem(code="wechat_title_long", severity=Severity.WARNING, facts=facts)]
    return []


def _lengths(rendition: Rendition) -> list[Problem]:
    content = put_addresses(rendition.text, dict.fromkeys(pictures_in(rendition.text), "x" * ADDRESS_LENGTH))
    measured = (
        ("wechat_summary_too_long", len(rendition.summary), SUMMARY_LIMIT),
        ("wechat_content_too_long", len(content), CONTENT_LIMIT),
        ("wechat_link_too_long", len((rendition.link or "").encode()), LINK_BYTES),
        ("wechat_too_many_pictures", len(rendition.pictures), TRAITS.picture_limit),
    )
    problems = [
        Problem(code=code, facts={"length": str(length), "limit": str(limit)})
        for code, length, limit in measured
        if length > limit
    ]
    return problems if rendition.text.strip() else [*problems, Problem(code="wechat_content_missing")]


def _marker(rendition: Rendition) -> list[Problem]:
    """Demand the marker where lists show it: without it a lost answer could never be resolved."""
    places = (rendition.link or "", rendition.title, rendition.summary)
    if any(rendition.marker.is_in(place) for place in places):
        return []
    return [Problem(code="wechat_marker_missing", facts={"marker": rendition.marker.code})]


def _html(rendition: Rendition) -> list[Problem]:
    findings = _scan(rendition.text)
    shown = pictures_in(rendition.text)
    known = {picture.sha256 for picture in rendition.pictures}
    foreign = [
        address
        for address in findings.pictures
        if address.removeprefix("media:") not in shown and _host(address) != PICTURE_HOST
    ]
    return [
        *(Problem(code="wechat_forbidden_tag", facts={"tag": tag}) for tag in sorted(findings.tags)),
        *(
            Problem(code="wechat_style_lost", severity=Severity.WARNING, facts={"name": name})
            for name in sorted(findings.lost)
        ),
        *(Problem(code="wechat_foreign_link", facts={"link": link}) for link in findings.links if _host(link) != HOST),
        *(Problem(code="wechat_foreign_picture", facts={"address": address}) for address in foreign),
        *(Problem(code="wechat_picture_unknown", facts={"sha256": name}) for name in shown if name not in known),
    ]


def _pictures(rendition: Rendition) -> list[Problem]:
    if not rendition.pictures:
        return [Problem(code="wechat_cover_missing")]
    cover = rendition.pictures[0]
    shown = set(pictures_in(rendition.text))
    problems = _fit("wechat_cover", cover.media_type, COVER_TYPES, cover.size, COVER_BYTES)
    for picture in rendition.pictures:
        if picture.sha256 in shown:
            problems += _fit("wechat_picture", picture.media_type, PICTURE_TYPES, picture.size, PICTURE_BYTES)
    return problems


def _fit(what: str, media_type: str, types: frozenset[str], size: int, most: int) -> list[Problem]:
    problems = []
    if media_type not in types:
        problems.append(Problem(code=f"{what}_type", facts={"type": media_type}))
    if size > most:
        problems.append(Problem(code=f"{what}_too_large", facts={"size": str(size), "limit": str(most)}))
    return problems


def _properties(style: str) -> set[str]:
    """Give the names of the properties that a style attribute sets."""
    return {declaration.partition(":")[0].strip().lower() for declaration in style.split(";")}


def _scan(text: str) -> _Findings:
    scanner = _Scanner()
    scanner.feed(text)
    scanner.close()
    return scanner.findings


def _host(link: str) -> str | None:
    try:
        return urlsplit(link).hostname
    except ValueError:
        return None
