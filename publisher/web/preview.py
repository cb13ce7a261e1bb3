"""Previews of texts that are not stored yet: kept in memory for a while, so that a frame can ask for an article."""

import base64
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from publisher.domain.account import Capabilities
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import MEDIA_REFERENCE, RenderedPost

MAX_ARTICLES = 200
"""How many articles are kept, for all who write; each has some tens of kilobytes."""


@dataclass(slots=True)
class Articles:
    """The articles that were previewed last, by who may see them and by their fingerprint."""

    _kept: OrderedDict[tuple[str, str], tuple[str, str]] = field(default_factory=OrderedDict)

    def keep(self, user: str, rendered: RenderedPost, media: Mapping[str, tuple[str, bytes]]) -> None:
        key = user, rendered.fingerprint
        if key not in self._kept:
            self._kept[key] = rendered.title, embed_media(rendered.text, media)
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_ARTICLES:
            self._kept.popitem(last=False)

    def get(self, user: str, fingerprint: str) -> tuple[str, str]:
        """Return the title and the HTML of an article. Raises NoSuchItemError if it is gone, or not theirs."""
        if (article := self._kept.get((user, fingerprint))) is None:
            raise NoSuchItemError("preview", fingerprint[:16])
        return article


def embed_media(text: str, media: Mapping[str, tuple[str, bytes]]) -> str:
    """Return an article with its pictures in it: a frame without rights can ask for none."""

    def data_url(found: re.Match[str]) -> str:
        media_type, data = media.get(found[1], ("image/png", b""))
        return f"data:{media_type};base64,{base64.b64encode(data).decode()}"

    return MEDIA_REFERENCE.sub(data_url, text)


def split_overflow(rendered: RenderedPost, capabilities: Capabilities) -> tuple[str, str]:
    """Return what of a text fits, by the platform's own count, and what is too much."""
    text, limit = rendered.text, capabilities.text_limit_beside(len(rendered.images))
    if capabilities.count_text(text) <= limit:
        return text, ""
    fitting, above = 0, len(text)
    while fitting + 1 < above:
        middle = (fitting + above) // 2
        fitting, above = (middle, above) if capabilities.count_text(text[:middle]) <= limit else (fitting, middle)
    return text[:fitting], text[fitting:]
