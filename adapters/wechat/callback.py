"""What WeChat tells us of itself: that a publication or a mass send has ended. Pure.

Source: developers.weixin.qq.com, Access_Overview, Message_encryption_and_decryption, Callback_on_finish and
Batch_Sends, read 2026-11-24. The signature of the plain mode covers the time and the nonce, not the words, so whoever
overhears one could put other words under it: what is read here is a reason to look, never an answer.
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
"""How far the time in a signed message may lie from ours, either way."""
MAX_FIELD_LENGTH = 100
KEY_BYTES = 32
PADDING_BLOCK_BYTES = 32
SALT_BYTES = 16
LENGTH_BYTES = 4
MAX_XML_DEPTH = 16
MAX_XML_ELEMENTS = 2000


class WeChatCallbacks:
    """Reads what arrives at an account's address: in plain mode, or sealed where the secret holds a key."""

    def is_configured(self, secret: Mapping[str, str]) -> bool:
        return bool(secret.get("callback_token"))

    def verify(
        self, account: Account, secret: Mapping[str, str], query: Mapping[str, str], now: datetime
    ) -> str | Problem:
        """Check the signature over time and nonce, which WeChat sends in both modes."""
        timestamp, nonce = query.get("timestamp", ""), query.get("nonce", "")
        signed = compute_signature(secret["callback_token"], timestamp, nonce)
        if not hmac.compare_digest(query.get("signature", "").encode(), signed.encode()):
            return _make_problem("callback_unsigned", account)
        at = int(timestamp) if timestamp.isascii() and timestamp.isdigit() and len(timestamp) < MAX_FIELD_LENGTH else 0
        if abs(now.timestamp() - at) > MAX_TIMESTAMP_SKEW.total_seconds():
            return _make_problem("callback_stale", account)
        return f"{timestamp}/{nonce}"

    def verify_endpoint(
        self, account: Account, secret: Mapping[str, str], request: CallbackRequest, now: datetime
    ) -> str | Problem:
        if isinstance(problem := self.verify(account, secret, request.query, now), Problem):
            return problem
        echo = request.query.get("echostr", "")
        return echo if 0 < len(echo) <= MAX_FIELD_LENGTH else _make_problem("callback_unreadable", account)

    def parse(
        self, account: Account, secret: Mapping[str, str], request: CallbackRequest, now: datetime
    ) -> CallbackEvent | Problem | None:
        if isinstance(problem := self.verify(account, secret, request.query, now), Problem):
            return problem
        words = parse_xml(request.body)
        if words is None:
            return _make_problem("callback_unreadable", account)
        if not secret.get("encoding_aes_key"):
            return _to_event(words)
        return _parse_encrypted(account, secret, request.query, words.get("xml/Encrypt", ""))

    def matches(self, event: CallbackEvent, ticket: Ticket) -> bool:
        work = decode_ticket(ticket)
        if work is None:
            return False
        mass, told = parse_mass_send_id(work.name), parse_mass_send_id(event.job_id)
        return mass.msg_id == told.msg_id if mass and told else work.name == event.job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class DecryptedMessage:
    """The inside of a seal: the words, and the AppID that stands after them."""

    text: bytes
    app_id: bytes


def decrypt_message(encrypted: str, encoding_aes_key: str) -> DecryptedMessage | None:
    """Open what was sealed with a key; None when it was not, or when the key is none."""
    try:
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
        data = base64.b64decode(encrypted, validate=True)
    except ValueError:
        return None
    if len(key) != KEY_BYTES or not data or len(data) % PADDING_BLOCK_BYTES:
        return None
    opening = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    plain = opening.update(data) + opening.finalize()
    filling = plain[-1]
    if not 1 <= filling <= PADDING_BLOCK_BYTES or plain[-filling:] != bytes([filling]) * filling:
        return None
    inside = plain[SALT_BYTES:-filling]
    length = int.from_bytes(inside[:LENGTH_BYTES], "big")
    text, app_id = inside[LENGTH_BYTES : LENGTH_BYTES + length], inside[LENGTH_BYTES + length :]
    return DecryptedMessage(text=text, app_id=app_id) if len(text) == length else None


def compute_signature(*parts: str) -> str:
    """Sign as WeChat does: SHA-1 over the sorted parts, in hexadecimal."""
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def parse_xml(body: bytes) -> Mapping[str, str] | None:
    """Give the text of each element by its path, the first of equal paths; None for what is not sound.

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
        parser.Parse(body, True)  # noqa: FBT003 # expat's own signature: this is all there is
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


def _parse_encrypted(
    account: Account, secret: Mapping[str, str], query: Mapping[str, str], encrypted: str
) -> CallbackEvent | Problem | None:
    """Read what a seal holds, if the seal too is signed with our token, opens with our key, and names our account."""
    signed = compute_signature(secret["callback_token"], query.get("timestamp", ""), query.get("nonce", ""), encrypted)
    if not hmac.compare_digest(query.get("msg_signature", "").encode(), signed.encode()):
        return _make_problem("callback_unsigned", account)
    opened = decrypt_message(encrypted, secret["encoding_aes_key"])
    if opened is None:
        return _make_problem("callback_unreadable", account)
    if not hmac.compare_digest(opened.app_id, account.identity.encode()):
        return _make_problem("callback_wrong_account", account)
    inner = parse_xml(opened.text)
    return _make_problem("callback_unreadable", account) if inner is None else _to_event(inner)


def _to_event(words: Mapping[str, str]) -> CallbackEvent | None:
    """Name what has ended; None for the many events that are not ours to hear."""
    said = ""
    match words.get("xml/Event"):
        case "PUBLISHJOBFINISH":
            number = words.get("xml/PublishEventInfo/publish_id", "")
        case "MASSSENDJOBFINISH":
            msg_id, said = words.get("xml/MsgID", ""), parse_failure_code(words.get("xml/Status", "")) or ""
            number = MassSendId(msg_id=msg_id).remote_id if msg_id else ""
        case _:
            return None
    return CallbackEvent(job_id=number[:MAX_FIELD_LENGTH], reason=said) if number else None


def _make_problem(code: str, account: Account) -> Problem:
    return Problem(code=code, facts={"account": account.id})
