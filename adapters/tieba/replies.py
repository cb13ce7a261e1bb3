"""Replies to a thread: the call that adds one, its response, and the proof by reads. Pure.

The call is the 2026 PC site's `c/c/post/add_pc`, as public clients fill it. They are
hakrelin/manga_uploader and ming1231231212-lang/jm-workbench, read 2026-11-24. A reply counts as
published only when a read without any session shows it. As its thread was seen before, a thread
that no longer exists proves nothing about its replies.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.post import Marker, SendRequest
from publisher.domain.post_list import MAX_LIST_ENTRIES
from publisher.domain.results import (
    Blocked,
    Deleted,
    NotFound,
    Outcome,
    PossibleMatch,
    Published,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Rejected,
    Ticket,
    Unknown,
)
from publisher.domain.verification import is_similar

from .api import (
    CreatedPost,
    RequestFailure,
    build_write_request,
    decode_created,
    get_object,
    parse_unix_time,
    to_int,
)
from .codes import THREAD_ONLY_CODES, to_message_key
from .post_list import (
    NO_AUTHOR,
    ThreadQuery,
    build_thread_url,
    decode_thread_page,
    find_authors,
    is_written_by,
    join_texts,
)

_THREAD_ID = re.compile(r"/p/(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyForm:
    """The thread and the text of a new reply."""

    forum: str
    fid: int
    tid: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyMatchCriteria:
    """How our reply is recognised. `pid` is its number, once there is one."""

    tid: str
    marker: Marker
    since: datetime
    pid: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedReply:
    """One reply by the account, as anybody sees it."""

    pid: str
    created_at: datetime | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyPage:
    """The account's replies on one page of a thread, without the first post.

    `is_last` means that no page follows. `has_unnamed` means that the page names no author of some
    replies. These may be ours.
    """

    replies: tuple[ParsedReply, ...]
    is_last: bool
    has_unnamed: bool


def get_thread_id(receipt: Receipt | None) -> str | None:
    """Return a thread's number: the receipt's id.

    If a person entered only a URL, it is the number in the URL.
    """
    if receipt is None:
        return None
    if receipt.remote_id.isascii() and receipt.remote_id.isdigit():
        return receipt.remote_id
    match = _THREAD_ID.search(receipt.url)
    return match[1] if match else None


def encode_reply(
    host: str, cookies: Mapping[str, str], tbs: str, reply: ReplyForm
) -> HttpRequest:
    """Add a plain reply.

    The fields that would name a reply to answer stay empty, as on the site.
    """
    fields = {
        "kw": reply.forum,
        "fid": str(reply.fid),
        "tid": reply.tid,
        "content": reply.content,
        "quote_id": "",
        "repostid": "",
        "sub_post_id": "",
        "name_show": "",
        "jt": "",
        "tbs": tbs,
    }
    return build_write_request(
        f"{host}/c/c/post/add_pc", fields, cookies, f"/p/{quote(reply.tid)}"
    )


def decode_reply(
    response: HttpResponse, criteria: ReplyMatchCriteria, now: datetime
) -> Outcome | CreatedPost:
    """Return the outcome of the creating call, or the new reply.

    A code that concerns the thread alone rejects this reply and does not block the account.
    """
    outcome = decode_created(response, "pid", encode_ticket(criteria), now)
    if isinstance(outcome, Blocked) and outcome.code in {
        to_message_key(code) for code in THREAD_ONLY_CODES
    }:
        return Rejected(code=outcome.code, reason=outcome.reason)
    return outcome


def make_criteria(
    request: SendRequest, tid: str, pid: str | None = None
) -> ReplyMatchCriteria:
    return ReplyMatchCriteria(
        tid=tid,
        marker=request.marker,
        since=request.baseline.taken_at,
        pid=pid,
        text=request.text,
    )


def encode_ticket(criteria: ReplyMatchCriteria) -> Ticket:
    """Return the data that a later check needs, without any text of the post."""
    facts = {
        "floor_of": criteria.tid,
        "pid": criteria.pid,
        "marker": criteria.marker.code,
        "since": criteria.since.isoformat(),
    }
    return Ticket(payload=json.dumps(facts, separators=(",", ":"), ensure_ascii=False))


def decode_ticket(ticket: Ticket) -> ReplyMatchCriteria | None:
    """Return the criteria in the ticket of a reply; None for that of a thread."""
    facts = json.loads(ticket.payload) if ticket.payload.startswith("{") else {}
    if "floor_of" not in facts:
        return None
    since = datetime.fromisoformat(facts["since"])
    return ReplyMatchCriteria(
        tid=facts["floor_of"],
        marker=Marker(code=facts["marker"]),
        since=since,
        pid=facts["pid"],
    )


def decode_replies(
    response: HttpResponse | RequestFailure, query: ThreadQuery
) -> ReplyPage | ReadFailure:
    """Return the account's replies on one page of a thread, as anybody sees it."""
    body = decode_thread_page(response, query)
    if isinstance(body, Deleted):
        return Unknown(reason="tieba_thread_not_visible")
    if not isinstance(body, Mapping):
        return body
    posts, has_more = (
        body.get("post_list"),
        to_int(get_object(body, "page").get("has_more")),
    )
    if not isinstance(posts, list) or len(posts) > MAX_LIST_ENTRIES or has_more is None:
        return Unknown(reason="bad_response")
    authors, replies, has_unnamed = find_authors(body), [], False
    for post in posts:
        if not isinstance(post, dict) or to_int(post.get("floor")) == 1:
            continue
        pid, is_ours = (
            to_int(post.get("id")),
            is_written_by(post, query.identity, authors),
        )
        has_unnamed = has_unnamed or is_ours is None
        if pid and is_ours:
            at, text = (
                parse_unix_time(post.get("time")),
                join_texts(post.get("content")),
            )
            replies.append(ParsedReply(pid=str(pid), created_at=at, text=text))
    return ReplyPage(
        replies=tuple(replies), is_last=not has_more, has_unnamed=has_unnamed
    )


def interpret_replies(
    pages: list[ReplyPage], criteria: ReplyMatchCriteria, now: datetime
) -> ReadbackResult:
    """Return the state that a thread shows of our reply.

    It is the reply itself, a similar one, its absence, or nothing certain.
    """
    replies = [reply for page in pages for reply in page.replies]
    ours = [
        reply
        for reply in replies
        if reply.pid == criteria.pid or criteria.marker.is_in(reply.text)
    ]
    if ours:
        found = min(ours, key=lambda reply: int(reply.pid))
        receipt = Receipt(
            remote_id=found.pid,
            url=build_reply_url(criteria.tid, found.pid),
            published_at=found.created_at or now,
        )
        return Published(
            receipt=receipt, is_text_confirmed=criteria.marker.is_in(found.text)
        )
    for reply in replies:
        if criteria.text and is_similar(
            (criteria.text,), (reply.text,), criteria.marker
        ):
            return PossibleMatch(
                remote_id=reply.pid, url=build_reply_url(criteria.tid, reply.pid)
            )
    if any(page.has_unnamed for page in pages):
        return NO_AUTHOR
    is_complete = pages[-1].is_last and len({reply.pid for reply in replies}) == len(
        replies
    )
    return (
        NotFound(covered_since=criteria.since)
        if is_complete
        else Unknown(reason="tieba_list_incomplete")
    )


def build_reply_url(tid: str, pid: str) -> str:
    return f"{build_thread_url(tid)}?pid={pid}#{pid}"
