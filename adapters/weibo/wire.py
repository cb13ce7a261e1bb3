"""Weibo's calls and answers as data. Pure.

Paths, parameters and answers are those of the open platform's wiki (2/statuses/share, 2/statuses/user_timeline,
2/statuses/show, 2/statuses/destroy, Oauth2/get_token_info). The token travels in the header that the wiki names
(`Authorization: OAuth2 …`), so that no address ever holds it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from publisher.contract import Call, Reply, Upload
from publisher.domain.outcome import (
    Blocked,
    Busy,
    CredentialExpired,
    Gone,
    Health,
    HoldReason,
    NotSent,
    Outcome,
    Published,
    RateLimited,
    Ready,
    Rejected,
    Removal,
    Submitted,
    Ticket,
    Unknown,
)

from .address import made_at, receipt
from .codes import BAD_PARAMETER, CODES, NO_SUCH_POST, Kind, name

HOST = "https://api.weibo.com"
LISTED = 20
"""How many posts a look asks for; an ordinary app is given the newest five."""
SHOWN_AFTER = timedelta(minutes=2)
REST = timedelta(hours=1)
_LONGEST_REST = timedelta(days=366)
_LONGEST_LIFE = 10**9
"""Seconds; a token that claims to live longer than thirty years is believed for thirty."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One post of a list, as far as it matters here. `texts` are its words and the addresses behind its links."""

    id: str
    at: datetime
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The newest posts of the account, in the order given; `total` is how many the account is said to have."""

    items: tuple[Item, ...]
    total: int | None


def encode_share(host: str, token: str, text: str, address: str | None, picture: Upload | None) -> Call:
    """Make the call that publishes. `address` is the operator's public IPv4 (`rip`)."""
    return Call(
        method="POST",
        url=f"{host}/2/statuses/share.json",
        form={"status": text, **({"rip": address} if address else {})},
        uploads=(picture,) if picture else (),
        headers=_signed(token),
    )


def encode_timeline(host: str, token: str) -> Call:
    """List the newest own posts, those made by hand included. Without `since_id`: the list must reach back."""
    return Call(
        method="GET",
        url=f"{host}/2/statuses/user_timeline.json",
        query={"count": str(LISTED), "page": "1"},
        headers=_signed(token),
    )


def encode_show(host: str, token: str, remote_id: str) -> Call:
    return Call(method="GET", url=f"{host}/2/statuses/show.json", query={"id": remote_id}, headers=_signed(token))


def encode_destroy(host: str, token: str, remote_id: str) -> Call:
    return Call(method="POST", url=f"{host}/2/statuses/destroy.json", form={"id": remote_id}, headers=_signed(token))


def encode_token_info(host: str, token: str) -> Call:
    """Ask whose token it is. This call takes the token in the body only."""
    return Call(method="POST", url=f"{host}/oauth2/get_token_info", form={"access_token": token})


def decode_share(reply: Reply, uid: str, ticket: Ticket, now: datetime) -> Outcome:
    """Read the answer to a creating call; `ticket` is handed out where the post is made but not visible yet."""
    body = _object(reply)
    if reply.status >= 500:
        return Unknown(reason="server_error")
    code = error_code(body)
    if code is not None and (code in CODES or reply.status != 429):
        return refusal(code, _words(body), ticket, now)
    if reply.status == 429:
        return RateLimited(code="weibo_429", until=_rest_until(reply.headers.get("retry-after"), now))
    if body is None or reply.status != 200:
        return Unknown(reason="bad_reply")
    return _published(body, uid)


def _published(body: Json, uid: str) -> Outcome:
    remote_id, owner = _id(body), _owner(body)
    if remote_id is None or owner is None:
        return Unknown(reason="weibo_no_id")
    if owner != uid:
        return Blocked(code="weibo_wrong_account", reason=owner, hold=HoldReason.WRONG_ACCOUNT)
    at = _moment(body.get("created_at")) or made_at(remote_id)
    return Published(receipt=receipt(remote_id, uid, at))


