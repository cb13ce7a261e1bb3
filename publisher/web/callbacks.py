"""What platforms tell us: each account has a path, and what arrives there only lets us read sooner."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from publisher.contract import Callback, Hint
from publisher.domain.problem import Problem
from publisher.telemetry import log
from publisher.wiring.listening import Ear

PATH = "/callback/{platform}/{account}"
LARGEST = 65_536
"""In bytes; an event has one or two thousand."""
SLOWEST = 3.0
"""Seconds in which a body must have come: the platform itself wants its answer within five."""
NONCES_KEPT = 10_000
"""So many messages are known again. An older one is stale by its own time."""
HEARD = "success"
"""What WeChat wants to hear."""

FindEar = Callable[[str, str], Ear | None]
Hasten = Callable[[Ear, Hint], Awaitable[int]]
"""Lets what a hint means be read now; gives how many deliveries that were."""


@dataclass(slots=True)
class Seen:
    """The messages that were acted upon, the newest so many of them."""

    _nonces: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)

    def has(self, account: str, nonce: str) -> bool:
        return (account, nonce) in self._nonces

    def add(self, account: str, nonce: str) -> None:
        self._nonces[account, nonce] = None
        while len(self._nonces) > NONCES_KEPT:
            self._nonces.popitem(last=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Takes messages. What cannot prove where it comes from changes nothing, nor does what was here before."""

    find_ear: FindEar
    hasten: Hasten
    now: Callable[[], datetime]
    seen: Seen = field(default_factory=Seen)

    async def answer(self, request: Request) -> Response:
        platform, account = request.path_params["platform"], request.path_params["account"]
        ear = self.find_ear(platform, account)
        if ear is None:
            return PlainTextResponse("", 404)
        if request.method == "GET":
            return self._greet(ear, request)
        body = await _body(request)
        return body if isinstance(body, Response) else await self._hear(ear, request, body)

    def _greet(self, ear: Ear, request: Request) -> Response:
        echo = ear.greet(Callback(query=dict(request.query_params)), self.now())
        return _refusal(echo) if isinstance(echo, Problem) else PlainTextResponse(echo)

    async def _hear(self, ear: Ear, request: Request, body: bytes) -> Response:
        hint = ear.read(Callback(query=dict(request.query_params), body=body), self.now())
        if isinstance(hint, Problem):
            return _refusal(hint)
        if hint is None:
            return PlainTextResponse(HEARD)
        account = ear.account.id
        if self.seen.has(account, hint.nonce):
            log.info("callback_replayed", account=account)
            return PlainTextResponse(HEARD)  # a refusal would count as a failure, and bring it once more
        hastened = await self.hasten(ear, hint)
        self.seen.add(account, hint.nonce)
        log.info("callback_heard", account=account, number=hint.number, hastened=hastened)
        return PlainTextResponse(HEARD)


def create_app(listener: Listener) -> Starlette:
    """Give the application; it has no other page than this."""
    return Starlette(routes=[Route(PATH, listener.answer, methods=["GET", "POST"])])


async def _body(request: Request) -> bytes | Response:
    """Read a body that is small and comes soon."""
    read = bytearray()
    try:
        async with asyncio.timeout(SLOWEST):
            async for part in request.stream():
                read += part
                if len(read) > LARGEST:
                    return PlainTextResponse("", 413)
    except TimeoutError:
        return PlainTextResponse("", 408)
    except ClientDisconnect:
        return PlainTextResponse("", 400)
    return bytes(read)


def _refusal(problem: Problem) -> Response:
    log.warning("callback_refused", code=problem.code, **problem.facts)
    return PlainTextResponse("", 403)
