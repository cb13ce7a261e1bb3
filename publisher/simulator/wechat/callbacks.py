"""The events at the end of a job, and how they are sent to a URL.

The source is developers.weixin.qq.com, Access_Overview. A URL first proves that it knows the token,
then receives an event at each job's end (Callback_on_finish, Batch_Sends). It answers `success` or
nothing within five seconds, or the event is sent again, three times in all. An event is signed, and
encrypted by AES-256 in CBC mode. The encryption covers sixteen random bytes, the length in four
bytes, the text and the AppID, padded to 32 bytes (Message_encryption_and_decryption). Fault rules
apply to the endpoint `/callback/EVENT`: `drop_before` loses the event, `duplicate` sends it twice,
`delay` sends it late.
"""

import asyncio
import base64
import hashlib
import secrets
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from publisher.simulator.request import ApiRequest
from publisher.simulator.state import SimulatedPost, SimulatorState

from .publish import format_job
from .responses import build_article_url, make_original_id

MAX_ATTEMPTS = 3
RESPONSE_TIMEOUT_SECONDS = 5.0
MAX_RESPONSE_BYTES = 65_536
ENCRYPTION_MODES = ("plain", "compatible", "aes")
TOKEN_LENGTHS = range(3, 33)
PUBLISH_EVENT, MASS_SEND_EVENT = "PUBLISHJOBFINISH", "MASSSENDJOBFINISH"
SENDER_NAME = "mphelper"
"""A helper account of the platform, not a follower."""
NOT_A_REPRINT = 1
BLOCK_BYTES = 32


