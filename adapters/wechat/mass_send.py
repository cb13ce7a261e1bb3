"""Mass sends: their calls as data, the idempotency key, readback and deletion.

The key is recorded before the call. Source: developers.weixin.qq.com, Batch_Sends and the pages of
sendall, mass/get and mass/delete, read 2026-11-24. A mass send is identified by a `msg_id`.
Statistics use a `msg_data_id`, and only the first call's response contains it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from adapters.wechat.api import (
    ApiError,
    ErrorResponse,
    build_json_request,
    decode_response,
    decode_success,
    get_text,
)
from adapters.wechat.auth import FailedCall, WeChatAuth
from publisher.contract import AdapterContext, HttpRequest, HttpResponse
from publisher.domain.post import DeliveryId, SendRequest
from publisher.domain.results import (
    Deleted,
    DeletionResult,
    Published,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Rejected,
    Unknown,
)

DUPLICATE_KEY_CODE = 45065
"""WeChat already knows the key of a mass send."""
MASS_FAILURE_CODES = frozenset(
    {
        "10001",
        "20001",
        "20002",
        "20004",
        "20006",
        "20008",
        "20013",
        "21000",
        "22000",
        "30001",
        "30002",
        "30003",
    }
    | {"40001", "40002"}
)
"""The failure numbers in the event at a mass send's end (Batch_Sends; copied in SDKs)."""
_FAILURE_STATUS = re.compile(r"err\((\d{1,9})\)")
_MASS_SEND_ID_PREFIX = "mass"
_KEY_CHARACTERS = 32
"""The reference allows 64 bytes, but users saw 36 characters refused."""
KEY_LIFETIME = timedelta(hours=23)
"""An hour less than WeChat remembers a key."""
ALREADY_DELETED_CODE = 40060
"""Users got this code for a deletion that worked: the status after it decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MassSendId:
    """The id of a mass send. Lists of published articles never contain one."""

    msg_id: str
    data_id: str | None = None

    @property
    def remote_id(self) -> str:
        """The id as text, in a form that no article's id has."""
        return "-".join(
            part for part in (_MASS_SEND_ID_PREFIX, self.msg_id, self.data_id) if part
        )


def parse_mass_send_id(remote_id: str) -> MassSendId | None:
    """Parse a remote id; None where it is an article's."""
    prefix, *numbers = remote_id.split("-")
    if (
        prefix != _MASS_SEND_ID_PREFIX
        or not 1 <= len(numbers) <= 2
        or not all(map(_is_number, numbers))
    ):
        return None
    return MassSendId(
        msg_id=numbers[0], data_id=numbers[1] if len(numbers) == 2 else None
    )


def make_idempotency_key(request: SendRequest, *, is_renewed: bool) -> str:
    """Return the key that lets WeChat recognise a repeat of this mass send.

    The first key of a delivery follows from its post and account alone. A database that has lost
    the recorded key, in a failover or a restore, leads to it again. A key that is renewed is this
    attempt's own.
    """
    name = f"{request.account}\n{request.marker.code}" + (
        f"\n{request.attempt}" if is_renewed else ""
    )
    return hashlib.sha256(name.encode()).hexdigest()[:_KEY_CHARACTERS]


def encode_mass_send(
    base: str, token: str, draft: str, tag: int | None, key: str
) -> HttpRequest:
    """Send a draft to all followers, or to the followers with a tag.

    It is the one call that creates.
    """
    body = {
        "filter": {"is_to_all": True}
        if tag is None
        else {"is_to_all": False, "tag_id": tag},
        "msgtype": "mpnews",
        "mpnews": {"media_id": draft},
        "send_ignore_reprint": 0,
        "clientmsgid": key,
    }
    return build_json_request(base, "message/mass/sendall", token, body)


def encode_mass_status(base: str, token: str, mass_send_id: MassSendId) -> HttpRequest:
    return build_json_request(
        base, "message/mass/get", token, {"msg_id": mass_send_id.msg_id}
    )


def encode_mass_delete(base: str, token: str, mass_send_id: MassSendId) -> HttpRequest:
    """Delete all articles of a mass send.

    The page goes dead, the card stays with the people that received it.
    """
    return build_json_request(
        base,
        "message/mass/delete",
        token,
        {"msg_id": int(mass_send_id.msg_id), "article_idx": 0},
    )


def encode_preview(base: str, token: str, draft: str, recipient: str) -> HttpRequest:
    """Show a draft to one person, by WeChat name.

    It counts as no mass send; a second call is a second message.
    """
    body = {"towxname": recipient, "msgtype": "mpnews", "mpnews": {"media_id": draft}}
    return replace(
        build_json_request(base, "message/mass/preview", token, body),
        is_idempotent=False,
    )


def decode_mass_send(response: HttpResponse) -> str | ErrorResponse:
    """Return the remote id of the mass send.

    If WeChat knew the key, it is the first one's, if the response has it.
    """
    result = decode_response(response, _decode_mass_send_id)
    if isinstance(result, ApiError) and result.code == DUPLICATE_KEY_CODE:
        with suppress(KeyError, ValueError):
            return _decode_mass_send_id(json.loads(response.body))
    return result


def decode_mass_status(response: HttpResponse) -> str | ErrorResponse:
    return decode_response(response, lambda body: get_text(body, "msg_status"))


