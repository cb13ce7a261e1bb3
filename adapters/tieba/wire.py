"""Tieba's calls and answers as data. Pure.

The calls are those of the 2026 PC site (`add_pc`, `uploadPicture_pc`, `page_pc`, `myThread`) and one of the app
(`delthread`), read in public clients. What identifies a device or a browser (`jt`, `Acs-Token`, client ids) is sent
empty or not at all: it is never invented. If the platform begins to demand it, its refusal goes to a person.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote

from publisher.contract import Call, Reply, Upload
from publisher.domain.outcome import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    NotSent,
    Outcome,
    RateLimited,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
    Unread,
    unread,
)

from .codes import CODES, TOO_MANY_READS, Kind, name
from .signing import FILE, app_form, pc_form

WEB = "https://tieba.baidu.com"
APP = "https://tiebac.baidu.com"
ADDRESSES = (WEB, APP)
"""All that is called."""
PAGE = 20
SHOWN_AFTER = timedelta(seconds=5)
REVIEWED_AFTER = timedelta(minutes=5)
_LAST = 253_402_300_799
"""The last second of the year 9999."""
_SLOW = timedelta(minutes=10)
_CLOSED = timedelta(hours=1)
LIMIT = "tieba_429"
"""The code of a 429, from Tieba or something in between."""
_RESOURCE = "709d1d31dc47636e4f5ccbfd07601c19"
"""MD5 of `[object File]`: what the site itself sends as an upload's name."""

Json = Mapping[str, Any]
Trouble = NotSent | Unread


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """What is to be opened: where, and with which words."""

    forum: str
    fid: int
    title: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A new thread or floor by its number. `is_hidden` says that nobody but its account will see it."""

    number: str
    is_hidden: bool


def encode_session(host: str, cookies: Mapping[str, str]) -> Call:
    """Ask for a fresh anti-forgery token; the cheapest proof that the session lives."""
    return Call(method="GET", url=f"{host}/dc/common/tbs", cookies=cookies)


def encode_forum(host: str, forum: str) -> Call:
    return Call(method="GET", url=f"{host}/f/commit/share/fnameShareApi", query={"fname": forum, "ie": "utf-8"})


def encode_upload(host: str, cookies: Mapping[str, str], tbs: str, file: Upload, size: tuple[int, int]) -> Call:
    fields = {
        "resourceId": _RESOURCE,
        "chunkNo": "1",
        "isFinish": "1",
        "saveOrigin": "1",
        "size": str(len(file.data)),
        "width": str(size[0]),
        "height": str(size[1]),
        "pic_water_type": "3",
        "tbs": tbs,
    }
    form = pc_form(fields, chunk=FILE)
    return Call(method="POST", url=f"{host}/c/s/uploadPicture_pc", form=form, uploads=(file,), cookies=cookies)


def encode_thread(host: str, cookies: Mapping[str, str], tbs: str, thread: Thread) -> Call:
    fields = {
        "kw": thread.forum,
        "fid": str(thread.fid),
        "title": thread.title,
        "content": thread.content,
        "is_pictxt": "1",
        "ext": '{"is_hide":null,"needImage":"1"}',
        "post_prefix": "",
        "jt": "",
        "tbs": tbs,
    }
    headers = {
        "origin": WEB,
        "referer": f"{WEB}/f?kw={quote(thread.forum)}&ie=utf-8",
        "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
    }
    return Call(method="POST", url=f"{host}/c/c/thread/add_pc", form=pc_form(fields), cookies=cookies, headers=headers)


def encode_own_threads(host: str, cookies: Mapping[str, str], identity: str, page: int) -> Call:
    """List the account's threads, newest first, as it sees them itself. `identity` is a portrait or a user name."""
    is_portrait = identity.startswith("tb.")
    query = {
        "pn": str(page),
        "rn": str(PAGE),
        "portrait": identity if is_portrait else "",
        "type": "1",
        "un": "" if is_portrait else identity,
    }
    return Call(method="GET", url=f"{host}/c/u/feed/myThread", query=pc_form(query), cookies=cookies)


