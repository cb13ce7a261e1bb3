"""Read the list of published articles, and tell ours from the others."""

import html
import re
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from publisher.domain.likeness import is_alike
from publisher.domain.outcome import Gone, Lookalike, Published, Receipt, Sighting
from publisher.domain.rendition import Baseline, Marker, Parcel, Rendition

from .mass import read_mass_id
from .sign_in import Failed
from .wire import Article, Page

_TAG = re.compile(r"""<(?:[^>"']|"[^"]*"|'[^']*')*>""")
PAGES_AT_LEAST = 3
"""So much is always read, where there is so much: the list's order is documented nowhere."""
_GRACE = timedelta(seconds=1)
"""Articles carry whole seconds; the baseline carries fractions of one."""
MOST_PAGES = 25
"""A quarter of the day's budget for this call; a longer look would starve the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What one look at the published articles showed, and back to when it reaches.

    Without `back_to` it proves nothing by what it lacks; `reason` says why.
    """

    articles: tuple[Article, ...]
    back_to: datetime | None = None
    reason: str = ""


@dataclass(slots=True)
class _Reading:
    pages: list[Page] = field(default_factory=list)

    @property
    def articles(self) -> tuple[Article, ...]:
        return tuple(article for page in self.pages for article in page.articles)

    @property
    def items(self) -> int:
        return sum(len(page.ids) for page in self.pages)

    @property
    def is_at_end(self) -> bool:
        return not self.pages[-1].ids or self.items >= self.pages[-1].total

    @property
    def is_whole(self) -> bool:
        """Whether each item of the list was read once: nothing moved between pages, nothing was left out."""
        seen = {name for page in self.pages for name in page.ids}
        return all(len(seen) == self.items == page.total for page in self.pages)

    def is_past(self, instant: datetime) -> bool:
        """Whether it goes back past an instant for sure: in falling order so far, with a whole page before it.

        A list whose length changes, or that gives an item twice, moved between two pages: something may be missing.
        """
        last = self.pages[-1].articles
        names = [name for page in self.pages for name in page.ids]
        stood_still = len({page.total for page in self.pages}) == 1 and len(set(names)) == len(names)
        falling = all(newer.updated_at >= older.updated_at for newer, older in pairwise(self.articles))
        return (
            len(self.pages) >= PAGES_AT_LEAST
            and stood_still
            and falling
            and bool(last)
            and all(article.updated_at < instant for article in last)
        )


async def read_back(page_from: Callable[[int], Awaitable[Page | Failed]], baseline: Baseline) -> Shelf | Failed:
    """Read the list whole, or back past the baseline; a list that moved, was cut or never ends proves nothing."""
    reading = _Reading()
    for _ in range(MOST_PAGES):
        page = await page_from(reading.items)
        if isinstance(page, Failed):
            return page
        reading.pages.append(page)
        if reading.is_at_end:
            return _whole(reading, baseline)
        if reading.is_past(baseline.since):
            return Shelf(articles=reading.articles, back_to=reading.articles[-1].updated_at)
    return Shelf(articles=reading.articles, reason="wechat_list_too_long")


def _whole(reading: _Reading, baseline: Baseline) -> Shelf:
    articles = reading.articles
    newest_id = baseline.newest_id
    has_baseline = (
        newest_id is None
        or read_mass_id(newest_id) is not None  # such a one is in no list
        or any(article.id == newest_id or article.updated_at < baseline.since for article in articles)
    )
    if not reading.is_whole or not has_baseline:
        return Shelf(articles=articles, reason="wechat_list_incomplete")
    return Shelf(articles=articles, back_to=baseline.since)


def recognise(parcel: Parcel, articles: Sequence[Article]) -> Published | Gone | Lookalike | None:
    """Find the parcel's post among published articles: by its marker, never among what others own.

    A person's matter is what carries the marker but stood there before the attempt, and what says the same without it.
    """
    free = [article for article in articles if article.id not in parcel.owned_ids]
    marked = [article for article in free if carries(article, parcel.marker)]
    ours = [article for article in marked if not _is_old(article, parcel.baseline)]
    for article in ours:
        if not article.is_deleted:
            receipt = Receipt(remote_id=article.id, url=article.url, live_at=article.updated_at)
            return Published(receipt=receipt)
    if ours:
        return Gone()
    for article in marked or [article for article in free if _looks_like(article, parcel)]:
        return Lookalike(remote_id=article.id, url=article.url)
    return None


def carries(article: Article, marker: Marker) -> bool:
    """Whether an article or draft carries a marker, in its link, title or digest."""
    return any(marker.is_in(text) for text in (article.link, article.title, article.digest))


def says(article: Article, rendition: Rendition) -> bool:
    """Whether a draft says what was filed, word for word; tags, spacing and punctuation may be WeChat's own.

    Where no digest was given WeChat makes one itself.
    """
    pairs = [(rendition.title, article.title), (rendition.link or "", article.link)]
    pairs += [(rendition.summary, article.digest)] if rendition.summary else []
    pairs += [(rendition.text, article.content)] if article.content else []
    return all(_words(ours) == _words(theirs) for ours, theirs in pairs)


def in_sight(articles: Sequence[Article]) -> tuple[Sighting, ...]:
    """Give what still stands of some published articles, newest first, each id once. Lists leave the content out."""
    standing = {item.id: item for item in reversed(articles) if not item.is_deleted}
    return tuple(
        Sighting(
            remote_id=item.id,
            url=item.url,
            live_at=item.updated_at,
            text=f"{item.title}\n{item.digest}\n{item.link}",
        )
        for item in sorted(standing.values(), key=lambda item: item.updated_at, reverse=True)
    )


def _words(text: str) -> str:
    plain = unicodedata.normalize("NFKC", html.unescape(_TAG.sub(" ", text)))
    return "".join(letter for letter in plain if letter.isalnum())


def _is_old(article: Article, baseline: Baseline) -> bool:
    """Whether an article stood on the account before the call."""
    return article.id == baseline.newest_id or article.updated_at <= baseline.since - _GRACE


def _looks_like(article: Article, parcel: Parcel) -> bool:
    if article.is_deleted or article.updated_at <= parcel.baseline.since:
        return False
    rendition = parcel.rendition
    ours = (rendition.title, rendition.summary or rendition.text)  # without a digest WeChat takes the first words
    return is_alike(ours, (article.title, article.digest), parcel.marker)
