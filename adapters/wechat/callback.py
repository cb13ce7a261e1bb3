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

from publisher.contract import Callback, Hint
from publisher.domain.account import Account
from publisher.domain.errors import PublisherError
from publisher.domain.outcome import Ticket
from publisher.domain.problem import Problem

from .mass import MassId, failure_in, read_mass_id
from .tickets import read_ticket

FRESH = timedelta(minutes=5)
"""How far the time in a signed message may lie from ours, either way."""
LONGEST_WORD = 100
KEY_BYTES = 32
BLOCK = 32
SALT_BYTES = 16
LENGTH_BYTES = 4
DEEPEST = 16
MOST_ELEMENTS = 2000


class WeChatCallbacks:
    """Reads what arrives at an account's address: in plain mode, or sealed where the secret holds a key."""

    def is_expected(self, secret: Mapping[str, str]) -> bool:
        return bool(secret.get("callback_token"))

    def verify(
        self, account: Account, secret: Mapping[str, str], query: Mapping[str, str], now: datetime
    ) -> str | Problem:
        """Check the signature over time and nonce, which WeChat sends in both modes."""
        timestamp, nonce = query.get("timestamp", ""), query.get("nonce", "")
        signed = signature_of(secret["callback_token"], timestamp, nonce)
        if not hmac.compare_digest(query.get("signature", "").encode(), signed.encode()):
            return _problem("callback_unsigned", account)
        at = int(timestamp) if timestamp.isascii() and timestamp.isdigit() and len(timestamp) < LONGEST_WORD else 0
        if abs(now.timestamp() - at) > FRESH.total_seconds():
            return _problem("callback_stale", account)
        return f"{timestamp}/{nonce}"

    def greet(self, account: Account, secret: Mapping[str, str], callback: Callback, now: datetime) -> str | Problem:
        if isinstance(problem := self.verify(account, secret, callback.query, now), Problem):
            return problem
        echo = callback.query.get("echostr", "")
        return echo if 0 < len(echo) <= LONGEST_WORD else _problem("callback_unreadable", account)

    def read(
        self, account: Account, secret: Mapping[str, str], callback: Callback, now: datetime
    ) -> Hint | Problem | None:
        if isinstance(problem := self.verify(account, secret, callback.query, now), Problem):
            return problem
        words = read_xml(callback.body)
        if words is None:
            return _problem("callback_unreadable", account)
        if not secret.get("encoding_aes_key"):
            return _hint(words)
        return _read_sealed(account, secret, callback.query, words.get("xml/Encrypt", ""))

    def is_meant(self, hint: Hint, ticket: Ticket) -> bool:
        work = read_ticket(ticket)
        if work is None:
            return False
        mass, told = read_mass_id(work.name), read_mass_id(hint.number)
        return mass.msg_id == told.msg_id if mass and told else work.name == hint.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The inside of a seal: the words, and the AppID that stands after them."""

    text: bytes
    app_id: bytes


def open_seal(sealed: str, encoding_aes_key: str) -> Opened | None:
    """Open what was sealed with a key; None when it was not, or when the key is none."""
    try:
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
        data = base64.b64decode(sealed, validate=True)
    except ValueError:
        return None
    if len(key) != KEY_BYTES or not data or len(data) % BLOCK:
        return None
    opening = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    plain = opening.update(data) + opening.finalize()
    filling = plain[-1]
    if not 1 <= filling <= BLOCK or plain[-filling:] != bytes([filling]) * filling:
        return None
    inside = plain[SALT_BYTES:-filling]
    length = int.from_bytes(inside[:LENGTH_BYTES], "big")
    text, app_id = inside[LENGTH_BYTES : LENGTH_BYTES + length], inside[LENGTH_BYTES + length :]
    return Opened(text=text, app_id=app_id) if len(text) == length else None


def signature_of(*parts: str) -> str:
    """Sign as WeChat does: SHA-1 over the sorted parts, in hexadecimal."""
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def read_xml(body: bytes) -> Mapping[str, str] | None:
    """Give the text of each element by its path, the first of equal paths; None for what is not sound.

    Declarations of types and entities are refused before they can expand.
    """
    reader = _Reader()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.StartElementHandler = reader.begin
    parser.CharacterDataHandler = reader.take
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(body, True)  # noqa: FBT003 # expat's own signature: this is all there is
    except (expat.ExpatError, _RefusedError):
        return None
    return reader.texts


class _RefusedError(PublisherError):
    """Stops the parser at once."""


@dataclass(slots=True)
class _Reader:
    texts: dict[str, str] = field(default_factory=dict)
    _path: list[str] = field(default_factory=list)
    _said: list[str] = field(default_factory=list)
    _elements: int = 0

    def refuse(self, *_declaration: object) -> None:
        raise _RefusedError

    def begin(self, name: str, _attributes: object) -> None:
        self._elements += 1
        if len(self._path) >= DEEPEST or self._elements > MOST_ELEMENTS:
            raise _RefusedError
        self._path.append(name)
        self._said = []

    def take(self, text: str) -> None:
        self._said.append(text)

    def end(self, _name: str) -> None:
        self.texts.setdefault("/".join(self._path), "".join(self._said).strip())
        self._path.pop()
        self._said = []


def _read_sealed(
    account: Account, secret: Mapping[str, str], query: Mapping[str, str], sealed: str
) -> Hint | Problem | None:
    """Read what a seal holds, if the seal too is signed with our token, opens with our key, and names our account."""
    signed = signature_of(secret["callback_token"], query.get("timestamp", ""), query.get("nonce", ""), sealed)
    if not hmac.compare_digest(query.get("msg_signature", "").encode(), signed.encode()):
        return _problem("callback_unsigned", account)
    opened = open_seal(sealed, secret["encoding_aes_key"])
    if opened is None:
        return _problem("callback_unreadable", account)
    if not hmac.compare_digest(opened.app_id, account.identity.encode()):
        return _problem("callback_of_another", account)
    inner = read_xml(opened.text)
    return _problem("callback_unreadable", account) if inner is None else _hint(inner)


def _hint(words: Mapping[str, str]) -> Hint | None:
    """Name what has ended; None for the many events that are not ours to hear."""
    said = ""
    match words.get("xml/Event"):
        case "PUBLISHJOBFINISH":
            number = words.get("xml/PublishEventInfo/publish_id", "")
        case "MASSSENDJOBFINISH":
            msg_id, said = words.get("xml/MsgID", ""), failure_in(words.get("xml/Status", "")) or ""
            number = MassId(msg_id=msg_id).remote_id if msg_id else ""
        case _:
            return None
    return Hint(number=number[:LONGEST_WORD], said=said) if number else None


def _problem(code: str, account: Account) -> Problem:
    return Problem(code=code, facts={"account": account.id})