def encode_page(host: str, tid: str, number: int = 1, *, is_own_only: bool = False) -> Call:
    """Read a page of a thread as anybody sees it, with no cookie at all: every floor, or only its own author's."""
    fields = {
        "kz": tid,
        "pn": str(number),
        "lz": str(int(is_own_only)),
        "r": "2" if number == 1 else "0",
        "mark_type": "0",
        "back": "0",
        "fr": "",
        "session_request_times": "1",
        "tbs": "",
    }
    return Call(method="POST", url=f"{host}/c/f/pb/page_pc", form=pc_form(fields))


def encode_delete(host: str, bduss: str, tbs: str, thread: tuple[str, str, int]) -> Call:
    """Take down one's own thread, named by its number, its forum and that one's number."""
    tid, forum, fid = thread
    fields = {
        "BDUSS": bduss,
        "fid": str(fid),
        "word": forum,
        "z": tid,
        "tbs": tbs,
        "src": "1",
        "is_vipdel": "0",
        "is_frs_mask": "0",
        "delete_my_thread": "1",
    }
    return Call(method="POST", url=f"{host}/c/c/bawu/delthread", form=app_form(fields))


def decode_session(reply: Reply | Trouble) -> str | CredentialExpired | Unread:
    """Give the token for one write. The platform hands one out without a session as well; that one is worthless."""
    body = read_body(reply)
    if isinstance(body, CredentialExpired | Unread):
        return body
    code, is_login = code_of(body), as_number(body.get("is_login"))
    if code:
        is_refusal = code in CODES and CODES[code].kind is Kind.SIGN_IN
        return CredentialExpired(reason=name(code)) if is_refusal else Unknown(reason=name(code))
    if is_login == 0:
        return CredentialExpired(reason="tieba_not_signed_in")
    return str(body["tbs"]) if is_login == 1 and body.get("tbs") else Unknown(reason="bad_reply")


def decode_forum(reply: Reply | Trouble) -> int | Unread:
    """Give a forum's number; 0 where there is no such forum."""
    body = read_body(reply)
    if isinstance(body, CredentialExpired | Unread):
        return as_unread(body)
    if (code := code_of(body)) != 0:
        return Unknown(reason="bad_reply" if code is None else name(code))
    number = as_number(part(body, "data").get("fid"))
    return Unknown(reason="bad_reply") if number is None or number < 0 else number


def decode_upload(reply: Reply | Trouble, now: datetime) -> str | Outcome:
    """Give the picture's number, or what keeps the thread from being opened."""
    body = read_body(reply)
    if isinstance(body, CredentialExpired | Unread):
        return body
    if wants_captcha(body):
        return Blocked(code="tieba_captcha", reason=words_of(body), hold=HoldReason.CAPTCHA)
    code = code_of(body)
    if code:
        return refusal(code, body, None, now)
    picture = body.get("picId")
    return str(picture) if code == 0 and picture else Unknown(reason="bad_reply")


def decode_created(reply: Reply, key: Literal["tid", "pid"], unseen: Ticket, now: datetime) -> Outcome | Made:
    """Read the answer to a creating call: a refusal, a doubt, or what was made; its number stands under `key`.

    A refusal that names what it refuses contradicts itself and is a doubt: the post may stand.
    `unseen` is the ticket of what is in review under no number yet.
    """
    if reply.status >= 500:
        return Unknown(reason="server_error")
    if (limit := reply.limit(LIMIT, now)) is not None:
        return replace(limit, until=limit.until or now + _SLOW)
    body = read_body(reply)
    if isinstance(body, CredentialExpired | Unread):
        return as_unread(body)
    code, number = code_of(body), as_number(body.get(key)) or as_number(part(body, "data").get(key))
    if number and (wants_captcha(body) or not (code is None or is_taken(code))):
        return Unknown(reason="tieba_refused_with_id")
    if wants_captcha(body):
        return Blocked(code="tieba_captcha", reason=words_of(body), hold=HoldReason.CAPTCHA)
    if code is None:
        return Unknown(reason="bad_reply")
    if code and not number:
        return refusal(code, body, unseen, now)
    return Made(number=str(number), is_hidden=hides(body)) if number else Unknown(reason="tieba_no_id")


