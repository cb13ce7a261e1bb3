"""One page of the account's list counts as the whole list, however short, cut or empty it is.

Breaks I7 (F52, F53): `NotFound` is found in a list that does not reach back past the intent. With `empty_list`,
`reorder`, or a few posts made by hand after a lost reply, absence is shown and the post goes out twice (I1).
"""

from collections.abc import Awaitable, Callable

from adapters.wechat import adapter
from adapters.wechat.api import ArticlePage
from adapters.wechat.auth import FailedCall
from adapters.wechat.post_list import ArticleList
from adapters.weibo import post_list as timeline
from publisher.domain.post import Baseline


def _all_of_it(*_facts: object) -> bool:
    return True


async def _read_first(
    page_from: Callable[[int], Awaitable[ArticlePage | FailedCall]], baseline: Baseline
) -> ArticleList | FailedCall:
    page = await page_from(0)
    return (
        page if isinstance(page, FailedCall) else ArticleList(articles=page.articles, covered_since=baseline.taken_at)
    )


def plant() -> None:
    timeline.covers_baseline = _all_of_it
    adapter.read_pages = _read_first
