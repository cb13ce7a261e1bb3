"""WeChat's callbacks: a publication or a mass send has ended. Pure.

Source: developers.weixin.qq.com, Access_Overview, Message_encryption_and_decryption,
Callback_on_finish and Batch_Sends, read 2026-11-24. The signature of the plain mode covers the time
and the nonce, not the body. An eavesdropper could put another body under an overheard signature. A
callback is therefore a reason to check, never a result.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from xml.parsers import expat

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from adapters.wechat.api import decode_ticket
from adapters.wechat.mass_send import MassSendId, parse_failure_code, parse_mass_send_id
from publisher.contract import CallbackEvent, CallbackRequest
from publisher.domain.account import Account
from publisher.domain.errors import Problem, PublisherError
from publisher.domain.results import Ticket

MAX_TIMESTAMP_SKEW = timedelta(minutes=5)
"""How far the time in a signed message may differ from ours, either way."""
MAX_FIELD_LENGTH = 100
KEY_BYTES = 32
PADDING_BLOCK_BYTES = 32
SALT_BYTES = 16
LENGTH_BYTES = 4
MAX_XML_DEPTH = 16
MAX_XML_ELEMENTS = 2000


class WeChatCallbacks:
    """Parses an account's callbacks: in plain mode, or encrypted where the secret holds a key."""

    acknowledgement = "success"

    def is_configured(self, secret: Mapping[str, str]) -> bool:
        return bool(secret.get("callback_token"))

    def verify(
        self,
        account: Account,
        secret: Mapping[str, str],
        query: Mapping[str, str],
        now: datetime,
    ) -> str | Problem:
        """Check the signature over time and nonce, sent by WeChat in both modes."""
        timestamp, nonce = query.get("timestamp", ""), query.get("nonce", "")
        signed = compute_signature(secret["callback_token"], timestamp, nonce)
        if not hmac.compare_digest(
            query.get("signature", "").encode(), signed.encode()
        ):
            return _make_problem("callback_unsigned", account)
        at = (
            int(timestamp)
            if timestamp.isascii()
            and timestamp.isdigit()
            and len(timestamp) < MAX_FIELD_LENGTH
            else 0
        )
        if abs(now.timestamp() - at) > MAX_TIMESTAMP_SKEW.total_seconds():
            return _make_problem("callback_stale", account)
        return f"{timestamp}/{nonce}"

    def verify_endpoint(
        self,
        account: Account,
        secret: Mapping[str, str],
        request: CallbackRequest,
        now: datetime,
    ) -> str | Problem:
        if isinstance(
            problem := self.verify(account, secret, request.query, now), Problem
        ):
            return problem
        echo = request.query.get("echostr", "")
        return (
            echo
            if 0 < len(echo) <= MAX_FIELD_LENGTH
            else _make_problem("callback_unreadable", account)
        )

    def parse(
        self,
        account: Account,
        secret: Mapping[str, str],
        request: CallbackRequest,
        now: datetime,
    ) -> CallbackEvent | Problem | None:
        """Return the ended job, None for the many events that are of no concern.

        An encrypted body must be signed with our token too, open with our key, and name our
        account.
        """
        if isinstance(
            problem := self.verify(account, secret, request.query, now), Problem
        ):
            return problem
        fields = parse_xml(request.body)
        if fields is not None and secret.get("encoding_aes_key"):
            query, encrypted = request.query, fields.get("xml/Encrypt", "")
            token = secret["callback_token"]
            timestamp = query.get("timestamp", "")
            nonce = query.get("nonce", "")
            signature = compute_signature(token, timestamp, nonce, encrypted)
            if not hmac.compare_digest(
                query.get("msg_signature", "").encode(), signature.encode()
            ):
                return _make_problem("callback_unsigned", account)
            message = decrypt_message(encrypted, secret["encoding_aes_key"])
            if message is None:
                return _make_problem("callback_unreadable", account)
            text, app_id = message
            if not hmac.compare_digest(app_id, account.identity.encode()):
                return _make_problem("callback_wrong_account", account)
            fields = parse_xml(text)
        return (
            _make_problem("callback_unreadable", account)
            if fields is None
            else _to_event(fields)
        )

    def matches(self, event: CallbackEvent, ticket: Ticket) -> bool:
        job = decode_ticket(ticket)
        if job is None:
            return False
        ours, theirs = parse_mass_send_id(job.name), parse_mass_send_id(event.job_id)
        return (
            ours.msg_id == theirs.msg_id
            if ours and theirs
            else job.name == event.job_id
        )


