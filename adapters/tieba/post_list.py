"""The proof that Tieba's lists and pages give about a thread. Pure.

A thread counts as published only when a read without any session shows it. The account itself also
sees threads that are in review or hidden.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from adapters.tieba import api
from publisher.contract import HttpResponse
from publisher.domain.post import Baseline, Marker, SendRequest
from publisher.domain.post_list import (
    MAX_LIST_ENTRIES,
    ListedPost,
    MatchCriteria,
    covers_baseline,
    match_list,
)
from publisher.domain.results import (
    Deleted,
    Published,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Submitted,
    Ticket,
    Unknown,
)

from .codes import THREAD_GONE_CODES, to_message_key

NO_AUTHOR = Unknown(reason="tieba_no_author")
"""The result of a response that does not name the thread's author."""
Authors = Mapping[int, api.Json]
"""Users by their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadMatchCriteria(MatchCriteria):
    """How our thread is recognised. `tid` is its number, once there is one."""

    are_ids_ascending: bool = True
    tid: str | None = None


@dataclass(frozen=True, kw_only=True)
class TiebaListedThread(ListedPost):
    """One thread of the account's own list.

    `is_visible` is False if the list marks it as hidden or deleted.
    """

    fid: int
    is_visible: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TiebaThreadList:
    """The newest threads, as many pages as were read; `is_complete` means that there are no more.

    `has_unnamed` means that some entries name no author, so that they are left out although they
    may be ours.
    """

    items: tuple[TiebaListedThread, ...]
    is_complete: bool
    has_unnamed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadQuery:
    """The requested thread, and the account that must have written it."""

    tid: str
    marker: Marker | None
    identity: str


def make_criteria(request: SendRequest, tid: str | None = None) -> ThreadMatchCriteria:
    return ThreadMatchCriteria(
        marker=request.marker,
        baseline=request.baseline,
        tid=tid,
        owned_ids=request.owned_ids,
        title=request.rendered.title,
        text=request.rendered.text,
    )


def encode_ticket(criteria: ThreadMatchCriteria) -> Ticket:
    """Return the data that a later check needs, without any text of the post."""
    facts = {
        "tid": criteria.tid,
        "marker": criteria.marker.code,
        "newest_id": criteria.baseline.newest_id,
        "since": criteria.baseline.taken_at.isoformat(),
    }
    return Ticket(payload=json.dumps(facts, separators=(",", ":")))


def decode_ticket(ticket: Ticket) -> ThreadMatchCriteria | str:
    """Return the criteria for a thread that nobody has seen yet.

    For a thread that was seen, return its plain number.
    """
    if not ticket.payload.startswith("{"):
        return ticket.payload
    facts = json.loads(ticket.payload)
    baseline = Baseline(
        newest_id=facts["newest_id"], taken_at=datetime.fromisoformat(facts["since"])
    )
    return ThreadMatchCriteria(
        marker=Marker(code=facts["marker"]), baseline=baseline, tid=facts["tid"]
    )


def decode_own_threads(
    response: HttpResponse | api.RequestFailure,
    identity: str,
    own_number: int | None = None,
) -> TiebaThreadList | ReadFailure:
    """Return one page of the account's own list; an entry of another account makes it worthless.

    Where the platform gives no more of an author than the number, it is compared with `own_number`,
    the account's own.
    """
    body = api.decode_body(response)
    if not isinstance(body, Mapping):
        return api.to_unread(body)
    if (code := api.get_error_code(body)) != 0:
        return Unknown(reason="bad_response" if code is None else to_message_key(code))
    data = body.get("data")
    entries = data.get("list") if isinstance(data, dict) else None
    if (
        not isinstance(data, dict)
        or not isinstance(entries, list)
        or len(entries) > MAX_LIST_ENTRIES
    ):
        return Unknown(reason="bad_response")
    own = {own_number: {"portrait": identity}} if own_number else {}
    authors = {**find_authors(data), **own}
    items, has_unnamed = [], False
    for entry in entries:
        item = _decode_listed_thread(entry, identity, authors)
        if item == NO_AUTHOR:
            has_unnamed = True
        elif isinstance(item, Unknown):
            return item
        else:
            items.append(item)
    is_complete = api.to_int(data.get("has_more")) == 0
    return TiebaThreadList(
        items=tuple(items), is_complete=is_complete, has_unnamed=has_unnamed
    )


def join_pages(pages: Sequence[TiebaThreadList]) -> TiebaThreadList:
    """Join pages.

    An empty last page was announced and did not come, so the list is not complete.
    """
    items = tuple(item for page in pages for item in page.items)
    is_complete = pages[-1].is_complete and bool(pages[-1].items)
    return TiebaThreadList(
        items=items,
        is_complete=is_complete,
        has_unnamed=any(page.has_unnamed for page in pages),
    )


def reaches_baseline(listing: TiebaThreadList, baseline: Baseline) -> bool:
    """True if every thread newer than the baseline is in the list.

    It may also be among the list's entries without an author.
    """
    return covers_baseline(
        listing.items, baseline, is_complete=listing.is_complete, are_ids_ascending=True
    )


def interpret_thread_list(
    listing: TiebaThreadList, criteria: ThreadMatchCriteria, fid: int, now: datetime
) -> ReadbackResult:
    """Return the state that the account's own list shows: our thread, a similar one, or absence.

    Or the list shows nothing certain. Only threads of the forum can be ours. A thread seen by the
    account itself need not be visible to others.
    """
    in_forum = [item for item in listing.items if item.fid == fid]
    is_covered = (
        reaches_baseline(listing, criteria.baseline) and not listing.has_unnamed
    )
    found = match_list(in_forum, criteria, is_covered=is_covered)
    if isinstance(found, Published):
        seen = replace(criteria, tid=found.receipt.remote_id)
        return Submitted(ticket=encode_ticket(seen), check_again_at=now)
    return found or (
        NO_AUTHOR if listing.has_unnamed else Unknown(reason="tieba_list_incomplete")
    )


def interpret_page(
    response: HttpResponse | api.RequestFailure, query: ThreadQuery, now: datetime
) -> Published | Deleted | ReadFailure:
    """Return whether anybody can see the thread, with our marker in it.

    It is Deleted only if the platform states it.
    """
    body = decode_thread_page(response, query)
    if not isinstance(body, Mapping):
        return body
    thread, first_post = (
        api.get_object(body, "thread"),
        api.get_object(body, "first_floor"),
    )
    at = (
        api.parse_unix_time(thread.get("create_time"))
        or api.parse_unix_time(first_post.get("time"))
        or now
    )
    receipt = Receipt(
        remote_id=query.tid, url=build_thread_url(query.tid), published_at=at
    )
    return Published(
        receipt=receipt, is_text_confirmed=_has_marker(thread, first_post, query.marker)
    )


def decode_thread_page(
    response: HttpResponse | api.RequestFailure, query: ThreadQuery
) -> api.Json | Deleted | ReadFailure:
    """Return the page if it shows the requested thread, written by the account.

    The thread is identified by its number or, where the page has none, by the marker.
    """
    body = api.decode_body(response)
    if not isinstance(body, Mapping):
        return api.to_unread(body)
    code = api.get_error_code(body)
    if code in THREAD_GONE_CODES:
        return Deleted()
    if code != 0:
        return Unknown(reason="bad_response" if code is None else to_message_key(code))
    thread, first_post = (
        api.get_object(body, "thread"),
        api.get_object(body, "first_floor"),
    )
    if api.to_int(thread.get("is_deleted")) == 1:
        return Deleted()
    places = ((thread, "id"), (thread, "tid"), (first_post, "tid"))
    numbers = {str(place[key]) for place, key in places if place.get(key)}
    if (
        numbers != {query.tid}
        if numbers
        else not _has_marker(thread, first_post, query.marker)
    ):
        return Unknown(reason="tieba_other_page")
    authors = find_authors(body)
    is_ours = [
        is_written_by(post, query.identity, authors) for post in (thread, first_post)
    ]
    if False in is_ours:
        return Unknown(reason="tieba_wrong_account")
    return body if True in is_ours else NO_AUTHOR


def _has_marker(thread: api.Json, first_post: api.Json, marker: Marker | None) -> bool:
    texts = (str(thread.get("title", "")), join_texts(first_post.get("content")))
    return marker is not None and any(marker.is_in(text) for text in texts)


def join_texts(content: object) -> str:
    """Join the texts of a list of content parts; pictures and the like have none."""
    if not isinstance(content, list):
        return ""
    return "".join(
        str(part.get("text", "")) for part in content if isinstance(part, dict)
    )


def build_thread_url(tid: str) -> str:
    return f"{api.WEB_URL}/p/{tid}"


def _decode_listed_thread(
    entry: object, identity: str, authors: Authors
) -> TiebaListedThread | Unknown:
    info = entry.get("thread_info") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(info, dict):
        return Unknown(reason="bad_response")
    tid = api.to_int(info.get("tid")) or api.to_int(info.get("id"))
    fid = api.to_int(info.get("fid"))
    at, title = api.parse_unix_time(info.get("create_time")), str(info.get("title", ""))
    if not tid or fid is None or at is None:
        return Unknown(reason="tieba_no_id")
    if not (is_ours := is_written_by(info, identity, authors)):
        return NO_AUTHOR if is_ours is None else Unknown(reason="tieba_wrong_account")
    is_visible = not any(
        api.to_int(flag) == 1 for flag in (entry.get("private"), info.get("is_deleted"))
    )
    return TiebaListedThread(
        remote_id=str(tid),
        url=build_thread_url(str(tid)),
        fid=fid,
        created_at=at,
        title=title,
        text=join_texts(info.get("abstract")),
        is_visible=is_visible,
    )


def find_authors(body: api.Json) -> Authors:
    """Return the users that a response names, by number.

    A post often has only the number of its author.
    """
    listed = body.get("user_list")
    users = [
        api.get_object(api.get_object(body, key), "author")
        for key in ("thread", "first_floor")
    ]
    users += (
        [user for user in listed if isinstance(user, dict)]
        if isinstance(listed, list)
        else []
    )
    return {
        number: user
        for user in users
        if get_names(user) and (number := api.to_int(user.get("id")))
    }


def get_names(user: api.Json) -> frozenset[str]:
    """Return the names of a user: portrait, user name and nickname.

    Text that may follow a portrait is left out.
    """
    names = {
        str(user[key]) for key in ("portrait", "name", "name_show") if user.get(key)
    }
    return frozenset({*names, *(name.partition("?")[0] for name in names)})


def is_written_by(post: api.Json, identity: str, authors: Authors) -> bool | None:
    """Return whether a thread or reply is the account's own; None if it has no named author.

    A post without a named author is nobody's: neither ours, nor proof that ours is missing.
    """
    author_id = api.to_int(post.get("author_id"))
    names = get_names(api.get_object(post, "author")) or get_names(
        authors.get(author_id or 0, {})
    )
    return identity in names if names else None
