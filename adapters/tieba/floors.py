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

from publisher.contract import Call, Reply
from publisher.domain.likeness import is_alike
from publisher.domain.outcome import (
    Blocked,
    Finding,
    Gone,
    Lookalike,
    Missing,
    Outcome,
    Published,
    Receipt,
    Rejected,
    Ticket,
    Unknown,
    Unread,
)
from publisher.domain.rendition import Marker, Parcel

from .codes import OF_THREAD, name
from .reading import Asked, is_by, read_page, text_of, url_of
from .signing import pc_form
from .wire import WEB, Json, Made, Trouble, as_moment, as_number, decode_created, part

_NUMBER = re.compile(r"/p/(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What is to be added: where, under which thread, and with which words."""

    forum: str
    fid: int
    tid: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorTrace:
    """By what a floor of ours is known again. `pid` is its number, once there is one."""

    tid: str
    marker: Marker
    since: datetime
    pid: str | None = None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One floor of the account's own, as anybody sees it."""

    pid: str
    at: datetime | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorsPage:
    """The account's own floors on one page of a thread, the first one left out; `is_last` says that no page follows."""

    said: tuple[Said, ...]
    is_last: bool


def thread_of(receipt: Receipt | None) -> str | None:
    """Give a thread's number: the receipt's own, or where people only gave an address, the one in it."""
    if receipt is None:
        return None
    if receipt.remote_id.isascii() and receipt.remote_id.isdigit():
        return receipt.remote_id
    found = _NUMBER.search(receipt.url)
    return found[1] if found else None


def encode_reply(host: str, cookies: Mapping[str, str], tbs: str, floor: Floor) -> Call:
    """Add a plain floor: the fields that would name a floor to answer stay empty, as on the site."""
    fields = {
        "kw": floor.forum,
        "fid": str(floor.fid),
        "tid": floor.tid,
        "content": floor.content,
        "quote_id": "",
        "repostid": "",
        "sub_post_id": "",
        "name_show": "",
        "jt": "",
        "tbs": tbs,
    }
    headers = {
        "origin": WEB,
        "referer": f"{WEB}/p/{quote(floor.tid)}",
        "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
    }
    return Call(method="POST", url=f"{host}/c/c/post/add_pc", form=pc_form(fields), cookies=cookies, headers=headers)


def decode_reply(reply: Reply, trace: FloorTrace, now: datetime) -> Outcome | Made:
    """Read the answer to the creating call: a refusal, a doubt, or the new floor.

    What stands against the thread alone does not stand against the account: only this floor is refused.
    """
    outcome = decode_created(reply, "pid", write_ticket(trace), now)
    if isinstance(outcome, Blocked) and outcome.code in {name(code) for code in OF_THREAD}:
        return Rejected(code=outcome.code, reason=outcome.reason)
    return outcome


def trace_of(parcel: Parcel, tid: str, pid: str | None = None) -> FloorTrace:
    return FloorTrace(tid=tid, marker=parcel.marker, since=parcel.baseline.since, pid=pid, words=parcel.text)


def write_ticket(trace: FloorTrace) -> Ticket:
    """Write down what a later look needs; nothing of the words."""
    facts = {
        "floor_of": trace.tid,
        "pid": trace.pid,
        "marker": trace.marker.code,
        "since": trace.since.isoformat(),
    }
    return Ticket(number=json.dumps(facts, separators=(",", ":"), ensure_ascii=False))


def read_ticket(ticket: Ticket) -> FloorTrace | None:
    """Read the ticket of a floor; None for that of a thread."""
    facts = json.loads(ticket.number) if ticket.number.startswith("{") else {}
    if "floor_of" not in facts:
        return None
    since = datetime.fromisoformat(facts["since"])
    return FloorTrace(tid=facts["floor_of"], marker=Marker(code=facts["marker"]), since=since, pid=facts["pid"])


def decode_floors(reply: Reply | Trouble, asked: Asked) -> FloorsPage | Unread:
    """Read one page of a thread as anybody sees it."""
    body = read_page(reply, asked)
    if isinstance(body, Gone):
        return Unknown(reason="tieba_thread_unseen")
    if not isinstance(body, Mapping):
        return body
    posts, has_more = body.get("post_list"), as_number(part(body, "page").get("has_more"))
    if not isinstance(posts, list) or has_more is None:
        return Unknown(reason="bad_reply")
    people = _people(body)
    said = [_said(post) for post in posts if isinstance(post, dict) and _is_ours(post, people, asked.identity)]
    return FloorsPage(said=tuple(each for each in said if each is not None), is_last=not has_more)


def judge_floors(pages: list[FloorsPage], trace: FloorTrace, now: datetime) -> Finding:
    """Say what a thread shows of our floor: that it is there, something like it, its absence, or nothing certain."""
    said = [each for page in pages for each in page.said]
    ours = [each for each in said if each.pid == trace.pid or trace.marker.is_in(each.text)]
    if ours:
        found = min(ours, key=lambda each: int(each.pid))
        receipt = Receipt(remote_id=found.pid, url=url_of_floor(trace.tid, found.pid), live_at=found.at or now)
        return Published(receipt=receipt, has_seen_text=trace.marker.is_in(found.text))
    alike = [each for each in said if trace.words and is_alike((trace.words,), (each.text,), trace.marker)]
    if alike:
        return Lookalike(remote_id=alike[0].pid, url=url_of_floor(trace.tid, alike[0].pid))
    is_whole = pages[-1].is_last and len({each.pid for each in said}) == len(said)
    return Missing(back_to=trace.since) if is_whole else Unknown(reason="tieba_list_incomplete")


def url_of_floor(tid: str, pid: str) -> str:
    return f"{url_of(tid)}?pid={pid}#{pid}"


def _people(body: Json) -> Mapping[int, Json]:
    """Give the people of a page by number: some answers name a floor's author only there."""
    people = body.get("user_list")
    known = people if isinstance(people, list) else []
    return {number: each for each in known if isinstance(each, dict) and (number := as_number(each.get("id")))}


def _is_ours(post: Json, people: Mapping[int, Json], identity: str) -> bool:
    author = post.get("author") or people.get(as_number(post.get("author_id")) or 0)
    return as_number(post.get("floor")) != 1 and is_by({"author": author}, identity)


def _said(post: Json) -> Said | None:
    pid = as_number(post.get("id"))
    return Said(pid=str(pid), at=as_moment(post.get("time")), text=text_of(post.get("content"))) if pid else None
