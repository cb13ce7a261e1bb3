"""A receiver of webhook posts on a raw socket, with all its faults."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from publisher.testing.conformance import FaultTarget, PlatformPost

ACCOUNT, KEY = "police-site", "a-key-that-nobody-else-knows"
REFUSALS = {"captcha": (403, "person_needed"), "expire_token": (401, "bad_signature")}
UNKNOWN_KINDS = {("list", "reorder"), ("list", "rewrite")}
"""Faults of lists that a read by name does not have."""
STALE = timedelta(minutes=5)


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def spot(self) -> FaultTarget | None:
        match self.method, self.path.split("/")[1:]:
            case "POST", ["posts"]:
                return FaultTarget.CREATE
            case "GET", ["posts", _]:
                return FaultTarget.LIST
            case "DELETE", ["posts", _]:
                return FaultTarget.RETRACT
            case "GET", ["health"]:
                return FaultTarget.PROBE
        return None


@dataclass
class Receiver:
    """Keeps posts by id, and answers as docs/adapters.md asks of a receiver. It is its own test server for the kit."""

    base_url: str = ""
    posts_by_id: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[tuple[FaultTarget, dict[str, Any]]] = field(default_factory=list)
    later: list[tuple[datetime, Asked]] = field(default_factory=list)
    shift: timedelta = timedelta(0)
    calls: list[Asked] = field(default_factory=list)

    # --- the kit's test server ---

    async def posts(self) -> list[PlatformPost]:
        self._tick()
        return [
            PlatformPost(
                remote_id=post["id"], is_published=post["state"] == "live", text=f"{post['title']}\n{post['text']}"
            )
            for post in self.posts_by_id.values()
        ]

    async def inject_fault(self, spot: FaultTarget, kind: str, **facts: object) -> bool:
        if (spot, kind) in UNKNOWN_KINDS:
            return False
        self.faults.append((spot, {"kind": kind, **facts}))
        return True

    async def clear_faults(self) -> None:
        self.faults.clear()

    async def remove(self, remote_id: str) -> None:
        self.posts_by_id[remote_id]["state"] = "removed"

    async def post_manually(self, title: str, text: str) -> str:
        return self._add(f"by-hand-{len(self.posts_by_id)}", title, text, {})["id"]

    async def advance_time(self, duration: timedelta) -> None:
        self.shift += duration
        self._tick()

    # --- the platform ---

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift

    def serve(self, asked: Asked, fault: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        if not self._is_signed(asked):
            return 401, {"error": "bad_signature"}
        match asked.method, asked.path.split("/")[1:]:
            case "POST", ["posts"]:
                return self._create(asked, fault)
            case "GET", ["posts"]:
                newest = sorted(self.posts_by_id.values(), key=lambda post: post["at"], reverse=True)
                return 200, {"account": ACCOUNT, "posts": newest}
            case "GET", ["health"]:
                return 200, {"account": ACCOUNT}
            case "GET", ["reach"]:
                live = (post["id"] for post in self.posts_by_id.values() if post["state"] == "live")
                return 200, {"account": ACCOUNT, "reach": {name: {"reads": 7, "likes": 1} for name in live}}
            case method, ["posts", name]:
                return self._named(method, unquote(name))
        return 404, {"error": "not_found"}

    def _is_signed(self, asked: Asked) -> bool:
        at = asked.headers.get("publisher-timestamp", "0")
        message = b"\n".join([at.encode(), asked.method.encode(), asked.path.encode(), asked.body])
        wanted = f"v1={hmac.new(KEY.encode(), message, hashlib.sha256).hexdigest()}"
        is_fresh = abs(self.now() - datetime.fromtimestamp(int(at), UTC)) < STALE
        return is_fresh and hmac.compare_digest(wanted, asked.headers.get("publisher-signature", ""))

    def _create(self, asked: Asked, fault: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        body, key = json.loads(asked.body), asked.headers["idempotency-key"]
        earlier = next((post for post in self.posts_by_id.values() if post["key"] == key), None)
        if earlier is not None:
            return 409, earlier
        return 201, self._add(key, body["title"], body["text"], fault)

    def _add(self, key: str, title: str, text: str, fault: Mapping[str, Any]) -> dict[str, Any]:
        number = str(1001 + len(self.posts_by_id))
        if fault.get("kind") == "rewrite":
            text = text[: len(text) // 2]
        post = {
            "id": number,
            "key": key,
            "account": ACCOUNT,
            "state": "pending" if fault.get("kind") == "review" else "live",
            "at": self.now().isoformat(),
            "url": f"https://site.example/{number}",
            "title": title,
            "text": text,
        }
        if fault.get("kind") == "review":
            verdict = {"pass": "live", "refuse": "refused"}[fault.get("verdict", "pass")]
            post["due"] = [(self.now() + timedelta(seconds=fault["seconds"])).isoformat(), verdict]
        self.posts_by_id[number] = post
        return post

    def _named(self, method: str, name: str) -> tuple[int, dict[str, Any]]:
        post = next((post for post in self.posts_by_id.values() if name in {post["id"], post["key"]}), None)
        if post is None:
            return 404, {"error": "no_such_post", "name": name}
        if method == "DELETE":
            post["state"] = "removed"
        return 200, post

    def _tick(self) -> None:
        due = [asked for at, asked in self.later if at <= self.now()]
        self.later = [(at, asked) for at, asked in self.later if at > self.now()]
        for asked in due:
            self._create(asked, {})
        for post in self.posts_by_id.values():
            at, verdict = post.get("due", (None, None))
            if at is not None and datetime.fromisoformat(at) <= self.now() and post["state"] == "pending":
                post["state"] = verdict

    # --- the connection ---

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await _read(reader)
            self._tick()
            self.calls.append(asked)
            spot = asked.spot
            fault = next((one for at, one in self.faults if at in {spot, FaultTarget.ANY}), {"kind": ""})
            await self._answer(asked, fault, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that speaks TLS, or has closed
        finally:
            writer.transport.abort() if not writer.is_closing() else None

    async def _answer(
        self, asked: Asked, fault: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        kind = fault["kind"]
        if kind == "act_late":
            self.later.append((self.now() + timedelta(seconds=fault["seconds"]), asked))
        if kind in {"act_late", "drop_before"}:
            return
        if kind == "delay" and fault.get("when") == "before":
            await reader.read()  # until the client gives up
        status, body, headers = self._spoiled(asked, fault)
        if kind == "delay":
            await reader.read()
        if kind in {"delay", "drop_after"}:
            return
        dated = {"Date": format_datetime(self.now(), usegmt=True), "Content-Length": len(body), **headers}
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in dated.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        if kind == "drip":
            for letter in body[:-1]:
                writer.write(bytes([letter]))
                await writer.drain()
                await asyncio.sleep(1 / fault["bytes_per_second"])
            return
        writer.write(body[: len(body) // 2] if kind == "truncate" else body)
        writer.close()

    def _spoiled(self, asked: Asked, fault: dict[str, Any]) -> tuple[int, bytes, Mapping[str, str]]:
        kind, acts = fault["kind"], fault.get("acts", False)
        if kind in {"html", "status", "api_error", "duplicate", *REFUSALS} and acts:
            self.serve(asked, {})
        match kind:
            case "html":
                return 200, b"<!DOCTYPE html><h1>The page cannot be shown</h1>", {}
            case "status":
                return fault["code"], b"", fault.get("headers", {})
            case "empty_list":
                return 404, b"", {}
            case "api_error":
                return 422, json.dumps({"error": f"e_{fault['code']}"}).encode(), {}
            case "duplicate" if not acts:
                return 409, json.dumps({"account": ACCOUNT}).encode(), {}
            case "captcha" | "expire_token":
                status, code = REFUSALS[kind]
                return status, json.dumps({"error": code}).encode(), {}
        status, answer = self.serve(asked, fault)
        if kind == "no_id":
            answer = {name: value for name, value in answer.items() if name != "id"}
        text = json.dumps(answer)
        if kind == "wrong_account":
            text = text.replace(ACCOUNT, f"{ACCOUNT}-2")
        return status, (text[:-1] + ',"' if kind == "bad_json" else text).encode(), {}


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _version = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, urlsplit(target).path, headers, body)


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, dict[str, str]]]:
    """Serve an empty receiver."""
    receiver = Receiver()
    running: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            running.add(task)
        await receiver.handle(reader, writer)
        running.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    receiver.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield receiver, {"key": KEY}
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
