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

from publisher.simulator.call import Call
from publisher.simulator.world import Post, World

from .envelope import key_of, seal, signature
from .events import as_xml, event_of, name_of

ATTEMPTS = 3
LONGEST_ANSWER = 65_536
MODES = ("plain", "compatible", "aes")
TOKEN = range(3, 33)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event on its way: what it says, and the parts of its address."""

    post: Post
    event: Mapping[str, Any]
    call: Call


class Callbacks:
    def __init__(self, world: World) -> None:
        self.world = world
        self._tasks: set[asyncio.Task[None]] = set()
        world.ended_reviews.append(self._tell)

    async def listen(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Register `url`, `token`, `aes_key` and `mode` of an account after the handshake; without a url forget it."""
        account, url = str(wanted.get("account") or ""), str(wanted.get("url") or "")
        if not account:
            raise ValueError("account is needed")
        if not url:
            self.world.put("wechat_callbacks", account, None)
            return {"ok": True}
        known = {"url": url, "token": str(wanted.get("token") or ""), "mode": str(wanted.get("mode") or "plain")}
        known["aes_key"] = str(wanted.get("aes_key") or "")
        _look_through(known)
        await self._shake_hands(known)
        self.world.put("wechat_callbacks", account, known)
        return {"ok": True}

    async def _shake_hands(self, known: Mapping[str, str]) -> None:
        echo = str(secrets.randbelow(10**19))
        query = {**_signed(known["token"], int(self.world.now())), "echostr": echo}
        status, body = await self._exchange("GET", _with(known["url"], query), b"")
        if (status, body.strip()) != (200, echo.encode()):
            raise ValueError(f"the address did not answer with echostr (status {status})")

    def _tell(self, post: Post) -> None:
        if post.platform != "wechat" or self.world.get("wechat_callbacks", post.account) is None:
            return
        endpoint, event = f"/callback/{name_of(post)}", event_of(post, self.world)
        call = Call("wechat", endpoint, "POST", {}, {}, as_xml(event).encode(), account=post.account)
        call.faults = self.world.rules.firing("wechat", post.account, endpoint)
        task = asyncio.get_running_loop().create_task(self._deliver(Message(post=post, event=event, call=call)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, message: Message) -> None:
        call = message.call
        await self.world.disk.synced()
        if delay := call.fault("delay"):
            await asyncio.sleep(float(delay.get("seconds", 1)))
        if call.fault("drop_before"):
            self.world.note("callback", message.post, call)
            return
        for _ in range(2 if call.fault("duplicate") else 1):
            await self._until_heard(message)

    async def _until_heard(self, message: Message) -> None:
        for _ in range(ATTEMPTS):
            known = self.world.get("wechat_callbacks", message.post.account)
            if known is None:
                return
            query, body = self._wrapped(message, known)
            status, answer = await self._exchange("POST", _with(known["url"], query), body)
            self.world.note("callback", message.post, message.call, status or None)
            if status == 200 and answer.strip() in (b"", b"success"):
                return

    def _wrapped(self, message: Message, known: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
        """The query and the body, as the account's mode wants them."""
        query = _signed(known["token"], int(self.world.now())) | {"openid": str(message.event["FromUserName"])}
        if known["mode"] == "plain":
            return query, message.call.body
        sealed = seal(message.call.body.decode(), known["aes_key"], message.post.account)
        signed = signature(known["token"], query["timestamp"], query["nonce"], sealed)
        shown = message.event if known["mode"] == "compatible" else {"ToUserName": message.event["ToUserName"]}
        query |= {"encrypt_type": "aes", "msg_signature": signed}
        return query, as_xml({**shown, "Encrypt": sealed}).encode()

    async def _exchange(self, method: str, url: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; no status when there was none in time."""
        try:
            async with asyncio.timeout(self.world.settings.wechat_callback_seconds):
                return await _ask(method, url, body)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return 0, b""


def _look_through(known: Mapping[str, str]) -> None:
    if urlsplit(known["url"]).scheme not in ("http", "https") or not urlsplit(known["url"]).hostname:
        raise ValueError("url must be an address of http or https")
    if len(known["token"]) not in TOKEN or not known["token"].isalnum():
        raise ValueError("token must be 3 to 32 letters and digits")
    if known["mode"] not in MODES:
        raise ValueError("mode must be one of " + ", ".join(MODES))
    if known["mode"] != "plain":
        key_of(known["aes_key"])


def _signed(token: str, moment: int) -> dict[str, str]:
    timestamp, nonce = str(moment), str(secrets.randbelow(10**10))
    return {"signature": signature(token, timestamp, nonce), "timestamp": timestamp, "nonce": nonce}


def _with(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"


async def _ask(method: str, url: str, body: bytes) -> tuple[int, bytes]:
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
        return await _answer(reader)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = min(int(headers.get("content-length", LONGEST_ANSWER)), LONGEST_ANSWER)
    body = await reader.readexactly(length) if "content-length" in headers else await reader.read(length)
    return int(first.split(" ")[1]), body
