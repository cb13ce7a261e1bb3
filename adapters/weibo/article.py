"""Headline articles: long words behind a short post (wiki Toutiao/api, 2022-11-29, read 2026-11-25). Pure."""

from html import escape

from publisher.domain.account import Account
from publisher.domain.rendition import Rendition

from .profiles import article_cover
from .traits import measure, plain_limit

TITLE_LIMIT = 32
LEAD_LIMIT = 1900
"""The page's limit for the post that leads to an article, in characters."""


def is_article(account: Account, rendition: Rendition) -> bool:
    """Whether the words go out as an article: where the account writes them, and a plain post cannot hold them."""
    return article_cover(account) is not None and measure(rendition.text) > plain_limit(account)


def lead(rendition: Rendition) -> str:
    """Give the post that leads to the article: its first lines up to the marker, then the link."""
    lines: list[str] = []
    for line in rendition.text.splitlines():
        lines.append(line)
        if rendition.marker.is_in("\n".join(lines)):
            break
    words = "\n".join(lines)
    return words if not rendition.link or rendition.link in words else f"{words} {rendition.link}"


def content(rendition: Rendition) -> str:
    """Give the article itself: each line of the text is a paragraph."""
    return "".join(f"<p>{escape(line)}</p>" for line in rendition.text.splitlines() if line.strip())
