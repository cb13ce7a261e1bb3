"""What Weibo would refuse in a rendition, and what it would change. Pure."""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from publisher.domain.account import Account
from publisher.domain.problem import Problem, Severity
from publisher.domain.rendition import Picture, Rendition

from .article import LEAD_LIMIT, TITLE_LIMIT, is_article, lead
from .profiles import article_cover, profile_of
from .traits import traits_of

PICTURE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
PICTURE_BYTES = 5 * 1024 * 1024
_TOPIC = re.compile(r"#[^#\n]+#")
_LINKS = re.compile(r"https?://\S+")


def problems_of(rendition: Rendition, account: Account) -> Sequence[Problem]:
    """Name all that the account's calls refuse (wiki 2/statuses/share): length, link, pictures, articles."""
    as_article = is_article(account, rendition)
    return (
        *_text(account, rendition.text),
        *_link(account, rendition),
        *_pictures(rendition.pictures, 0 if as_article else traits_of(account).picture_limit),
        *(_article(account, rendition) if as_article else ()),
    )


def _text(account: Account, text: str) -> Iterator[Problem]:
    traits = traits_of(account)
    length = traits.measure(text)
    if length > traits.text_limit:
        yield Problem(code="weibo_text_too_long", facts={"length": str(length), "limit": str(traits.text_limit)})
    topic = _TOPIC.search(_LINKS.sub("", text))
    if topic and profile_of(account).is_strict:
        yield Problem(code="weibo_topic_marks", severity=Severity.WARNING, facts={"topic": topic.group()})


def _link(account: Account, rendition: Rendition) -> Iterator[Problem]:
    link = rendition.link or ""
    if not link or link not in rendition.text:
        if profile_of(account).is_strict:
            yield Problem(code="weibo_no_link_template", facts={"link": link})
        return
    if not link.isascii():
        yield Problem(code="weibo_link_not_ascii", facts={"link": link})
    if profile_of(account).is_strict and account.link_template and _host(link) != _host(account.link_template):
        yield Problem(code="weibo_link_elsewhere", facts={"link": link, "host": _host(account.link_template)})
    after = rendition.text.split(link, 1)[1][:1]
    if after and not after.isspace():
        yield Problem(code="weibo_link_not_apart", facts={"link": link, "next": after})


def _host(link: str) -> str:
    """Give a link's host as written: `www.` may count as another one."""
    try:
        return urlsplit(link).hostname or ""
    except ValueError:
        return ""


def _pictures(pictures: Sequence[Picture], limit: int) -> Iterator[Problem]:
    if len(pictures) > limit:
        yield Problem(code="weibo_too_many_pictures", facts={"count": str(len(pictures)), "limit": str(limit)})
    for picture in pictures:
        if picture.media_type not in PICTURE_TYPES:
            yield Problem(code="weibo_picture_type", facts={"type": picture.media_type})
        if picture.size >= PICTURE_BYTES:
            yield Problem(code="weibo_picture_size", facts={"megabytes": f"{picture.size / 1024 / 1024:.1f}"})


def _article(account: Account, rendition: Rendition) -> Iterator[Problem]:
    length = len(rendition.title)
    if not 0 < length <= TITLE_LIMIT:
        yield Problem(code="weibo_title_length", facts={"length": str(length), "limit": str(TITLE_LIMIT)})
    if len(lead(rendition)) > LEAD_LIMIT:
        yield Problem(code="weibo_lead_too_long", facts={"limit": str(LEAD_LIMIT)})
    if not _host(article_cover(account) or ""):
        yield Problem(code="weibo_article_image", facts={"account": account.id})
