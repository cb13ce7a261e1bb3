"""What a list of own posts proves about one parcel. Pure.

An ordinary app is shown its five newest posts and no more, a business one a hundred, so a list that does not reach back
to the baseline proves nothing by what it lacks.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from publisher.domain.rendered import Baseline, Marker, SendRequest
from publisher.domain.results import NotFound, PossibleMatch, Published, ReadbackResult, Ticket, Unknown
from publisher.domain.text_match import is_similar

from .post_list import WeiboListedPost, WeiboPostList
from .urls import make_article_receipt, make_receipt

_TIMESTAMP_TOLERANCE = timedelta(seconds=1)
"""Posts carry whole seconds; the baseline carries fractions of one."""
LIST_TOO_SHORT = Unknown(reason="weibo_list_too_short")
"""What a list that does not reach back shows of a post that is not in it."""
BEYOND_LIST = Unknown(reason="weibo_list_too_short", is_beyond_list=True)
"""The same, where the list holds as many posts as can be read, all of them newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboMatchCriteria:
    """By what a post of ours is known again: its marker, and what stood before it."""

    marker: Marker
    baseline: Baseline
    owned_ids: frozenset[str] = frozenset()
    text: str | None = None
    is_article: bool = False


def make_criteria(request: SendRequest, text: str, *, is_article: bool) -> WeiboMatchCriteria:
    """Give what a look needs; `text` is what was said in the list's post."""
    return WeiboMatchCriteria(
        marker=request.marker, baseline=request.baseline, owned_ids=request.owned_ids, text=text, is_article=is_article
    )


def encode_ticket(request: SendRequest, *, is_article: bool) -> Ticket:
    """Write down all that a later look needs, as the platform gives no number for a post that is not visible yet."""
    facts = {
        "marker": request.marker.code,
        "newest_id": request.baseline.newest_id,
        "since": request.baseline.taken_at.isoformat(),
        **({"article": True} if is_article else {}),
    }
    return Ticket(payload=json.dumps(facts, separators=(",", ":")))


def decode_ticket(ticket: Ticket) -> WeiboMatchCriteria | str:
    """Read a ticket: the trace of an unseen post, or the plain number of a post that was seen."""
    if not ticket.payload.startswith("{"):
        return ticket.payload
    facts = json.loads(ticket.payload)
    baseline = Baseline(newest_id=facts["newest_id"], taken_at=datetime.fromisoformat(facts["since"]))
    return WeiboMatchCriteria(
        marker=Marker(code=facts["marker"]), baseline=baseline, is_article=facts.get("article", False)
    )


def interpret_timeline(
    timeline: WeiboPostList, criteria: WeiboMatchCriteria, uid: str, readable: int
) -> ReadbackResult:
    """Say what a list of at most `readable` posts shows of ours: it, its like, its absence, or nothing certain."""
    foreign = [item for item in timeline.items if item.id not in criteria.owned_ids]
    code = criteria.marker.normalized
    marked = [item for item in foreign if any(code in text for text in item.normalized_texts)]
    ours = [item for item in marked if not _is_before_baseline(item, criteria.baseline)]
    if ours:
        first = min(ours, key=lambda item: int(item.id))
        found = make_article_receipt if criteria.is_article else make_receipt
        return Published(
            receipt=found(first.id, uid, first.created_at), is_text_confirmed=code in first.normalized_texts[0]
        )
    alike = marked or [item for item in foreign if _is_alike(item, criteria)]
    if alike:
        likeness = make_receipt(alike[0].id, uid, alike[0].created_at)
        return PossibleMatch(remote_id=likeness.remote_id, url=likeness.url)
    if _covers_baseline(timeline, criteria.baseline, readable):
        return NotFound(covered_since=criteria.baseline.taken_at)
    is_full = len(timeline.items) >= readable and _is_newest_first(timeline.items[1:])
    return BEYOND_LIST if is_full else LIST_TOO_SHORT


def _is_alike(item: WeiboListedPost, criteria: WeiboMatchCriteria) -> bool:
    return (
        criteria.text is not None
        and not _is_before_baseline(item, criteria.baseline)
        and is_similar((criteria.text,), (item.texts[0],), criteria.marker)
    )


def _is_before_baseline(item: WeiboListedPost, baseline: Baseline) -> bool:
    """Whether a post stood on the account before the call."""
    newest = baseline.newest_id or ""
    if newest.isdigit() and int(item.id) <= int(newest):
        return True
    return item.created_at <= baseline.taken_at - _TIMESTAMP_TOLERANCE


def _covers_baseline(timeline: WeiboPostList, baseline: Baseline, readable: int) -> bool:
    """Whether nothing newer than the baseline can be missing from a list.

    Its end must be older than the baseline and its order newest first, each post once, else posts may have fallen out
    in between; the first one may be out of order or come again, as an account can pin a post. Or the list is the whole
    account: fewer posts than are readable, at least one, and as many as the account is said to have. An empty list
    proves nothing.
    """
    items = timeline.items
    if not items or not _is_newest_first(items[1:]):
        return False
    is_whole = len(items) < readable and timeline.total == len({item.id for item in items})
    return is_whole or _is_before_baseline(items[-1], baseline)


def _is_newest_first(items: Sequence[WeiboListedPost]) -> bool:
    return all(int(newer.id) > int(older.id) for newer, older in pairwise(items))
