"""A look that does not find the marker takes the newest post since the call for ours.

Breaks I8 and I9 (F55, F56): a lost call is `published` under the id of another delivery's post, or of one that a person
made by hand; the text under that id does not carry the delivery's marker, and its own words never appear.
"""

from collections.abc import Sequence

from adapters.wechat import client as wechat
from adapters.wechat.reading import _is_old as is_old_article
from adapters.wechat.reading import recognise
from adapters.wechat.wire import Article
from adapters.weibo import client as weibo
from adapters.weibo.address import receipt
from adapters.weibo.reading import Timeline
from adapters.weibo.timeline import Trace, _is_old, judge
from publisher.domain.outcome import Finding, Gone, Lookalike, Published, Receipt
from publisher.domain.rendition import Parcel


def _newest_post(timeline: Timeline, trace: Trace, uid: str, readable: int) -> Finding:
    found = judge(timeline, trace, uid, readable)
    fresh = [item for item in timeline.items if item.id not in trace.owned_ids and not _is_old(item, trace.baseline)]
    if isinstance(found, Published) or not fresh:
        return found
    newest = max(fresh, key=lambda item: int(item.id))
    return Published(receipt=receipt(newest.id, uid, newest.at))


def _newest_article(parcel: Parcel, articles: Sequence[Article]) -> Published | Gone | Lookalike | None:
    found = recognise(parcel, articles)
    free = [article for article in articles if article.id not in parcel.owned_ids and not article.is_deleted]
    fresh = [article for article in free if not is_old_article(article, parcel.baseline)]
    if isinstance(found, Published | Gone) or not fresh:
        return found
    newest = max(fresh, key=lambda article: article.updated_at)
    return Published(receipt=Receipt(remote_id=newest.id, url=newest.url, live_at=newest.updated_at))


def plant() -> None:
    weibo.judge = _newest_post
    wechat.recognise = _newest_article
