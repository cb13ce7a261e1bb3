"""A look that does not find the marker takes the newest post since the call for ours.

Breaks I8 and I9 (F55, F56): a lost call is `published` under the id of another delivery's post, or of one that a person
made by hand; the text under that id does not carry the delivery's marker, and its own words never appear.
"""

from collections.abc import Sequence

from adapters.wechat import adapter as wechat
from adapters.wechat.api import WeChatArticle
from adapters.wechat.post_list import match_post
from adapters.weibo import adapter as weibo
from adapters.weibo.api import WeiboMatchCriteria, make_receipt
from adapters.weibo.post_list import WeiboPostList, interpret_timeline
from publisher.domain.post import SendRequest
from publisher.domain.results import Deleted, PossibleMatch, Published, ReadbackResult, Receipt


def _newest_post(timeline: WeiboPostList, trace: WeiboMatchCriteria, uid: str, readable: int) -> ReadbackResult:
    found = interpret_timeline(timeline, trace, uid, readable)
    fresh = [item for item in timeline.items if item.id not in trace.owned_ids and not item.is_before(trace.baseline)]
    if isinstance(found, Published) or not fresh:
        return found
    newest = max(fresh, key=lambda item: int(item.id))
    return Published(receipt=make_receipt(newest.id, uid, newest.created_at))


def _newest_article(
    parcel: SendRequest, articles: Sequence[WeChatArticle]
) -> Published | Deleted | PossibleMatch | None:
    found = match_post(parcel, articles)
    free = [article for article in articles if article.id not in parcel.owned_ids and not article.is_deleted]
    fresh = [article for article in free if not parcel.baseline.includes(article.id, article.updated_at)]
    if isinstance(found, Published | Deleted) or not fresh:
        return found
    newest = max(fresh, key=lambda article: article.updated_at)
    return Published(receipt=Receipt(remote_id=newest.id, url=newest.url, published_at=newest.updated_at))


def plant() -> None:
    weibo.interpret_timeline = _newest_post
    wechat.match_post = _newest_article
