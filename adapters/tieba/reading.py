"""What Tieba's lists and pages prove about a thread. Pure.

A thread counts as published only when a read without any session shows it: the account itself also sees threads that
are in review or hidden.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from publisher.contract import Reply
from publisher.domain.likeness import is_alike
from publisher.domain.outcome import (
    Finding,
    Gone,
    Lookalike,
    Missing,
    Published,
    Receipt,
    Submitted,
    Ticket,
    Unknown,
    Unread,
)
from publisher.domain.rendition import Baseline, Marker, Parcel, fold

from .codes import GONE, name
from .wire import WEB, Json, Trouble, as_moment, as_number, as_unread, code_of, part, read_body

_GRACE = timedelta(seconds=1)
"""Threads carry whole seconds; the baseline carries fractions of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """By what a thread of ours is known again. `tid` is its number, once there is one."""

    marker: Marker
    baseline: Baseline
    tid: str | None = None
    owned_ids: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thread of the account's own list. `is_shown` says that nothing in it marks the thread as hidden or gone."""

    tid: str
    fid: int
    at: datetime
    title: str
    abstract: str
    is_shown: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The newest threads, as many pages as were read; `is_whole` says that there are no more."""

    items: tuple[Item, ...]
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which thread a page was asked for, and whose it must be."""

    tid: str
    marker: Marker | None
    identity: str


def trace_of(parcel: Parcel, tid: str | None = None) -> Trace:
    return Trace(
        marker=parcel.marker,
        baseline=parcel.baseline,
        tid=tid,
        owned_ids=parcel.owned_ids,
        words=(parcel.rendition.title, parcel.rendition.text),
    )


def write_ticket(trace: Trace) -> Ticket:
    """Write down what a later look needs; nothing of the words."""
    facts = {
        "tid": trace.tid,
        "marker": trace.marker.code,
        "newest_id": trace.baseline.newest_id,
        "since": trace.baseline.since.isoformat(),
    }
    return Ticket(number=json.dumps(facts, separators=(",", ":")))


def read_ticket(ticket: Ticket) -> Trace | str:
    """Read a ticket: the trace of a thread nobody has seen yet, or the plain number of one that was seen."""
    if not ticket.number.startswith("{"):
        return ticket.number
    facts = json.loads(ticket.number)
    baseline = Baseline(newest_id=facts["newest_id"], since=datetime.fromisoformat(facts["since"]))
    return Trace(marker=Marker(code=facts["marker"]), baseline=baseline, tid=facts["tid"])


def decode_own_threads(reply: Reply | Trouble, identity: str) -> Listing | Unread:
    """Read one page of the account's own list; an entry of somebody else makes it worthless."""
    body = read_body(reply)
    if not isinstance(body, Mapping):
        return as_unread(body)
    if (code := code_of(body)) != 0:
        return Unknown(reason="bad_reply" if code is None else name(code))
    data = body.get("data")
    entries = data.get("list") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(entries, list):
        return Unknown(reason="bad_reply")
    items = []
    for entry in entries:
        item = _item(entry, identity)
        if isinstance(item, Unknown):
            return item
        items.append(item)
    return Listing(items=tuple(items), is_whole=as_number(data.get("has_more")) == 0)


def joined(pages: Sequence[Listing]) -> Listing:
    """Put pages together. An empty page at the end was promised and did not come, so the list is not whole."""
    items = tuple(item for page in pages for item in page.items)
    return Listing(items=items, is_whole=pages[-1].is_whole and bool(pages[-1].items))


def reaches_back(listing: Listing, baseline: Baseline) -> bool:
    """Whether nothing newer than the baseline can be missing: newest first down to an older one, or all there is.

    A list that gives a thread twice moved between two pages, or is out of order: something may be missing.
    """
    if not listing.items or len({item.tid for item in listing.items}) < len(listing.items):
        return False
    is_ordered = all(newer.at >= older.at for newer, older in pairwise(listing.items))
    return listing.is_whole or (is_ordered and _is_old(listing.items[-1], baseline))


def judge(listing: Listing, trace: Trace, fid: int, now: datetime) -> Finding:
    """Say what the account's own list shows: our thread, something like it, its absence, or nothing certain."""
    here = [item for item in listing.items if item.fid == fid and item.tid not in trace.owned_ids]
    marked = [item for item in here if any(trace.marker.is_in(text) for text in (item.title, item.abstract))]
    ours = [item for item in marked if not _is_old(item, trace.baseline)]
    if ours:
        found = replace(trace, tid=min(ours, key=lambda item: int(item.tid)).tid)
        return Submitted(ticket=write_ticket(found), look_again_at=now)
    alike = marked or [item for item in here if _is_alike(item, trace)]
    if alike:
        return Lookalike(remote_id=alike[0].tid, url=url_of(alike[0].tid))
    if not reaches_back(listing, trace.baseline):
        return Unknown(reason="tieba_list_incomplete")
    return Missing(back_to=trace.baseline.since)


