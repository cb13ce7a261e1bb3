"""Sending events to a URL (developers.weixin.qq.com, Access_Overview and Message_encryption_and_decryption).

A URL first proves that it knows the token, then receives an event at each job's end. It answers `success` or nothing
within five seconds, or the event is sent again, three times in all. Fault rules apply to the endpoint
`/callback/EVENT`: `drop_before` loses the event, `duplicate` sends it twice, `delay` sends it late.
"""

import asyncio
import secrets
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from publisher.simulator.request import ApiRequest
from publisher.simulator.state import SimulatedPost, SimulatorState

from .encryption import compute_signature, decode_key, encrypt
from .events import get_event_name, make_event, to_xml

MAX_ATTEMPTS = 3
RESPONSE_TIMEOUT_SECONDS = 5.0
MAX_RESPONSE_BYTES = 65_536
ENCRYPTION_MODES = ("plain", "compatible", "aes")
TOKEN_LENGTHS = range(3, 33)


class CallbackSender:
    def __init__(self, state: SimulatorState) -> None:
        self.state = state
        self._tasks: set[asyncio.Task[None]] = set()
        state.review_listeners.append(self.schedule_event)

    async def register(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Register an account's `url`, `token`, `aes_key` and `mode` after the handshake, or remove them without a url.

        Raises ValueError for an invalid registration and for a failed handshake.
        """
        account, url, token = (str(fields.get(name) or "") for name in ("account", "url", "token"))
        mode, aes_key = str(fields.get("mode") or "plain"), str(fields.get("aes_key") or "")
        if not account:
            raise ValueError("account is needed")
        if not url:
            self.state.put_row("wechat_callbacks", account, None)
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
        status, body = await self._request("GET", url, {**self._sign_query(token), "echostr": echo}, b"")
        if (status, body.strip()) != (200, echo.encode()):
            raise ValueError(f"the address did not answer with echostr (status {status})")
        registration = {"url": url, "token": token, "mode": mode, "aes_key": aes_key}
        self.state.put_row("wechat_callbacks", account, registration)
        return {"ok": True}

    def schedule_event(self, post: SimulatedPost) -> None:
        if post.platform != "wechat" or self.state.get_row("wechat_callbacks", post.account) is None:
            return
        endpoint, event = f"/callback/{get_event_name(post)}", make_event(post, self.state)
        request = ApiRequest("wechat", endpoint, "POST", {}, {}, to_xml(event).encode(), account=post.account)
        request.faults = self.state.fault_rules.collect_faults("wechat", post.account, endpoint)
        task = asyncio.get_running_loop().create_task(self._deliver(post, event, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, post: SimulatedPost, event: Mapping[str, Any], request: ApiRequest) -> None:
        await self.state.files.wait_synced()
        if delay := request.get_fault("delay"):
            await asyncio.sleep(float(delay.get("seconds", 1)))
        if request.get_fault("drop_before"):
            self.state.record_event("callback", post, request)
            return
        for _ in range(2 if request.get_fault("duplicate") else 1):
            for _ in range(MAX_ATTEMPTS):
                registration = self.state.get_row("wechat_callbacks", post.account)
                if registration is None:
                    return
                query, body = self._encrypt(event, request.body, post.account, registration)
                status, response = await self._request("POST", registration["url"], query, body)
                self.state.record_event("callback", post, request, status or None)
                if status == 200 and response.strip() in (b"", b"success"):
                    break

    def _encrypt(
        self, event: Mapping[str, Any], body: bytes, account: str, registration: Mapping[str, str]
    ) -> tuple[dict[str, str], bytes]:
        """Return the query and the body in the account's mode."""
        query = self._sign_query(registration["token"]) | {"openid": str(event["FromUserName"])}
        if registration["mode"] == "plain":
            return query, body
        encrypted = encrypt(body.decode(), registration["aes_key"], account)
        signature = compute_signature(registration["token"], query["timestamp"], query["nonce"], encrypted)
        shown = event if registration["mode"] == "compatible" else {"ToUserName": event["ToUserName"]}
        query |= {"encrypt_type": "aes", "msg_signature": signature}
        return query, to_xml({**shown, "Encrypt": encrypted}).encode()

    def _sign_query(self, token: str) -> dict[str, str]:
        timestamp, nonce = str(int(self.state.now())), str(secrets.randbelow(10**10))
        return {"signature": compute_signature(token, timestamp, nonce), "timestamp": timestamp, "nonce": nonce}

    async def _request(self, method: str, url: str, query: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Return status and body of the response; status 0 if none came in time."""
        url = f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"
        try:
            async with asyncio.timeout(RESPONSE_TIMEOUT_SECONDS):
                return await _send_http(method, url, body)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return 0, b""


async def _send_http(method: str, url: str, body: bytes) -> tuple[int, bytes]:
    """Send one request over a connection of its own; redirects are not followed."""
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    context = ssl.create_default_context() if is_tls else None
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or (443 if is_tls else 80), ssl=context)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = f"{method} {target} HTTP/1.0\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nContent-Type: text/xml\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = min(int(headers.get("content-length", MAX_RESPONSE_BYTES)), MAX_RESPONSE_BYTES)
        data = await reader.readexactly(length) if "content-length" in headers else await reader.read(length)
        return int(first.split(" ")[1]), data
    finally:
        writer.close()
