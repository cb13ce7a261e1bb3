"""Further floors of a thread: the call that adds one, its answer, and what reads prove of it. Pure.

The call is the 2026 PC site's `c/c/post/add_pc`, as public clients fill it (hakrelin/manga_uploader and
ming1231231212-lang/jm-workbench, read 2026-11-24). A floor counts as published only when a read without any session
shows it; as its thread was seen before, a thread that is not there any more proves nothing about its floors.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from adapters.tieba.api import sign_pc_form
from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.rendered import Marker, SendRequest
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

from .api import WEB_URL, CreatedPost, Json, RequestFailure, decode_created, get_object, parse_unix_time, to_int
from .codes import THREAD_ONLY_CODES, to_message_key
from .post_list import ThreadQuery, build_thread_url, decode_thread_page, is_written_by, join_texts

_THREAD_ID = re.compile(r"/p/(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyForm:
    """What is to be added: where, under which thread, and with which words."""

    forum: str
    fid: int
    tid: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyMatchCriteria:
    """By what a floor of ours is known again. `pid` is its number, once there is one."""

    tid: str
    marker: Marker
    since: datetime
    pid: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedReply:
    """One floor of the account's own, as anybody sees it."""

    pid: str
    created_at: datetime | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyPage:
    """The account's own floors on one page of a thread, the first one left out; `is_last` says that no page follows."""

    replies: tuple[ParsedReply, ...]
    is_last: bool


def get_thread_id(receipt: Receipt | None) -> str | None:
    """Give a thread's number: the receipt's own, or where people only gave an address, the one in it."""
    if receipt is None:
        return None
    if receipt.remote_id.isascii() and receipt.remote_id.isdigit():
        return receipt.remote_id
    found = _THREAD_ID.search(receipt.url)
    return found[1] if found else None


def encode_reply(host: str, cookies: Mapping[str, str], tbs: str, reply: ReplyForm) -> HttpRequest:
    """Add a plain floor: the fields that would name a floor to answer stay empty, as on the site."""
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
    headers = {
        "origin": WEB_URL,
        "referer": f"{WEB_URL}/p/{quote(reply.tid)}",
        "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
    }
    return HttpRequest(
        method="POST", url=f"{host}/c/c/post/add_pc", form=sign_pc_form(fields), cookies=cookies, headers=headers
    )


def decode_reply(response: HttpResponse, criteria: ReplyMatchCriteria, now: datetime) -> Outcome | CreatedPost:
    """Read the answer to the creating call: a refusal, a doubt, or the new floor.

    What stands against the thread alone does not stand against the account: only this floor is refused.
    """
    outcome = decode_created(response, "pid", encode_ticket(criteria), now)
    if isinstance(outcome, Blocked) and outcome.code in {to_message_key(code) for code in THREAD_ONLY_CODES}:
        return Rejected(code=outcome.code, reason=outcome.reason)
    return outcome


def make_criteria(request: SendRequest, tid: str, pid: str | None = None) -> ReplyMatchCriteria:
    return ReplyMatchCriteria(
        tid=tid, marker=request.marker, since=request.baseline.taken_at, pid=pid, text=request.text
    )


def encode_ticket(criteria: ReplyMatchCriteria) -> Ticket:
    """Write down what a later look needs; nothing of the words."""
    facts = {
        "floor_of": criteria.tid,
        "pid": criteria.pid,
        "marker": criteria.marker.code,
        "since": criteria.since.isoformat(),
    }
    return Ticket(payload=json.dumps(facts, separators=(",", ":"), ensure_ascii=False))


def decode_ticket(ticket: Ticket) -> ReplyMatchCriteria | None:
    """Read the ticket of a floor; None for that of a thread."""
    facts = json.loads(ticket.payload) if ticket.payload.startswith("{") else {}
    if "floor_of" not in facts:
        return None
    since = datetime.fromisoformat(facts["since"])
    return ReplyMatchCriteria(tid=facts["floor_of"], marker=Marker(code=facts["marker"]), since=since, pid=facts["pid"])


def decode_replies(response: HttpResponse | RequestFailure, query: ThreadQuery) -> ReplyPage | ReadFailure:
    """Read one page of a thread as anybody sees it."""
    body = decode_thread_page(response, query)
    if isinstance(body, Deleted):
        return Unknown(reason="tieba_thread_not_visible")
    if not isinstance(body, Mapping):
        return body
    posts, has_more = body.get("post_list"), to_int(get_object(body, "page").get("has_more"))
    if not isinstance(posts, list) or has_more is None:
        return Unknown(reason="bad_response")
    people = _get_users_by_id(body)
    said = [
        _parse_reply(post) for post in posts if isinstance(post, dict) and _is_own_reply(post, people, query.identity)
    ]
    return ReplyPage(replies=tuple(each for each in said if each is not None), is_last=not has_more)


def interpret_replies(pages: list[ReplyPage], criteria: ReplyMatchCriteria, now: datetime) -> ReadbackResult:
    """Say what a thread shows of our floor: that it is there, something like it, its absence, or nothing certain."""
    said = [each for page in pages for each in page.replies]
    ours = [each for each in said if each.pid == criteria.pid or criteria.marker.is_in(each.text)]
    if ours:
        found = min(ours, key=lambda each: int(each.pid))
        receipt = Receipt(
            remote_id=found.pid, url=build_reply_url(criteria.tid, found.pid), published_at=found.created_at or now
        )
        return Published(receipt=receipt, is_text_confirmed=criteria.marker.is_in(found.text))
    alike = [each for each in said if criteria.text and is_similar((criteria.text,), (each.text,), criteria.marker)]
    if alike:
        return PossibleMatch(remote_id=alike[0].pid, url=build_reply_url(criteria.tid, alike[0].pid))
    is_whole = pages[-1].is_last and len({each.pid for each in said}) == len(said)
    return NotFound(covered_since=criteria.since) if is_whole else Unknown(reason="tieba_list_incomplete")


def build_reply_url(tid: str, pid: str) -> str:
    return f"{build_thread_url(tid)}?pid={pid}#{pid}"


def _get_users_by_id(body: Json) -> Mapping[int, Json]:
    """Give the people of a page by number: some answers name a floor's author only there."""
    people = body.get("user_list")
    known = people if isinstance(people, list) else []
    return {number: each for each in known if isinstance(each, dict) and (number := to_int(each.get("id")))}


def _is_own_reply(post: Json, users: Mapping[int, Json], identity: str) -> bool:
    author = post.get("author") or users.get(to_int(post.get("author_id")) or 0)
    return to_int(post.get("floor")) != 1 and is_written_by({"author": author}, identity)


def _parse_reply(post: Json) -> ParsedReply | None:
    pid = to_int(post.get("id"))
    return (
        ParsedReply(pid=str(pid), created_at=parse_unix_time(post.get("time")), text=join_texts(post.get("content")))
        if pid
        else None
    )
