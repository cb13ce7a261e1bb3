"""Tieba's calls and responses as data. Pure.

The calls were read in public clients. The 2026 PC site has `add_pc`, `uploadPicture_pc`, `page_pc`
and `myThread`. The app has `delthread`, and `login` for a session that the site does not name. Data
that identifies a device or a browser (`jt`, `Acs-Token`, client ids) is sent empty or not at all:
it is never invented. If the platform begins to demand it, its refusal goes to a person.

A call is signed with an MD5 over its fields in order of their names, with a salt for each kind of
client. The sources are aiotieba `helper/crypto/sign.py` and the request signing of the 2026 PC
site. The signature detects mistakes only: both salts are public.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote

from adapters.tieba.codes import CODES, READ_LIMIT_CODE, TiebaErrorClass, to_message_key
from publisher.contract import HttpRequest, HttpResponse, Pairs, Upload
from publisher.domain.characters import is_storable
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    NotSent,
    Outcome,
    RateLimited,
    ReadFailure,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
    to_read_failure,
)

PC_SALT = "36770b1f34c9bbf2e7d1a99d2b82fa9e"
APP_SALT = "tiebaclient!!!"
FILE_PLACEHOLDER = "[object File]"
"""The value that replaces a file's bytes in the signature of the PC site."""
WEB_URL = "https://tieba.baidu.com"
APP_URL = "https://tiebac.baidu.com"
PLATFORM_URLS = (WEB_URL, APP_URL)
PAGE_SIZE = 20
VISIBLE_AFTER = timedelta(seconds=5)
REVIEW_CHECK_INTERVAL = timedelta(minutes=5)
_MAX_UNIX_SECONDS = 253_402_300_799
"""The last second of the year 9999."""
_RATE_LIMIT_COOLDOWN = timedelta(minutes=10)
_FORUM_CLOSED_COOLDOWN = timedelta(hours=1)
RATE_LIMIT_CODE = "tieba_429"
"""The code of an HTTP 429, from Tieba or a proxy."""
_APP_VERSION = "22.12.1.0"
"""The version of the app's interface that a sign-in names, as aiotieba 4.8.2 does."""
_RESOURCE_ID = "709d1d31dc47636e4f5ccbfd07601c19"
"""MD5 of `[object File]`, the upload name that the site itself sends."""
Json = Mapping[str, Any]
RequestFailure = NotSent | ReadFailure


def sign(fields: Mapping[str, str], salt: str) -> str:
    """Return the signature, in lower case. Empty values count, a field `sign` does not."""
    text = "".join(
        f"{name}={fields[name]}" for name in sorted(fields) if name != "sign"
    )
    return hashlib.md5((text + salt).encode(), usedforsecurity=False).hexdigest()


