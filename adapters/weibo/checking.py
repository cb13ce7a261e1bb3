"""What Weibo would refuse in a rendition, and what it would change. Pure."""

import re
from collections.abc import Iterator, Sequence

from publisher.domain.problem import Problem, Severity
from publisher.domain.rendition import Picture, Rendition

from .traits import TRAITS

PICTURE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
PICTURE_BYTES = 5 * 1024 * 1024
_TOPIC = re.compile(r"#[^#\n]+#")
_LINKS = re.compile(r"https?://\S+")


def problems_of(rendition: Rendition) -> Sequence[Problem]:
    """Name all that `share` refuses (wiki 2/statuses/share): length, missing link, pictures."""
    return (*_text(rendition.text), *_link(rendition), *_pictures(rendition.pictures))


def _text(text: str) -> Iterator[Problem]:
    length = TRAITS.measure(text)
    if length > TRAITS.text_limit:
        yield Problem(code="weibo_text_too_long", facts={"length": str(length), "limit": str(TRAITS.text_limit)})
    if topic := _TOPIC.search(_LINKS.sub("", text)):
        yield Problem(code="weibo_topic_marks", severity=Severity.WARNING, facts={"topic": topic.group()})


def _link(rendition: Rendition) -> Iterator[Problem]:
    if not rendition.link or rendition.link not in rendition.text:
        yield Problem(code="weibo_no_safe_link", facts={"link": rendition.link or ""})
        return
    after = rendition.text.split(rendition.link, 1)[1][:1]
    if after and not after.isspace():
        yield Problem(code="weibo_link_not_apart", facts={"link": rendition.link, "next": after})


def _pictures(pictures: Sequence[Picture]) -> Iterator[Problem]:
    if len(pictures) > TRAITS.picture_limit:
        yield Problem(code="weibo_too_many_pictures", facts={"count": str(len(pictures))})
    for picture in pictures:
        if picture.media_type not in PICTURE_TYPES:
            yield Problem(code="weibo_picture_type", facts={"type": picture.media_type})
        if picture.size >= PICTURE_BYTES:
            yield Problem(code="weibo_picture_size", facts={"megabytes": f"{picture.size / 1024 / 1024:.1f}"})
