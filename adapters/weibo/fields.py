"""What Weibo's answers are made of: objects, numbers, instants, errors. Pure; nothing here raises."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from publisher.contract import Reply
from publisher.domain.outcome import NotSent, RateLimited, Unknown, Unread, unread

from .codes import name

Json = Mapping[str, Any]


def read_answer(reply: Reply | NotSent | Unread) -> Json | Unread:
    """Give the good answer of a call that may be repeated, or why there is none; codes read `weibo_NUMBER`."""
    body = read_json(reply)
    if isinstance(body, Unread):
        return body
    return body if isinstance(body, dict) else Unknown(reason="bad_reply")


def read_list(reply: Reply | NotSent | Unread) -> list[object] | Unread:
    """Give the good answer of a call that answers with a list, or why there is none."""
    body = read_json(reply)
    if isinstance(body, Unread):
        return body
    return body if isinstance(body, list) else Unknown(reason="bad_reply")


def read_json(reply: Reply | NotSent | Unread) -> object:
    if not isinstance(reply, Reply):
        return unread(reply)
    body = _parse(reply)
    code = error_code(body if isinstance(body, dict) else None)
    if code is not None:
        return Unknown(reason=name(code))
    if reply.status >= 500:
        return Unknown(reason="server_error")
    return body if reply.status == 200 else Unknown(reason="bad_reply")


def word_for(trouble: Unread) -> str:
    """Give the key of the words that say why an answer brings nothing."""
    return trouble.code if isinstance(trouble, RateLimited) else trouble.reason


def object_of(reply: Reply) -> Json | None:
    body = _parse(reply)
    return body if isinstance(body, dict) else None


def error_code(body: Json | None) -> int | None:
    """Give the error code of an answer, which comes as a number or as text."""
    return whole(body.get("error_code")) if body else None


def code_in(reason: str) -> int | None:
    """Give the code that a reason names, where it names one."""
    return whole(reason.removeprefix("weibo_")) if reason.startswith("weibo_") else None


def words_of(body: Json | None) -> str:
    return str(body.get("error", ""))[:200] if body else ""


def id_of(body: Json) -> str | None:
    """Give a post's number; `id` comes last, as clients have rounded it."""
    found = (number(body.get(key)) for key in ("idstr", "mid", "id"))
    return next((text for text in found if text and is_number(text)), None)


def owner_of(body: Json) -> str | None:
    user = body.get("user")
    if isinstance(user, dict):
        return str(user.get("idstr") or user.get("id") or "") or None
    return number(body.get("uid"))


def number(value: object) -> str | None:
    """Spell what comes as a number or as text."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return text or None


def whole(value: object) -> int | None:
    text = number(value)
    return int(text) if text and is_number(text) else None


def is_number(text: str) -> bool:
    """Whether a text is a number of a size that platforms use."""
    return text.isascii() and text.isdigit() and len(text) <= 20


def moment(value: object) -> datetime | None:
    """Read `Wed Oct 24 23:49:17 +0800 2012`, whatever language the host speaks."""
    try:
        day, month, date, time, zone, year = str(value).split()
        return parsedate_to_datetime(f"{day}, {date} {month} {year} {time} {zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _parse(reply: Reply) -> object:
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
