"""What Weibo would refuse in a rendition, and what it would change. Pure."""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from adapters.weibo.api import MAX_LEAD_LENGTH, MAX_TITLE_LENGTH, is_article, render_lead
from publisher.domain.account import Account
from publisher.domain.errors import Problem, Severity
from publisher.domain.rendered import RenderedImage, RenderedPost

from .capabilities import get_capabilities
from .profiles import get_article_cover_url, get_profile

PICTURE_MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
MAX_PICTURE_BYTES = 5 * 1024 * 1024
_TOPIC = re.compile(r"#[^#\n]+#")
_LINK = re.compile(r"https?://\S+")


def find_problems(rendered: RenderedPost, account: Account) -> Sequence[Problem]:
    """Name all that the account's calls refuse (wiki 2/statuses/share): length, link, pictures, articles."""
    as_article = is_article(account, rendered)
    return (
        *_check_text(account, rendered.text),
        *_check_link(account, rendered),
        *_check_pictures(rendered.images, 0 if as_article else get_capabilities(account).picture_limit),
        *(_check_article(account, rendered) if as_article else ()),
    )


def _check_text(account: Account, text: str) -> Iterator[Problem]:
    traits = get_capabilities(account)
    length = traits.count_text(text)
    if length > traits.text_limit:
        yield Problem(code="weibo_text_too_long", facts={"length": str(length), "limit": str(traits.text_limit)})
    topic = _TOPIC.search(_LINK.sub("", text))
    if topic and get_profile(account).is_strict:
        yield Problem(code="weibo_hashtag_dropped", severity=Severity.WARNING, facts={"topic": topic.group()})


def _check_link(account: Account, rendered: RenderedPost) -> Iterator[Problem]:
    link = rendered.link or ""
    if not link or link not in rendered.text:
        if get_profile(account).is_strict:
            yield Problem(code="weibo_no_link_template", facts={"link": link})
        return
    if not link.isascii():
        yield Problem(code="weibo_link_not_ascii", facts={"link": link})
    if get_profile(account).is_strict and account.link_template and _get_host(link) != _get_host(account.link_template):
        yield Problem(code="weibo_link_elsewhere", facts={"link": link, "host": _get_host(account.link_template)})
    after = rendered.text.split(link, 1)[1][:1]
    if after and not after.isspace():
        yield Problem(code="weibo_link_not_apart", facts={"link": link, "next": after})


def _get_host(link: str) -> str:
    """Give a link's host as written: `www.` may count as another one."""
    try:
        return urlsplit(link).hostname or ""
    except ValueError:
        return ""


def _check_pictures(pictures: Sequence[RenderedImage], limit: int) -> Iterator[Problem]:
    if len(pictures) > limit:
        yield Problem(code="weibo_too_many_images", facts={"count": str(len(pictures)), "limit": str(limit)})
    for picture in pictures:
        if picture.media_type not in PICTURE_MEDIA_TYPES:
            yield Problem(code="weibo_image_type", facts={"type": picture.media_type})
        if picture.size >= MAX_PICTURE_BYTES:
            yield Problem(code="weibo_image_size", facts={"megabytes": f"{picture.size / 1024 / 1024:.1f}"})


def _check_article(account: Account, rendered: RenderedPost) -> Iterator[Problem]:
    length = len(rendered.title)
    if not 0 < length <= MAX_TITLE_LENGTH:
        yield Problem(code="weibo_title_length", facts={"length": str(length), "limit": str(MAX_TITLE_LENGTH)})
    if len(render_lead(rendered)) > MAX_LEAD_LENGTH:
        yield Problem(code="weibo_lead_too_long", facts={"limit": str(MAX_LEAD_LENGTH)})
    if not _get_host(get_article_cover_url(account) or ""):
        yield Problem(code="weibo_article_image", facts={"account": account.id})