def refusal(code: int, words: str, ticket: Ticket, now: datetime) -> Outcome:
    """Say what an error code means for a creating call; one that is not listed is a doubt."""
    listed = CODES.get(code)
    kind = listed.kind if listed else Kind.DOUBT
    if code == BAD_PARAMETER and "appkey" in words:
        kind = Kind.PERMISSION
    match kind:
        case Kind.REFUSED:
            return Rejected(code=name(code), reason=words)
        case Kind.NEXT_HOUR:
            return RateLimited(code=name(code), until=next_full_hour(now))
        case Kind.REST:
            return RateLimited(code=name(code), until=now + REST)
        case Kind.BUSY:
            return Busy(code=name(code), reason=words)
        case Kind.SIGN_IN:
            return CredentialExpired(reason=name(code))
        case Kind.ACCOUNT | Kind.PERMISSION | Kind.CAPTCHA:
            return Blocked(code=name(code), reason=words, hold=HoldReason(kind.value))
        case Kind.ACCEPTED:
            return Submitted(ticket=ticket, look_again_at=now + SHOWN_AFTER)
        case Kind.DUPLICATE | Kind.DOUBT:
            return Unknown(reason=name(code), is_duplicate=kind is Kind.DUPLICATE)


def decode_timeline(reply: Reply | NotSent | Unknown, uid: str) -> Timeline | Unknown:
    """Read a list of own posts; one entry of somebody else makes the whole list worthless."""
    body = read_answer(reply)
    if isinstance(body, Unknown):
        return body
    entries = body.get("statuses")
    if not isinstance(entries, list):
        return Unknown(reason="bad_reply")
    items = []
    for entry in entries:
        item = _item(entry, uid)
        if isinstance(item, Unknown):
            return item
        items.append(item)
    total = body.get("total_number")
    return Timeline(items=tuple(items), total=total if isinstance(total, int) else None)


def decode_show(reply: Reply | NotSent | Unknown, uid: str) -> Published | Gone | Unknown:
    """Read one own post: there, gone, or not to be known."""
    body = read_answer(reply)
    if isinstance(body, Unknown):
        return Gone() if body.reason == name(NO_SUCH_POST) else body
    item = _item(body, uid)
    return item if isinstance(item, Unknown) else Published(receipt=receipt(item.id, uid, item.at))


def decode_destroy(reply: Reply | NotSent | Unknown, remote_id: str) -> Removal:
    """Read whether a post is down; one that does not exist any more is."""
    body = read_answer(reply)
    if not isinstance(body, Unknown):
        return Gone() if _id(body) == remote_id else Unknown(reason="weibo_no_id")
    if body.reason == name(NO_SUCH_POST):
        return Gone()
    code = int(body.reason.removeprefix("weibo_")) if body.reason.startswith("weibo_") else 0
    final = {Kind.ACCOUNT, Kind.PERMISSION, Kind.CAPTCHA, Kind.SIGN_IN, Kind.REFUSED}
    if code in CODES and CODES[code].kind in final:
        return Rejected(code=body.reason, reason=_words(_object(reply)) if isinstance(reply, Reply) else "")
    return body


def decode_token_info(reply: Reply | NotSent | Unknown, uid: str, app_key: str | None, now: datetime) -> Health:
    """Read whose token it is and how long it lives; `app_key` is compared where it is known."""
    body = read_answer(reply)
    if isinstance(body, Unknown):
        words = _words(_object(reply)) if isinstance(reply, Reply) else ""
        return _health(body, words, now)
    owner, app, seconds = _number(body.get("uid")), _number(body.get("appkey")), _seconds(body)
    if owner is None or seconds is None:
        return Unknown(reason="bad_reply")
    if owner != uid:
        return Blocked(code="weibo_wrong_account", reason=owner, hold=HoldReason.WRONG_ACCOUNT)
    if app_key is not None and app != app_key:
        return Blocked(code="weibo_wrong_app", reason=app or "", hold=HoldReason.PERMISSION)
    if seconds <= 0:
        return CredentialExpired(reason="weibo_21327")
    return Ready(until=now + timedelta(seconds=seconds))