def decrypt_message(
    encrypted: str, encoding_aes_key: str
) -> tuple[bytes, bytes] | None:
    """Return a message's text and AppID.

    Return None if it was not encrypted with this key, or the key is invalid.
    """
    try:
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
        data = base64.b64decode(encrypted, validate=True)
    except ValueError:
        return None
    if len(key) != KEY_BYTES or not data or len(data) % PADDING_BLOCK_BYTES:
        return None
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    plain = decryptor.update(data) + decryptor.finalize()
    padding = plain[-1]
    if (
        not 1 <= padding <= PADDING_BLOCK_BYTES
        or plain[-padding:] != bytes([padding]) * padding
    ):
        return None
    content = plain[SALT_BYTES:-padding]
    length = int.from_bytes(content[:LENGTH_BYTES], "big")
    text, app_id = (
        content[LENGTH_BYTES : LENGTH_BYTES + length],
        content[LENGTH_BYTES + length :],
    )
    return (text, app_id) if len(text) == length else None


def compute_signature(*parts: str) -> str:
    """Return WeChat's signature: SHA-1 over the sorted parts, in hexadecimal."""
    return hashlib.sha1(
        "".join(sorted(parts)).encode(), usedforsecurity=False
    ).hexdigest()


def parse_xml(body: bytes) -> Mapping[str, str] | None:
    """Return the text of each element by its path, the first of equal paths; None for invalid XML.

    Declarations of types and entities are refused before they can expand.
    """
    reader = _XmlReader()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.StartElementHandler = reader.begin
    parser.CharacterDataHandler = reader.take
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(body, True)  # noqa: FBT003 # expat's own signature: the input is complete
    except (expat.ExpatError, _ForbiddenXmlError):
        return None
    return reader.texts


class _ForbiddenXmlError(PublisherError):
    """Stops the parser at once."""


@dataclass(slots=True)
class _XmlReader:
    texts: dict[str, str] = field(default_factory=dict)
    _path: list[str] = field(default_factory=list)
    _text_parts: list[str] = field(default_factory=list)
    _elements: int = 0

    def refuse(self, *_declaration: object) -> None:
        raise _ForbiddenXmlError

    def begin(self, name: str, _attributes: object) -> None:
        self._elements += 1
        if len(self._path) >= MAX_XML_DEPTH or self._elements > MAX_XML_ELEMENTS:
            raise _ForbiddenXmlError
        self._path.append(name)
        self._text_parts = []

    def take(self, text: str) -> None:
        self._text_parts.append(text)

    def end(self, _name: str) -> None:
        self.texts.setdefault("/".join(self._path), "".join(self._text_parts).strip())
        self._path.pop()
        self._text_parts = []


def _to_event(fields: Mapping[str, str]) -> CallbackEvent | None:
    reason = ""
    match fields.get("xml/Event"):
        case "PUBLISHJOBFINISH":
            job_id = fields.get("xml/PublishEventInfo/publish_id", "")
        case "MASSSENDJOBFINISH":
            msg_id = fields.get("xml/MsgID", "")
            reason = parse_failure_code(fields.get("xml/Status", "")) or ""
            job_id = MassSendId(msg_id=msg_id).remote_id if msg_id else ""
        case _:
            return None
    return (
        CallbackEvent(job_id=job_id[:MAX_FIELD_LENGTH], reason=reason)
        if job_id
        else None
    )


def _make_problem(code: str, account: Account) -> Problem:
    return Problem(code=code, facts={"account": account.id})