async def register_callback(
    state: SimulatorState, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """Register an account's `url`, `token`, `aes_key` and `mode` after the handshake.

    Without a url, remove them. Raises ValueError for an invalid registration and for a failed
    handshake.
    """
    account, url, token = (
        str(fields.get(name) or "") for name in ("account", "url", "token")
    )
    mode, aes_key = str(fields.get("mode") or "plain"), str(fields.get("aes_key") or "")
    if not account:
        raise ValueError("account is needed")
    if not url:
        state.put_row("wechat_callbacks", account, None)
        return {"ok": True}
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ValueError("url must be an address of http or https")
    if len(token) not in TOKEN_LENGTHS or not token.isalnum():
        raise ValueError("token must be 3 to 32 letters and digits")
    if mode not in ENCRYPTION_MODES:
        raise ValueError("mode must be one of " + ", ".join(ENCRYPTION_MODES))
    if mode != "plain":
        decode_key(aes_key)
    echo = str(secrets.randbelow(10**19))
    status, body = await _request(
        "GET", url, {**_sign_query(state, token), "echostr": echo}, b""
    )
    if (status, body.strip()) != (200, echo.encode()):
        raise ValueError(f"the address did not answer with echostr (status {status})")
    registration = {"url": url, "token": token, "mode": mode, "aes_key": aes_key}
    state.put_row("wechat_callbacks", account, registration)
    return {"ok": True}


def schedule_event(state: SimulatorState, post: SimulatedPost) -> None:
    if state.get_row("wechat_callbacks", post.account) is None:
        return
    endpoint, event = f"/callback/{get_event_name(post)}", make_event(post, state)
    request = ApiRequest(
        "wechat", endpoint, "POST", {}, {}, to_xml(event).encode(), account=post.account
    )
    request.faults = state.fault_rules.collect_faults("wechat", post.account, endpoint)
    state.start_task(_deliver(state, post, event, request))


async def _deliver(
    state: SimulatorState,
    post: SimulatedPost,
    event: Mapping[str, Any],
    request: ApiRequest,
) -> None:
    await state.files.wait_synced()
    if delay := request.get_fault("delay"):
        await asyncio.sleep(float(delay.get("seconds", 1)))
    if request.get_fault("drop_before"):
        state.record_event("callback", post, request)
        return
    for _ in range(2 if request.get_fault("duplicate") else 1):
        for _ in range(MAX_ATTEMPTS):
            registration = state.get_row("wechat_callbacks", post.account)
            if registration is None:
                return
            query, body = _encrypt(
                state, event, request.body, post.account, registration
            )
            status, response = await _request("POST", registration["url"], query, body)
            state.record_event("callback", post, request, status or None)
            if status == 200 and response.strip() in (b"", b"success"):
                break


def _encrypt(
    state: SimulatorState,
    event: Mapping[str, Any],
    body: bytes,
    account: str,
    registration: Mapping[str, str],
) -> tuple[dict[str, str], bytes]:
    """Return the query and the body in the account's mode."""
    query = _sign_query(state, registration["token"]) | {
        "openid": str(event["FromUserName"])
    }
    if registration["mode"] == "plain":
        return query, body
    encrypted = encrypt(body.decode(), registration["aes_key"], account)
    signature = compute_signature(
        registration["token"], query["timestamp"], query["nonce"], encrypted
    )
    shown = (
        event
        if registration["mode"] == "compatible"
        else {"ToUserName": event["ToUserName"]}
    )
    query |= {"encrypt_type": "aes", "msg_signature": signature}
    return query, to_xml({**shown, "Encrypt": encrypted}).encode()


def _sign_query(state: SimulatorState, token: str) -> dict[str, str]:
    timestamp, nonce = str(int(state.now())), str(secrets.randbelow(10**10))
    return {
        "signature": compute_signature(token, timestamp, nonce),
        "timestamp": timestamp,
        "nonce": nonce,
    }


async def _request(
    method: str, url: str, query: Mapping[str, str], body: bytes
) -> tuple[int, bytes]:
    """Return status and body of the response; status 0 if none came in time."""
    url = f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"
    try:
        async with asyncio.timeout(RESPONSE_TIMEOUT_SECONDS):
            return await _send_http(method, url, body)
    except (
        OSError,
        TimeoutError,
        ValueError,
        asyncio.IncompleteReadError,
        asyncio.LimitOverrunError,
    ):
        return 0, b""


async def _send_http(method: str, url: str, body: bytes) -> tuple[int, bytes]:
    """Send one request over a connection of its own; redirects are not followed."""
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    context = ssl.create_default_context() if is_tls else None
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if is_tls else 80), ssl=context
    )
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = (
            f"{method} {target} HTTP/1.0\r\n"
            f"Host: {parts.netloc.rpartition('@')[2]}\r\n"
            f"Content-Type: text/xml\r\n"
        )
        writer.write(
            f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        first, *lines = (
            (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        )
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        length = min(
            int(headers.get("content-length", MAX_RESPONSE_BYTES)), MAX_RESPONSE_BYTES
        )
        data = (
            await reader.readexactly(length)
            if "content-length" in headers
            else await reader.read(length)
        )
        return int(first.split(" ")[1]), data
    finally:
        writer.close()


def compute_signature(*parts: str) -> str:
    """Return the SHA-1 of the sorted parts, in hexadecimal."""
    return hashlib.sha1(
        "".join(sorted(parts)).encode(), usedforsecurity=False
    ).hexdigest()


def decode_key(encoding_aes_key: str) -> bytes:
    """Decode the 32 bytes of a 43-character key; raises ValueError if it is invalid."""
    try:
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
    except ValueError:
        key = b""
    if len(key) != BLOCK_BYTES:
        raise ValueError("aes_key must be 43 characters of base64")
    return key


def encrypt(
    text: str, encoding_aes_key: str, app_id: str, salt: bytes | None = None
) -> str:
    """Encrypt a text; `salt` replaces the sixteen random bytes."""
    key, data = decode_key(encoding_aes_key), text.encode()
    plain = (
        (salt or secrets.token_hex(8).encode())
        + len(data).to_bytes(4, "big")
        + data
        + app_id.encode()
    )
    padding = BLOCK_BYTES - len(plain) % BLOCK_BYTES
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    encrypted = (
        encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()
    )
    return base64.b64encode(encrypted).decode()


def get_event_name(post: SimulatedPost) -> str:
    return MASS_SEND_EVENT if "mass" in post.extra else PUBLISH_EVENT


def make_event(post: SimulatedPost, state: SimulatorState) -> dict[str, Any]:
    """Return the event at the end of a post's job.

    Numbers stay bare, texts become CDATA, lists repeat their name.
    """
    if "mass" in post.extra:
        fields = _make_mass_send_fields(post)
    else:
        job = format_job(post)
        info = {
            "publish_id": int(job["publish_id"]),
            "publish_status": job["publish_status"],
        }
        info |= {
            name: job[name]
            for name in ("article_id", "article_detail", "fail_idx")
            if job.get(name)
        }
        fields = {"PublishEventInfo": info}
    head = {
        "ToUserName": make_original_id(post.account),
        "FromUserName": SENDER_NAME,
        "CreateTime": int(state.now()),
    }
    return {**head, "MsgType": "event", "Event": get_event_name(post), **fields}


def _make_mass_send_fields(post: SimulatedPost) -> dict[str, Any]:
    mass = post.extra["mass"]
    indexes = (
        range(1, len(post.extra["articles"]) + 1)
        if mass["kind"] == "mpnews"
        else range(0)
    )
    sent = mass["sent"] if post.state == "live" else 0
    checked = [
        {
            "ArticleIdx": index,
            "UserDeclareState": 0,
            "AuditState": 2,
            "OriginalArticleUrl": "",
            "OriginalArticleType": 0,
            "CanReprint": 0,
            "NeedReplaceContent": 0,
            "NeedShowReprintSource": 0,
        }
        for index in indexes
    ]
    urls = [
        {
            "ArticleIdx": index,
            "ArticleUrl": build_article_url(
                post.account, post.extra["publish_id"], index
            ),
        }
        for index in indexes
        if post.state == "live"
    ]
    if post.state == "live":
        status = "send success"
    else:
        code = post.review.get("status")
        status = f"err({code})" if code else "send fail"
    return {
        "MsgID": mass["msg_id"],
        "Status": status,
        "TotalCount": mass["total"],
        "FilterCount": mass["sent"],
        "SentCount": sent,
        "ErrorCount": mass["sent"] - sent,
        "CopyrightCheckResult": {
            "Count": len(checked),
            "ResultList": {"item": checked},
            "CheckState": NOT_A_REPRINT,
        },
        "ArticleUrlResult": {"Count": len(urls), "ResultList": {"item": urls}},
    }


def to_xml(event: Mapping[str, Any]) -> str:
    return f"<xml>{_format_content(event)}</xml>"


def _format_content(event: Mapping[str, Any]) -> str:
    return "".join(_format_element(name, value) for name, value in event.items())


def _format_element(name: str, value: object) -> str:
    if isinstance(value, Mapping):
        return f"<{name}>{_format_content(value)}</{name}>"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "".join(_format_element(name, each) for each in value)
    return f"<{name}>{value if isinstance(value, int) else f'<![CDATA[{value}]]>'}</{name}>"
