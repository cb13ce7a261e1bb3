"""Telling an address of events (developers.weixin.qq.com, Access_Overview and Message_encryption_and_decryption).

An address first proves that it knows the token, then is told of each job's end: within five seconds it answers
`success` or nothing, or it is told again, three times in all. Rules for the endpoint `/callback/EVENT` spoil it:
`drop_before` loses the event, `duplicate` tells it twice, `delay` tells it late.
"""

import asyncio
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from publisher.simulator.request import ApiRequest
from publisher.simulator.state import SimulatedPost, SimulatorState

from .encryption import compute_signature, decode_key, encrypt
from .events import get_event_name, make_event, to_xml

MAX_ATTEMPTS = 3
MAX_RESPONSE_BYTES = 65_536
ENCRYPTION_MODES = ("plain", "compatible", "aes")
TOKEN_LENGTHS = range(3, 33)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackMessage:
    """One event on its way: what it says, and the parts of its address."""

    post: SimulatedPost
    event: Mapping[str, Any]
    request: ApiRequest


class CallbackSender:
    def __init__(self, state: SimulatorState) -> None:
        self.state = state
        self._tasks: set[asyncio.Task[None]] = set()
        state.review_listeners.append(self._schedule_event)

    async def register(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Register `url`, `token`, `aes_key` and `mode` of an account after the handshake; without a url forget it."""
        account, url = str(wanted.get("account") or ""), str(wanted.get("url") or "")
        if not account:
            raise ValueError("account is needed")
        if not url:
            self.state.put_row("wechat_callbacks", account, None)
            return {"ok": True}
        registration = {"url": url, "token": str(wanted.get("token") or ""), "mode": str(wanted.get("mode") or "plain")}
        registration["aes_key"] = str(wanted.get("aes_key") or "")
        _validate_registration(registration)
        await self._verify_endpoint(registration)
        self.state.put_row("wechat_callbacks", account, registration)
        return {"ok": True}

    async def _verify_endpoint(self, registration: Mapping[str, str]) -> None:
        echo = str(secrets.randbelow(10**19))
        query = {**_make_signed_query(registration["token"], int(self.state.now())), "echostr": echo}
        status, body = await self._request("GET", _add_query(registration["url"], query), b"")
        if (status, body.strip()) != (200, echo.encode()):
            raise ValueError(f"the address did not answer with echostr (status {status})")

    def _schedule_event(self, post: SimulatedPost) -> None:
        if post.platform != "wechat" or self.state.get_row("wechat_callbacks", post.account) is None:
            return
        endpoint, event = f"/callback/{get_event_name(post)}", make_event(post, self.state)
        request = ApiRequest("wechat", endpoint, "POST", {}, {}, to_xml(event).encode(), account=post.account)
        request.faults = self.state.fault_rules.collect_faults("wechat", post.account, endpoint)
        task = asyncio.get_running_loop().create_task(
            self._deliver(CallbackMessage(post=post, event=event, request=request))
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, message: CallbackMessage) -> None:
        request = message.request
        await self.state.files.wait_synced()
        if delay := request.get_fault("delay"):
            await asyncio.sleep(float(delay.get("seconds", 1)))
        if request.get_fault("drop_before"):
            self.state.record_event("callback", message.post, request)
            return
        for _ in range(2 if request.get_fault("duplicate") else 1):
            await self._send_until_accepted(message)

    async def _send_until_accepted(self, message: CallbackMessage) -> None:
        for _ in range(MAX_ATTEMPTS):
            registration = self.state.get_row("wechat_callbacks", message.post.account)
            if registration is None:
                return
            query, body = self._wrap(message, registration)
            status, response = await self._request("POST", _add_query(registration["url"], query), body)
            self.state.record_event("callback", message.post, message.request, status or None)
            if status == 200 and response.strip() in (b"", b"success"):
                return

    def _wrap(self, message: CallbackMessage, registration: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
        """The query and the body, as the account's mode wants them."""
        query = _make_signed_query(registration["token"], int(self.state.now())) | {
            "openid": str(message.event["FromUserName"])
        }
        if registration["mode"] == "plain":
            return query, message.request.body
        sealed = encrypt(message.request.body.decode(), registration["aes_key"], message.post.account)
        signed = compute_signature(registration["token"], query["timestamp"], query["nonce"], sealed)
        shown = message.event if registration["mode"] == "compatible" else {"ToUserName": message.event["ToUserName"]}
        query |= {"encrypt_type": "aes", "msg_signature": signed}
        return query, to_xml({**shown, "Encrypt": sealed}).encode()

    async def _request(self, method: str, url: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; no status when there was none in time."""
        try:
            async with asyncio.timeout(self.state.behaviour.wechat_callback_seconds):
                return await _send_http(method, url, body)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return 0, b""


def _validate_registration(registration: Mapping[str, str]) -> None:
    if urlsplit(registration["url"]).scheme not in ("http", "https") or not urlsplit(registration["url"]).hostname:
        raise ValueError("url must be an address of http or https")
    if len(registration["token"]) not in TOKEN_LENGTHS or not registration["token"].isalnum():
        raise ValueError("token must be 3 to 32 letters and digits")
    if registration["mode"] not in ENCRYPTION_MODES:
        raise ValueError("mode must be one of " + ", ".join(ENCRYPTION_MODES))
    if registration["mode"] != "plain":
        decode_key(registration["aes_key"])


def _make_signed_query(token: str, moment: int) -> dict[str, str]:
    timestamp, nonce = str(moment), str(secrets.randbelow(10**10))
    return {"signature": compute_signature(token, timestamp, nonce), "timestamp": timestamp, "nonce": nonce}


def _add_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"


async def _send_http(method: str, url: str, body: bytes) -> tuple[int, bytes]:
    """One request over a connection of its own; no redirect is followed."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    context = ssl.create_default_context() if secure else None
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = f"{method} {target} HTTP/1.0\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nContent-Type: text/xml\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        return await _read_response(reader)
    finally:
        writer.close()


async def _read_response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = min(int(headers.get("content-length", MAX_RESPONSE_BYTES)), MAX_RESPONSE_BYTES)
    body = await reader.readexactly(length) if "content-length" in headers else await reader.read(length)
    return int(first.split(" ")[1]), body
