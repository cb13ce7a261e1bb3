"""WeChat's mass sends as data: their calls, answers and names. Pure.

Source: developers.weixin.qq.com, Batch_Sends and the pages of sendall, mass/get and mass/delete, read 2026-11-24. A
mass send is known by a `msg_id`; statistics know it by a `msg_data_id`, which the answer to the first call alone tells.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from publisher.contract import Call, Reply
from publisher.domain.rendition import Parcel

from .wire import Refused, Trouble, post_json, read_answer, text_of

SENT_ALREADY = 45065
"""The code by which WeChat says that it knows the key of a mass send."""
FAILURES = frozenset(
    {"10001", "20001", "20002", "20004", "20006", "20008", "20013", "21000", "22000", "30001", "30002", "30003"}
    | {"40001", "40002"}
)
"""The numbers by which the event at a mass send's end tells why it failed (Batch_Sends; copied in SDKs)."""
_FAILURE = re.compile(r"err\((\d{1,9})\)")
_PREFIX = "mass"
_KEY_LENGTH = 32
"""The reference allows 64 bytes, but users saw 36 characters refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MassId:
    """What a mass send is called. Lists of published articles never hold one."""

    msg_id: str
    data_id: str | None = None

    @property
    def remote_id(self) -> str:
        """Spell it so that no article's id is spelled alike."""
        return "-".join(part for part in (_PREFIX, self.msg_id, self.data_id) if part)


def read_mass_id(remote_id: str) -> MassId | None:
    """Read a remote id; None when it is an article's."""
    prefix, *numbers = remote_id.split("-")
    if prefix != _PREFIX or not 1 <= len(numbers) <= 2 or not all(map(_is_number, numbers)):
        return None
    return MassId(msg_id=numbers[0], data_id=numbers[1] if len(numbers) == 2 else None)


def key_of(parcel: Parcel) -> str:
    """Give the key by which WeChat knows a repeat of this attempt's mass send."""
    named = f"{parcel.account}\n{parcel.marker.code}\n{parcel.delivery}\n{parcel.attempt}"
    return hashlib.sha256(named.encode()).hexdigest()[:_KEY_LENGTH]


def encode_mass_send(base: str, token: str, draft: str, tag: int | None, key: str) -> Call:
    """Push a draft to all followers, or to those with a tag. The one call that creates."""
    body = {
        "filter": {"is_to_all": True} if tag is None else {"is_to_all": False, "tag_id": tag},
        "msgtype": "mpnews",
        "mpnews": {"media_id": draft},
        "send_ignore_reprint": 0,
        "clientmsgid": key,
    }
    return post_json(base, "message/mass/sendall", token, body)


def encode_mass_status(base: str, token: str, mass: MassId) -> Call:
    return post_json(base, "message/mass/get", token, {"msg_id": mass.msg_id})


def encode_mass_delete(base: str, token: str, mass: MassId) -> Call:
    """Delete all articles of a mass send: the page goes dead, the card stays with those who received it."""
    return post_json(base, "message/mass/delete", token, {"msg_id": int(mass.msg_id), "article_idx": 0})


def encode_preview(base: str, token: str, draft: str, to: str) -> Call:
    """Show a draft to one person, by WeChat name. It counts as no mass send; a second call is a second message."""
    body = {"towxname": to, "msgtype": "mpnews", "mpnews": {"media_id": draft}}
    return replace(post_json(base, "message/mass/preview", token, body), is_repeatable=False)


def decode_mass_send(reply: Reply) -> str | Trouble:
    """Read the name of the mass send; where WeChat knew the key, that of the first one, if it tells it."""
    answer = read_answer(reply, _name)
    if isinstance(answer, Refused) and answer.code == SENT_ALREADY:
        return _first_one(reply) or answer
    return answer


def decode_mass_status(reply: Reply) -> str | Trouble:
    return read_answer(reply, lambda answer: text_of(answer, "msg_status"))


def failure_in(status: str) -> str | None:
    """Read why a mass send failed out of a status such as `err(20008)`; None where it names no listed number."""
    found = _FAILURE.fullmatch(status)
    return found[1] if found and found[1] in FAILURES else None


def _first_one(reply: Reply) -> str | None:
    try:
        return _name(json.loads(reply.body))
    except (KeyError, ValueError):
        return None


def _name(answer: Mapping[str, Any]) -> str:
    data_id = str(answer.get("msg_data_id") or "")
    mass = MassId(msg_id=text_of(answer, "msg_id"), data_id=data_id if _is_number(data_id) else None)
    if not _is_number(mass.msg_id):
        raise ValueError(mass.msg_id)
    return mass.remote_id


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