def decode_page(reply: Reply | Trouble, asked: Asked, now: datetime) -> Published | Gone | Unread:
    """Read whether anybody can see the thread, and our words in it. Gone is only what the platform says outright."""
    body = read_page(reply, asked)
    if not isinstance(body, Mapping):
        return body
    thread, floor = part(body, "thread"), part(body, "first_floor")
    at = as_moment(thread.get("create_time")) or as_moment(floor.get("time")) or now
    receipt = Receipt(remote_id=asked.tid, url=url_of(asked.tid), live_at=at)
    return Published(receipt=receipt, has_seen_text=_shows_marker(thread, floor, asked.marker))


def read_page(reply: Reply | Trouble, asked: Asked) -> Json | Gone | Unread:
    """Give the page of the thread that was asked for, if it is that one and of the account."""
    body = read_body(reply)
    if not isinstance(body, Mapping):
        return as_unread(body)
    code = code_of(body)
    if code in GONE:
        return Gone()
    if code != 0:
        return Unknown(reason="bad_reply" if code is None else name(code))
    thread, floor = part(body, "thread"), part(body, "first_floor")
    if as_number(thread.get("is_deleted")) == 1:
        return Gone()
    if not _is_the_one(thread, floor, asked):
        return Unknown(reason="tieba_other_page")
    if not is_by(thread, asked.identity) or not is_by(floor, asked.identity):
        return Unknown(reason="tieba_wrong_account")
    return body


def _is_the_one(thread: Json, floor: Json, asked: Asked) -> bool:
    """Whether a page shows the thread asked for: by its number, or where it names none, by the marker."""
    places = ((thread, "id"), (thread, "tid"), (floor, "tid"))
    numbers = {str(place[key]) for place, key in places if place.get(key)}
    return numbers == {asked.tid} if numbers else _shows_marker(thread, floor, asked.marker)


def _shows_marker(thread: Json, floor: Json, marker: Marker | None) -> bool:
    texts = (str(thread.get("title", "")), text_of(floor.get("content")))
    return marker is not None and any(marker.is_in(text) for text in texts)


def text_of(pieces: object) -> str:
    """Join the texts of a list of pieces; pictures and the like carry none."""
    if not isinstance(pieces, list):
        return ""
    return "".join(str(piece.get("text", "")) for piece in pieces if isinstance(piece, dict))


def url_of(tid: str) -> str:
    return f"{WEB}/p/{tid}"


def _item(entry: object, identity: str) -> Item | Unknown:
    info = entry.get("thread_info") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(info, dict):
        return Unknown(reason="bad_reply")
    tid, fid = as_number(info.get("tid")) or as_number(info.get("id")), as_number(info.get("fid"))
    at, title = as_moment(info.get("create_time")), str(info.get("title", ""))
    if not tid or fid is None or at is None:
        return Unknown(reason="tieba_no_id")
    if not is_by(info, identity):
        return Unknown(reason="tieba_wrong_account")
    is_shown = not any(as_number(mark) == 1 for mark in (entry.get("private"), info.get("is_deleted")))
    return Item(tid=str(tid), fid=fid, at=at, title=title, abstract=text_of(info.get("abstract")), is_shown=is_shown)


def is_by(part: Mapping[str, Any], identity: str) -> bool:
    """Whether a thread is the account's own, as far as the answer names an author at all."""
    author = part.get("author")
    if not isinstance(author, dict):
        return True
    names = {str(author[key]) for key in ("portrait", "name", "name_show") if author.get(key)}
    return not names or identity in {*names, *(each.partition("?")[0] for each in names)}


def _is_alike(item: Item, trace: Trace) -> bool:
    if not trace.words or _is_old(item, trace.baseline):
        return False
    is_titled_alike = fold(item.title) == fold(trace.words[0])
    return is_titled_alike or is_alike(trace.words, (item.title, item.abstract), trace.marker)


def _is_old(item: Item, baseline: Baseline) -> bool:
    """Whether a thread stood there before the call."""
    newest = baseline.newest_id or ""
    if newest.isdigit() and int(item.tid) <= int(newest):
        return True
    return item.at <= baseline.since - _GRACE
