"""What a list of own posts proves about one parcel. Pure.

An ordinary app is shown its five newest posts and no more, a business one a hundred, so a list that does not reach back
to the baseline proves nothing by what it lacks.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from publisher.domain.likeness import is_alike
from publisher.domain.outcome import Finding, Lookalike, Missing, Published, Ticket, Unknown
from publisher.domain.rendition import Baseline, Marker, Parcel

from .address import article_receipt, receipt
from .reading import Item, Timeline

_GRACE = timedelta(seconds=1)
"""Posts carry whole seconds; the baseline carries fractions of one."""
TOO_SHORT = Unknown(reason="weibo_list_too_short")
"""What a list that does not reach back shows of a post that is not in it."""
OUT_OF_SIGHT = Unknown(reason="weibo_list_too_short", is_out_of_sight=True)
"""The same, where the list holds as many posts as can be read, all of them newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """By what a post of ours is known again: its marker, and what stood before it."""

    marker: Marker
    baseline: Baseline
    owned_ids: frozenset[str] = frozenset()
    text: str | None = None
    is_article: bool = False


def trace_of(parcel: Parcel, text: str, *, is_article: bool) -> Trace:
    """Give what a look needs; `text` is what was said in the list's post."""
    return Trace(
        marker=parcel.marker, baseline=parcel.baseline, owned_ids=parcel.owned_ids, text=text, is_article=is_article
    )


def write_ticket(parcel: Parcel, *, is_article: bool) -> Ticket:
    """Write down all that a later look needs, as the platform gives no number for a post that is not visible yet."""
    facts = {
        "marker": parcel.marker.code,
        "newest_id": parcel.baseline.newest_id,
        "since": parcel.baseline.since.isoformat(),
        **({"article": True} if is_article else {}),
    }
    return Ticket(number=json.dumps(facts, separators=(",", ":")))


def read_ticket(ticket: Ticket) -> Trace | str:
    """Read a ticket: the trace of an unseen post, or the plain number of a post that was seen."""
    if not ticket.number.startswith("{"):
        return ticket.number
    facts = json.loads(ticket.number)
    baseline = Baseline(newest_id=facts["newest_id"], since=datetime.fromisoformat(facts["since"]))
    return Trace(marker=Marker(code=facts["marker"]), baseline=baseline, is_article=facts.get("article", False))


def judge(timeline: Timeline, trace: Trace, uid: str, readable: int) -> Finding:
    """Say what a list of at most `readable` posts shows of ours: it, its like, its absence, or nothing certain."""
    foreign = [item for item in timeline.items if item.id not in trace.owned_ids]
    code = trace.marker.folded
    marked = [item for item in foreign if any(code in text for text in item.folded)]
    ours = [item for item in marked if not _is_old(item, trace.baseline)]
    if ours:
        first = min(ours, key=lambda item: int(item.id))
        found = article_receipt if trace.is_article else receipt
        return Published(receipt=found(first.id, uid, first.at), has_seen_text=code in first.folded[0])
    alike = marked or [item for item in foreign if _is_alike(item, trace)]
    if alike:
        likeness = receipt(alike[0].id, uid, alike[0].at)
        return Lookalike(remote_id=likeness.remote_id, url=likeness.url)
    if _reaches_back(timeline, trace.baseline, readable):
        return Missing(back_to=trace.baseline.since)
    is_full = len(timeline.items) >= readable and _is_newest_first(timeline.items[1:])
    return OUT_OF_SIGHT if is_full else TOO_SHORT


def _is_alike(item: Item, trace: Trace) -> bool:
    return (
        trace.text is not None
        and not _is_old(item, trace.baseline)
        and is_alike((trace.text,), (item.texts[0],), trace.marker)
    )


def _is_old(item: Item, baseline: Baseline) -> bool:
    """Whether a post stood on the account before the call."""
    newest = baseline.newest_id or ""
    if newest.isdigit() and int(item.id) <= int(newest):
        return True
    return item.at <= baseline.since - _GRACE


def _reaches_back(timeline: Timeline, baseline: Baseline, readable: int) -> bool:
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
    return is_whole or _is_old(items[-1], baseline)


def _is_newest_first(items: Sequence[Item]) -> bool:
    return all(int(newer.id) > int(older.id) for newer, older in pairwise(items))