def sign_pc_form(fields: Mapping[str, str], **unsent: str) -> Pairs:
    """Complete a form or query of the PC site.

    `unsent` fields are signed but sent in another way.
    """
    form = {**fields, "subapp_type": "pc", "_client_type": "20"}
    return (*form.items(), ("sign", sign({**form, **unsent}, PC_SALT)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadForm:
    """The forum and the texts of a new thread."""

    forum: str
    fid: int
    title: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedPost:
    """The number of a new thread or reply.

    `is_hidden` means that only its own account can see it.
    """

    post_id: str
    is_hidden: bool


def encode_session(host: str, cookies: Mapping[str, str]) -> HttpRequest:
    """Request a fresh anti-forgery token; the cheapest proof that the session is valid."""
    return HttpRequest(method="GET", url=f"{host}/dc/common/tbs", cookies=cookies)


def encode_sign_in(host: str, bduss: str) -> HttpRequest:
    """Ask the app's interface for the user of this session (aiotieba `api/login`)."""
    fields = {"_client_version": _APP_VERSION, "bdusstoken": bduss}
    form = (*fields.items(), ("sign", sign(fields, APP_SALT)))
    return HttpRequest(method="POST", url=f"{host}/c/s/login", form=form)


def encode_forum(host: str, forum: str) -> HttpRequest:
    query = (("fname", forum), ("ie", "utf-8"))
    return HttpRequest(
        method="GET", url=f"{host}/f/commit/share/fnameShareApi", query=query
    )


def encode_upload(
    host: str, cookies: Mapping[str, str], tbs: str, file: Upload, size: tuple[int, int]
) -> HttpRequest:
    fields = {
        "resourceId": _RESOURCE_ID,
        "chunkNo": "1",
        "isFinish": "1",
        "saveOrigin": "1",
        "size": str(len(file.data)),
        "width": str(size[0]),
        "height": str(size[1]),
        "pic_water_type": "3",
        "tbs": tbs,
    }
    form = sign_pc_form(fields, chunk=FILE_PLACEHOLDER)
    return HttpRequest(
        method="POST",
        url=f"{host}/c/s/uploadPicture_pc",
        form=form,
        uploads=(file,),
        cookies=cookies,
    )


def encode_thread(
    host: str, cookies: Mapping[str, str], tbs: str, thread: ThreadForm
) -> HttpRequest:
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
    return build_write_request(
        f"{host}/c/c/thread/add_pc",
        fields,
        cookies,
        f"/f?kw={quote(thread.forum)}&ie=utf-8",
    )


def build_write_request(
    url: str, fields: Mapping[str, str], cookies: Mapping[str, str], referring_path: str
) -> HttpRequest:
    """Build a creating call as the PC site makes it from the page at `referring_path`."""
    headers = {
        "origin": WEB_URL,
        "referer": f"{WEB_URL}{referring_path}",
        "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
    }
    return HttpRequest(
        method="POST",
        url=url,
        form=sign_pc_form(fields),
        cookies=cookies,
        headers=headers,
    )


def encode_own_threads(
    host: str, cookies: Mapping[str, str], identity: str, page: int
) -> HttpRequest:
    """List the account's threads, newest first, as the account sees them.

    `identity` is a portrait or a user name.
    """
    is_portrait = identity.startswith("tb.")
    query = {
        "pn": str(page),
        "rn": str(PAGE_SIZE),
        "portrait": identity if is_portrait else "",
        "type": "1",
        "un": "" if is_portrait else identity,
    }
    return HttpRequest(
        method="GET",
        url=f"{host}/c/u/feed/myThread",
        query=sign_pc_form(query),
        cookies=cookies,
    )


def encode_page(
    host: str, tid: str, number: int = 1, *, is_own_only: bool = False
) -> HttpRequest:
    """Read a page of a thread as anybody sees it, without any cookie.

    It is every reply, or only its author's.
    """
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
    return HttpRequest(
        method="POST", url=f"{host}/c/f/pb/page_pc", form=sign_pc_form(fields)
    )


def encode_delete(
    host: str, bduss: str, tbs: str, thread: tuple[str, str, int]
) -> HttpRequest:
    """Delete the account's own thread, given by its number, its forum and the forum's number."""
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
    form = (*fields.items(), ("sign", sign(fields, APP_SALT)))
    return HttpRequest(method="POST", url=f"{host}/c/c/bawu/delthread", form=form)


def decode_session(
    response: HttpResponse | RequestFailure,
) -> str | CredentialExpired | ReadFailure:
    """Return the token for one write.

    The platform also issues a token without a session, but that one is worthless.
    """
    body = decode_body(response)
    if isinstance(body, CredentialExpired | ReadFailure):
        return body
    code, is_login = get_error_code(body), to_int(body.get("is_login"))
    if code:
        is_refusal = (
            code in CODES and CODES[code].error_class is TiebaErrorClass.CREDENTIAL
        )
        return (
            CredentialExpired(reason=to_message_key(code))
            if is_refusal
            else Unknown(reason=to_message_key(code))
        )
    if is_login == 0:
        return CredentialExpired(reason="tieba_not_signed_in")
    token = str(body.get("tbs") or "")
    return (
        token
        if is_login == 1 and token and is_storable(token)
        else Unknown(reason="bad_response")
    )


def decode_forum(response: HttpResponse | RequestFailure) -> int | ReadFailure:
    """Return a forum's number; 0 where there is no such forum."""
    body = decode_body(response)
    if isinstance(body, CredentialExpired | ReadFailure):
        return to_unread(body)
    if (code := get_error_code(body)) != 0:
        return Unknown(reason="bad_response" if code is None else to_message_key(code))
    number = to_int(get_object(body, "data").get("fid"))
    return Unknown(reason="bad_response") if number is None or number < 0 else number


def decode_upload(
    response: HttpResponse | RequestFailure, now: datetime
) -> str | Outcome:
    """Return the picture's number, or the outcome that prevents the thread."""
    body = decode_body(response)
    if isinstance(body, CredentialExpired | ReadFailure):
        return body
    if is_captcha_required(body):
        return Blocked(
            code="tieba_captcha",
            reason=get_error_message(body),
            hold_reason=HoldReason.CAPTCHA,
        )
    code = get_error_code(body)
    if code:
        return interpret_error(code, body, None, now)
    picture = str(body.get("picId") or "")
    return (
        picture
        if code == 0 and picture and is_storable(picture)
        else Unknown(reason="bad_response")
    )


def decode_created(
    response: HttpResponse,
    key: Literal["tid", "pid"],
    review_ticket: Ticket,
    now: datetime,
) -> Outcome | CreatedPost:
    """Return the outcome of a creating call, or the new post; its number is the response's `key`.

    A refusal that carries a number contradicts itself, so its outcome is unknown: the post may
    exist. `review_ticket` is the ticket of a post that is in review and has no number yet.
    """
    if (limit := response.to_rate_limited(RATE_LIMIT_CODE, now)) is not None:
        return replace(limit, until=limit.until or now + _RATE_LIMIT_COOLDOWN)
    body = decode_body(response)
    if isinstance(body, CredentialExpired | ReadFailure):
        return to_unread(body)
    code = get_error_code(body)
    number = to_int(body.get(key)) or to_int(get_object(body, "data").get(key))
    if number and (
        is_captcha_required(body) or not (code is None or is_accepted(code))
    ):
        return Unknown(reason="tieba_refused_with_id")
    if is_captcha_required(body):
        return Blocked(
            code="tieba_captcha",
            reason=get_error_message(body),
            hold_reason=HoldReason.CAPTCHA,
        )
    if code is None:
        return Unknown(reason="bad_response")
    if code and not number:
        return interpret_error(code, body, review_ticket, now)
    return (
        CreatedPost(post_id=str(number), is_hidden=is_posting_hidden(body))
        if number
        else Unknown(reason="tieba_no_id")
    )


def interpret_error(
    code: int, body: Json, review_ticket: Ticket | None, now: datetime
) -> Outcome:
    """Return the meaning of an error code for a write.

    A code that is not listed makes the outcome unknown.
    """
    listed = CODES.get(code)
    message = get_error_message(body)
    match listed.error_class if listed else TiebaErrorClass.UNKNOWN:
        case TiebaErrorClass.REJECTED:
            return Rejected(code=to_message_key(code), reason=message)
        case TiebaErrorClass.RATE_LIMITED:
            return RateLimited(
                code=to_message_key(code), until=now + _RATE_LIMIT_COOLDOWN
            )
        case TiebaErrorClass.FORUM_CLOSED:
            return RateLimited(
                code=to_message_key(code), until=now + _FORUM_CLOSED_COOLDOWN
            )
        case TiebaErrorClass.BUSY:
            return Busy(code=to_message_key(code), reason=message)
        case TiebaErrorClass.CREDENTIAL:
            return CredentialExpired(reason=to_message_key(code))
        case TiebaErrorClass.ACCOUNT | TiebaErrorClass.CAPTCHA as kind:
            return Blocked(
                code=to_message_key(code),
                reason=message,
                hold_reason=HoldReason(kind.value),
            )
        case TiebaErrorClass.IN_REVIEW if review_ticket is not None:
            return Submitted(
                ticket=review_ticket, check_again_at=now + REVIEW_CHECK_INTERVAL
            )
        case _:
            return Unknown(reason=to_message_key(code))


def is_accepted(code: int) -> bool:
    """True if a code means that the post was accepted, whether visible or still in review."""
    return code == 0 or (
        code in CODES and CODES[code].error_class is TiebaErrorClass.IN_REVIEW
    )


def decode_body(
    response: HttpResponse | RequestFailure,
) -> Json | CredentialExpired | ReadFailure:
    """Return the JSON object of a response.

    Bodies are UTF-8, despite any other header. A redirect to the login page means
    CredentialExpired.
    """
    if not isinstance(response, HttpResponse):
        return to_read_failure(response)
    if 300 <= response.status < 400 and "passport.baidu.com" in response.headers.get(
        "location", ""
    ):
        return CredentialExpired(reason="tieba_not_signed_in")
    if response.status >= 500:
        return Unknown(reason="server_error")
    try:
        body = json.loads(response.body.decode("utf-8"))
    except ValueError:
        return Unknown(reason="bad_response")
    return (
        body
        if response.status == 200 and isinstance(body, dict)
        else Unknown(reason="bad_response")
    )


def to_unread(failure: CredentialExpired | ReadFailure) -> ReadFailure:
    """Return why a response without content proves nothing."""
    return (
        Unknown(reason=failure.reason)
        if isinstance(failure, CredentialExpired)
        else failure
    )


def parse_rate_limit(response: HttpResponse, now: datetime) -> RateLimited | None:
    """Return the limit on all calls of the login, if a read, an upload or a deletion got one."""
    body = decode_body(response)
    if isinstance(body, Mapping) and get_error_code(body) == READ_LIMIT_CODE:
        return RateLimited(
            code=to_message_key(READ_LIMIT_CODE), until=now + _RATE_LIMIT_COOLDOWN
        )
    return response.to_rate_limited(RATE_LIMIT_CODE, now)


def get_error_code(body: Json) -> int | None:
    """Return the code of a response.

    It is `error_code`, at the top or under `data`, else `err_code`, else `no`.
    """
    candidates = (
        body.get("error_code"),
        get_object(body, "data").get("error_code"),
        body.get("err_code"),
        body.get("no"),
    )
    return next(
        (code for value in candidates if (code := to_int(value)) is not None), None
    )


def is_captcha_required(body: Json) -> bool:
    """True if a captcha is required.

    Only `need_vcode` says so; its neighbours occur in ordinary refusals too.
    """
    data = get_object(body, "data")
    places = (
        body,
        get_object(body, "info"),
        get_object(body, "vcode"),
        data,
        get_object(data, "info"),
        get_object(data, "vcode"),
    )
    return any(to_int(place.get("need_vcode")) == 1 for place in places)


def is_posting_hidden(body: Json) -> bool:
    """True if the account's posts are hidden from everybody else.

    A response says so by its `anti_stat` or `anti`.
    """
    return (
        to_int(
            {
                **get_object(get_object(body, "data"), "anti_stat"),
                **get_account_flags(body),
            }.get("hide_stat")
        )
        == 1
    )


def get_account_flags(body: Json) -> Json:
    """Return a response's report on the account's restrictions."""
    return {**get_object(body, "anti_stat"), **get_object(body, "anti")}


def get_error_message(body: Json) -> str:
    """Return the platform's message, with the words of ours that its filter hit."""
    text = str(body.get("error_msg") or body.get("error") or "")
    hits = get_object(body, "info").get("confilter_hitwords")
    words = "、".join(str(hit) for hit in hits) if isinstance(hits, list) else ""
    return "：".join(part for part in (text, words) if part)[:200]


def to_int(value: object) -> int | None:
    """Return a number that comes as a number or as text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def parse_unix_time(value: object) -> datetime | None:
    """Return a Unix time; None where it is beyond the calendar."""
    seconds = to_int(value)
    return (
        datetime.fromtimestamp(seconds, UTC)
        if seconds and 0 < seconds <= _MAX_UNIX_SECONDS
        else None
    )


def get_object(body: Json, key: str) -> Json:
    """Return an object inside a response; empty where it is a list, null, or missing."""
    part = body.get(key)
    return part if isinstance(part, dict) else {}