def parse_failure_code(status: str) -> str | None:
    """Return why a mass send failed, from a status such as `err(20008)`.

    Return None if it names no listed number.
    """
    match = _FAILURE_STATUS.fullmatch(status)
    return match[1] if match and match[1] in MASS_FAILURE_CODES else None


def _decode_mass_send_id(body: Mapping[str, Any]) -> str:
    data_id = str(body.get("msg_data_id") or "")
    mass = MassSendId(
        msg_id=get_text(body, "msg_id"),
        data_id=data_id if _is_number(data_id) else None,
    )
    if not _is_number(mass.msg_id):
        raise ValueError(mass.msg_id)
    return mass.remote_id


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


@dataclass(frozen=True, slots=True, kw_only=True)
class MassSender:
    """Follows the mass sends of one account.

    A delivery keeps the key of its first attempt for as long as WeChat remembers keys: a second
    call with it cannot make a second mass send.
    """

    auth: WeChatAuth
    context: AdapterContext

    async def reserve_idempotency_key(self, request: SendRequest) -> str:
        """Return the key of a delivery's mass send; it is always recorded before the call."""
        now, record = (
            self.context.now().timestamp(),
            await self._read_key_record(request),
        )
        if record and now - record["since"] < KEY_LIFETIME.total_seconds():
            return str(record["key"])
        key = make_idempotency_key(request, is_renewed=bool(record))
        await self.context.state.set(
            _build_key_state_key(request), json.dumps({"key": key, "since": now})
        )
        return key

    async def is_key_remembered(self, request: SendRequest) -> bool:
        """Return True if a second call now would have the same key, and WeChat still knows it.

        The key is the one of the attempt's mass send. A database that has lost the recorded key
        leads to it again.
        """
        record = await self._read_key_record(request)
        since = record["since"] if record else request.intended_at.timestamp()
        return bool(
            self.context.now().timestamp() - since < KEY_LIFETIME.total_seconds()
        )

    async def _read_key_record(self, request: SendRequest) -> Mapping[str, Any]:
        """Return the delivery's recorded key, and since when WeChat may know it.

        It is empty if there is none.
        """
        record: Mapping[str, Any] = json.loads(
            await self.context.state.get(_build_key_state_key(request)) or "{}"
        )
        return record

    async def check_mass_send(
        self,
        mass_send_id: MassSendId,
        delivery: DeliveryId,
        on_working: Callable[[], ReadbackResult],
    ) -> ReadbackResult:
        """Read the status of a mass send.

        A published one is recorded, as no list will ever show it.
        """
        result = await self._read_status(mass_send_id, on_working)
        if isinstance(result, Published):
            await self.context.state.set(
                _build_sent_state_key(delivery), mass_send_id.remote_id
            )
        return result

    async def get_published(self, delivery: DeliveryId) -> MassSendId | None:
        """Return the mass send that was seen published for a delivery."""
        return parse_mass_send_id(
            await self.context.state.get(_build_sent_state_key(delivery)) or ""
        )

    async def check_published(self, mass_send_id: MassSendId) -> ReadbackResult:
        """Read whether a mass send that was published still is."""
        return await self._read_status(
            mass_send_id, lambda: Unknown(reason="wechat_unknown_status")
        )

    async def retract(self, mass_send_id: MassSendId) -> DeletionResult:
        """Delete the page.

        It counts as deleted once its status says so. The card stays in followers' chats.
        """
        deleted = await self.auth.fetch(
            partial(encode_mass_delete, mass_send_id=mass_send_id), decode_success
        )
        if isinstance(deleted, FailedCall) and deleted.code != ALREADY_DELETED_CODE:
            return (
                deleted.outcome
                if isinstance(deleted.outcome, Rejected)
                else deleted.unread
            )
        after = await self.check_published(mass_send_id)
        return (
            after
            if isinstance(after, Deleted | ReadFailure)
            else Unknown(reason="wechat_deletion_unconfirmed")
        )

    async def _read_status(
        self, mass_send_id: MassSendId, on_working: Callable[[], ReadbackResult]
    ) -> ReadbackResult:
        status = await self.auth.fetch(
            partial(encode_mass_status, mass_send_id=mass_send_id), decode_mass_status
        )
        match status:
            case FailedCall():
                return status.unread
            case "SEND_SUCCESS":
                receipt = Receipt(
                    remote_id=mass_send_id.remote_id,
                    url="",
                    published_at=self.context.now(),
                )
                return Published(receipt=receipt)
            case "SENDING":
                return on_working()
            case (
                "SEND_FAIL"
            ):  # the status gives no cause, but the event at the end may have
                cause = await self.context.state.get(
                    f"said:{replace(mass_send_id, data_id=None).remote_id}"
                )
                code = (
                    f"wechat_mass_{cause}"
                    if cause in MASS_FAILURE_CODES
                    else "wechat_mass_failed"
                )
                return Rejected(code=code, reason=mass_send_id.msg_id)
            case "DELETE":
                return Deleted()
            case _:
                return Unknown(reason="wechat_unknown_status")


def _build_key_state_key(request: SendRequest) -> str:
    return f"mass:{request.delivery}"


def _build_sent_state_key(delivery: DeliveryId) -> str:
    return f"sent:{delivery}"
