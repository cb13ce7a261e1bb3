"""Reads the list of published articles, and separates our articles from others."""

import html
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from adapters.wechat.mass_send import parse_mass_send_id
from publisher.domain.characters import normalize_compatible
from publisher.domain.post import Baseline, Marker, RenderedPost, SendRequest
from publisher.domain.post_list import ListedPost, MatchCriteria, match_list
from publisher.domain.results import (
    NotFound,
    ObservedPost,
    Published,
    ReadbackResult,
    Unknown,
)

from .api import ArticlePage, WeChatArticle
from .auth import FailedCall

_HTML_TAG = re.compile(r"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
"""A tag in which no other begins: a text of many `<` is searched in linear time."""
MIN_PAGES = 3
"""Pages that are always read, where there are as many: the list's order is documented nowhere."""
MAX_PAGES = 25
"""A quarter of the day's budget for this call; reading more would starve other checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleList:
    """The published articles that were read, and the earliest time of a complete list.

    Without `covered_since` a missing article proves nothing; `reason` says why.
    """

    articles: tuple[WeChatArticle, ...]
    covered_since: datetime | None = None
    reason: str = ""


@dataclass(slots=True)
class _ListProgress:
    pages: list[ArticlePage] = field(default_factory=list)

    @property
    def articles(self) -> tuple[WeChatArticle, ...]:
        return tuple(article for page in self.pages for article in page.articles)

    @property
    def item_count(self) -> int:
        return sum(len(page.ids) for page in self.pages)

    @property
    def is_at_end(self) -> bool:
        return not self.pages[-1].ids or self.item_count >= self.pages[-1].total

    @property
    def is_complete(self) -> bool:
        """True if each item of the list was read once.

        Nothing moved between pages, nothing was left out.
        """
        ids = {item_id for page in self.pages for item_id in page.ids}
        return all(len(ids) == self.item_count == page.total for page in self.pages)

    def reaches_past(self, instant: datetime) -> bool:
        """True if the list surely goes back past an instant.

        It is newest first so far, with a whole page before it. A list moved between two pages if
        its length changes, or if it gives an item twice. Items may then be missing.
        """
        last = self.pages[-1].articles
        ids = [item_id for page in self.pages for item_id in page.ids]
        is_stable = len({page.total for page in self.pages}) == 1 and len(
            set(ids)
        ) == len(ids)
        is_newest_first = all(
            newer.updated_at >= older.updated_at
            for newer, older in pairwise(self.articles)
        )
        return (
            len(self.pages) >= MIN_PAGES
            and is_stable
            and is_newest_first
            and bool(last)
            and all(article.updated_at < instant for article in last)
        )


async def read_pages(
    read_page_at: Callable[[int], Awaitable[ArticlePage | FailedCall]],
    baseline: Baseline,
) -> ArticleList | FailedCall:
    """Read the whole list, or back past the baseline.

    A list that moved, was cut or never ends proves nothing.
    """
    progress = _ListProgress()
    for _ in range(MAX_PAGES):
        page = await read_page_at(progress.item_count)
        if isinstance(page, FailedCall):
            return page
        progress.pages.append(page)
        articles = progress.articles
        if progress.is_at_end:
            newest_id = baseline.newest_id
            has_baseline = (
                newest_id is None
                or parse_mass_send_id(newest_id)
                is not None  # no list contains a mass send
                or any(
                    article.id == newest_id or article.updated_at < baseline.taken_at
                    for article in articles
                )
            )
            if progress.is_complete and has_baseline:
                return ArticleList(articles=articles, covered_since=baseline.taken_at)
            return ArticleList(articles=articles, reason="wechat_list_incomplete")
        if progress.reaches_past(baseline.taken_at):
            return ArticleList(articles=articles, covered_since=articles[-1].updated_at)
    return ArticleList(articles=progress.articles, reason="wechat_list_too_long")


def match_post(request: SendRequest, articles: ArticleList) -> ReadbackResult:
    """Return the state of the request's post in the published articles.

    It is the post itself, a similar one, its absence, or nothing. The marker of an article is read
    from the list, but its whole text is not.
    """
    rendered = request.rendered
    criteria = MatchCriteria(
        marker=request.marker,
        baseline=request.baseline,
        owned_ids=request.owned_ids,
        title=rendered.title,
        text=rendered.summary
        or rendered.text,  # without a digest WeChat takes the beginning
    )
    listed = [
        ListedPost(
            remote_id=article.id,
            url=article.url,
            created_at=article.updated_at,
            title=article.title,
            text=article.digest,
            other_texts=(article.link,),
            is_deleted=article.is_deleted,
        )
        for article in articles.articles
    ]
    found = match_list(listed, criteria, is_covered=articles.covered_since is not None)
    if isinstance(found, Published):
        return Published(receipt=found.receipt)
    if isinstance(found, NotFound) and articles.covered_since is not None:
        return NotFound(covered_since=articles.covered_since)
    return found or Unknown(reason=articles.reason)


def has_marker(article: WeChatArticle, marker: Marker) -> bool:
    """True if an article or draft carries a marker, in its link, title or digest."""
    return any(
        marker.is_in(text) for text in (article.link, article.title, article.digest)
    )


def has_same_text(article: WeChatArticle, rendered: RenderedPost) -> bool:
    """True if a draft has the rendered texts, word for word.

    Tags, spacing and punctuation may be WeChat's own. If no digest was given, WeChat creates one
    itself.
    """
    pairs = [(rendered.title, article.title), (rendered.link or "", article.link)]
    pairs += [(rendered.summary, article.digest)] if rendered.summary else []
    pairs += [(rendered.text, article.content)] if article.content else []
    return all(
        _normalize_text(ours) == _normalize_text(theirs) for ours, theirs in pairs
    )


def to_observed_posts(articles: Sequence[WeChatArticle]) -> tuple[ObservedPost, ...]:
    """Return the articles that are not deleted, newest first, each id once.

    Lists omit the content.
    """
    published = {item.id: item for item in reversed(articles) if not item.is_deleted}
    return tuple(
        ObservedPost(
            remote_id=item.id,
            url=item.url,
            published_at=item.updated_at,
            text=f"{item.title}\n{item.digest}\n{item.link}",
        )
        for item in sorted(
            published.values(), key=lambda item: item.updated_at, reverse=True
        )
    )


def _normalize_text(text: str) -> str:
    plain = normalize_compatible(html.unescape(_HTML_TAG.sub(" ", text)))
    return "".join(letter for letter in plain if letter.isalnum())
