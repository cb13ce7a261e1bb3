"""Headline articles: long words behind a short post (wiki Toutiao/api, 2022-11-29, read 2026-11-25). Pure."""

from html import escape

from publisher.domain.account import Account
from publisher.domain.rendered import RenderedPost

from .capabilities import get_post_limit, measure
from .profiles import get_article_cover_url

MAX_TITLE_LENGTH = 32
MAX_LEAD_LENGTH = 1900
"""The page's limit for the post that leads to an article, in characters."""


def is_article(account: Account, rendered: RenderedPost) -> bool:
    """Whether the words go out as an article: where the account writes them, and a plain post cannot hold them."""
    return get_article_cover_url(account) is not None and measure(rendered.text) > get_post_limit(account)


def render_lead(rendered: RenderedPost) -> str:
    """Give the post that leads to the article: its first lines up to the marker, then the link."""
    lines: list[str] = []
    for line in rendered.text.splitlines():
        lines.append(line)
        if rendered.marker.is_in("\n".join(lines)):
            break
    words = "\n".join(lines)
    return words if not rendered.link or rendered.link in words else f"{words} {rendered.link}"


def render_content(rendered: RenderedPost) -> str:
    """Give the article itself: each line of the text is a paragraph."""
    return "".join(f"<p>{escape(line)}</p>" for line in rendered.text.splitlines() if line.strip())