def refusal(code: int, body: Json, unseen: Ticket | None, now: datetime) -> Outcome:
    """Say what a number means for a write; one that is not listed is a doubt."""
    listed = CODES.get(code)
    words = words_of(body)
    match listed.kind if listed else Kind.DOUBT:
        case Kind.REFUSED:
            return Rejected(code=name(code), reason=words)
        case Kind.SLOW:
            return RateLimited(code=name(code), until=now + _SLOW)
        case Kind.CLOSED:
            return RateLimited(code=name(code), until=now + _CLOSED)
        case Kind.BUSY:
            return Busy(code=name(code), reason=words)
        case Kind.SIGN_IN:
            return CredentialExpired(reason=name(code))
        case Kind.ACCOUNT | Kind.PERMISSION | Kind.CAPTCHA as kind:
            return Blocked(code=name(code), reason=words, hold=HoldReason(kind.value))
        case Kind.IN_REVIEW if unseen is not None:
            return Submitted(ticket=unseen, look_again_at=now + REVIEWED_AFTER)
        case _:
            return Unknown(reason=name(code))


def is_taken(code: int) -> bool:
    """Whether a number says that the thread was taken, shown or still in review."""
    return code == 0 or (code in CODES and CODES[code].kind is Kind.IN_REVIEW)


def read_body(reply: Reply | Trouble) -> Json | CredentialExpired | Unread:
    """Give the JSON object of an answer. Bodies are UTF-8 whatever the header says; a way to the sign-in page tells."""
    if not isinstance(reply, Reply):
        return unread(reply)
    if 300 <= reply.status < 400 and "passport.baidu.com" in reply.headers.get("location", ""):
        return CredentialExpired(reason="tieba_not_signed_in")
    if reply.status >= 500:
        return Unknown(reason="server_error")
    try:
        body = json.loads(reply.body.decode("utf-8"))
    except ValueError:
        return Unknown(reason="bad_reply")
    return body if reply.status == 200 and isinstance(body, dict) else Unknown(reason="bad_reply")


def as_unread(trouble: CredentialExpired | Unread) -> Unread:
    """Say of an answer that has no content why nothing is learnt by it."""
    return Unknown(reason=trouble.reason) if isinstance(trouble, CredentialExpired) else trouble


def limit_in(reply: Reply, now: datetime) -> RateLimited | None:
    """Give the limit that keeps back every call, if a read, an upload or a removal was answered with one."""
    body = read_body(reply)
    if isinstance(body, Mapping) and code_of(body) == TOO_MANY_READS:
        return RateLimited(code=name(TOO_MANY_READS), until=now + _SLOW)
    return reply.limit(LIMIT, now)


def code_of(body: Json) -> int | None:
    """Give the number of an answer: `error_code`, at the top or under `data`, else the long one, else the short one."""
    candidates = (body.get("error_code"), part(body, "data").get("error_code"), body.get("err_code"), body.get("no"))
    return next((code for value in candidates if (code := as_number(value)) is not None), None)


def wants_captcha(body: Json) -> bool:
    """Whether a captcha is wanted. Only `need_vcode` says so; its neighbours stand in ordinary refusals too."""
    data = part(body, "data")
    places = (body, part(body, "info"), part(body, "vcode"), data, part(data, "info"), part(data, "vcode"))
    return any(as_number(place.get("need_vcode")) == 1 for place in places)


def hides(body: Json) -> bool:
    """Whether what the account writes is hidden from everybody else, as an answer's `anti_stat` or `anti` says."""
    return as_number({**part(part(body, "data"), "anti_stat"), **anti_of(body)}.get("hide_stat")) == 1


def anti_of(body: Json) -> Json:
    """Give what an answer says of the account's standing."""
    return {**part(body, "anti_stat"), **part(body, "anti")}


def words_of(body: Json) -> str:
    """Give the platform's own words, with the words of ours that it did not like."""
    text = str(body.get("error_msg") or body.get("error") or "")
    hits = part(body, "info").get("confilter_hitwords")
    found = "、".join(str(hit) for hit in hits) if isinstance(hits, list) else ""
    return "：".join(part for part in (text, found) if part)[:200]


def as_number(value: object) -> int | None:
    """Read a number that comes as a number or as text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def as_moment(value: object) -> datetime | None:
    """Read a Unix time; one beyond the calendar is none."""
    seconds = as_number(value)
    return datetime.fromtimestamp(seconds, UTC) if seconds and 0 < seconds <= _LAST else None


def part(body: Json, key: str) -> Json:
    """Give an object inside an answer; it may come as a list, as null, or not at all."""
    part = body.get(key)
    return part if isinstance(part, dict) else {}
