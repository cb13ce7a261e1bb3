"""What Weibo's answers are made of: objects, numbers, instants, errors. Pure; nothing here raises."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from publisher.contract import HttpResponse
from publisher.domain.results import NotSent, RateLimited, ReadFailure, Unknown, to_read_failure

from .codes import to_message_key

Json = Mapping[str, Any]


def decode_object(response: HttpResponse | NotSent | ReadFailure) -> Json | ReadFailure:
    """Give the good answer of a call that may be repeated, or why there is none; codes read `weibo_NUMBER`."""
    body = decode_json(response)
    if isinstance(body, ReadFailure):
        return body
    return body if isinstance(body, dict) else Unknown(reason="bad_response")


def decode_list(response: HttpResponse | NotSent | ReadFailure) -> list[object] | ReadFailure:
    """Give the good answer of a call that answers with a list, or why there is none."""
    body = decode_json(response)
    if isinstance(body, ReadFailure):
        return body
    return body if isinstance(body, list) else Unknown(reason="bad_response")


def decode_json(response: HttpResponse | NotSent | ReadFailure) -> object:
    if not isinstance(response, HttpResponse):
        return to_read_failure(response)
    body = _parse_json(response)
    code = get_error_code(body if isinstance(body, dict) else None)
    if code is not None:
        return Unknown(reason=to_message_key(code))
    if response.status >= 500:
        return Unknown(reason="server_error")
    return body if response.status == 200 else Unknown(reason="bad_response")


def get_reason(trouble: ReadFailure) -> str:
    """Give the key of the words that say why an answer brings nothing."""
    return trouble.code if isinstance(trouble, RateLimited) else trouble.reason


def parse_object(response: HttpResponse) -> Json | None:
    body = _parse_json(response)
    return body if isinstance(body, dict) else None


def get_error_code(body: Json | None) -> int | None:
    """Give the error code of an answer, which comes as a number or as text."""
    return to_int(body.get("error_code")) if body else None


def parse_reason_code(reason: str) -> int | None:
    """Give the code that a reason names, where it names one."""
    return to_int(reason.removeprefix("weibo_")) if reason.startswith("weibo_") else None


def get_error_message(body: Json | None) -> str:
    return str(body.get("error", ""))[:200] if body else ""


def get_post_id(body: Json) -> str | None:
    """Give a post's number; `id` comes last, as clients have rounded it."""
    found = (to_text(body.get(key)) for key in ("idstr", "mid", "id"))
    return next((text for text in found if text and is_number(text)), None)


def get_owner_id(body: Json) -> str | None:
    user = body.get("user")
    if isinstance(user, dict):
        return str(user.get("idstr") or user.get("id") or "") or None
    return to_text(body.get("uid"))


def to_text(value: object) -> str | None:
    """Spell what comes as a number or as text."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return text or None


def to_int(value: object) -> int | None:
    text = to_text(value)
    return int(text) if text and is_number(text) else None


def is_number(text: str) -> bool:
    """Whether a text is a number of a size that platforms use."""
    return text.isascii() and text.isdigit() and len(text) <= 20


def parse_time(value: object) -> datetime | None:
    """Read `Wed Oct 24 23:49:17 +0800 2012`, whatever language the host speaks."""
    try:
        day, month, date, time, zone, year = str(value).split()
        return parsedate_to_datetime(f"{day}, {date} {month} {year} {time} {zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _parse_json(response: HttpResponse) -> object:
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return None