def _health(trouble: Unknown, words: str, now: datetime) -> Health:
    if not trouble.reason.startswith("weibo_"):
        return trouble
    meant = refusal(int(trouble.reason.removeprefix("weibo_")), words, Ticket(number=""), now)
    return meant if isinstance(meant, CredentialExpired | Blocked) else trouble


def read_answer(reply: Reply | NotSent | Unknown) -> Json | Unknown:
    """Give the good answer of a call that may be repeated, or why there is none; codes read `weibo_NUMBER`."""
    if not isinstance(reply, Reply):
        return Unknown(reason=reply.reason)
    body = _object(reply)
    code = error_code(body)
    if code is not None:
        return Unknown(reason=name(code))
    if reply.status >= 500:
        return Unknown(reason="server_error")
    return Unknown(reason="bad_reply") if body is None or reply.status != 200 else body


def next_full_hour(now: datetime) -> datetime:
    """Give the end of the present window; Beijing's hours begin when those of UTC do."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def error_code(body: Json | None) -> int | None:
    """Give the error code of an answer, which comes as a number or as text."""
    code = _number(body.get("error_code")) if body else None
    return int(code) if code and _is_number(code) else None


def _signed(token: str) -> dict[str, str]:
    return {"authorization": f"OAuth2 {token}"}


def _object(reply: Reply) -> Json | None:
    try:
        body = json.loads(reply.body)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _words(body: Json | None) -> str:
    return str(body.get("error", ""))[:200] if body else ""


def _item(entry: object, uid: str) -> Item | Unknown:
    if not isinstance(entry, dict):
        return Unknown(reason="bad_reply")
    remote_id, owner = _id(entry), _owner(entry)
    if remote_id is None or owner is None:
        return Unknown(reason="weibo_no_id")
    if owner != uid:
        return Unknown(reason="weibo_wrong_account")
    given = entry.get("url_objects")
    links = given if isinstance(given, list) else []
    addresses = [str(link.get("url_ori", "")) for link in links if isinstance(link, dict)]
    at = _moment(entry.get("created_at")) or made_at(remote_id)
    return Item(id=remote_id, at=at, texts=(str(entry.get("text", "")), *addresses))


def _id(body: Json) -> str | None:
    """Give a post's number; `id` comes last, as clients have rounded it."""
    found = (_number(body.get(key)) for key in ("idstr", "mid", "id"))
    return next((number for number in found if number and _is_number(number)), None)


def _is_number(text: str) -> bool:
    """Whether a text is a number of a size that platforms use."""
    return text.isascii() and text.isdigit() and len(text) <= 20


def _owner(body: Json) -> str | None:
    user = body.get("user")
    if isinstance(user, dict):
        return str(user.get("idstr") or user.get("id") or "") or None
    return _number(body.get("uid"))


def _number(value: object) -> str | None:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return text or None


def _seconds(body: Json) -> int | None:
    """Give the token's seconds to live; an older revision of the page names the key `expires_in`."""
    text = _number(body.get("expire_in", body.get("expires_in"))) or ""
    return min(int(text), _LONGEST_LIFE) if _is_number(text.removeprefix("-")) else None


def _moment(value: object) -> datetime | None:
    """Read `Wed Oct 24 23:49:17 +0800 2012`, whatever language the host speaks."""
    try:
        day, month, date, time, zone, year = str(value).split()
        return parsedate_to_datetime(f"{day}, {date} {month} {year} {time} {zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _rest_until(text: str | None, now: datetime) -> datetime | None:
    """Read a Retry-After: seconds or a date. What is past or makes no sense names no time."""
    if text is None:
        return None
    if _is_number(text.strip()):
        return now + min(timedelta(seconds=min(int(text), 10**9)), _LONGEST_REST)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(until, now + _LONGEST_REST) if until > now else None
