"""One page of the account's list counts as the whole list, however short, cut or empty it is.

Breaks I7 (F52, F53): `Missing` is found in a list that does not reach back past the intent. With `empty_list`,
`reorder`, or a few posts made by hand after a lost reply, absence is shown and the post goes out twice (I1).
"""

from collections.abc import Awaitable, Callable

from adapters.wechat import client
from adapters.wechat.reading import Shelf
from adapters.wechat.sign_in import Failed
from adapters.wechat.wire import Page
from adapters.weibo import timeline
from publisher.domain.rendition import Baseline


def _all_of_it(*_facts: object) -> bool:
    return True


async def _read_first(page_from: Callable[[int], Awaitable[Page | Failed]], baseline: Baseline) -> Shelf | Failed:
    page = await page_from(0)
    return page if isinstance(page, Failed) else Shelf(articles=page.articles, back_to=baseline.since)


def plant() -> None:
    timeline._reaches_back = _all_of_it
    client.read_back = _read_first
