"""How calls reach a platform; the one module that imports the HTTP library.

What lies under it is private: the rest of publisher sees `publisher.contract.Http`. Requests go straight to a
transport and never through httpx's client, which would keep cookies, follow redirects and log whole addresses.
"""

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from math import inf
from urllib.parse import urljoin

import httpcore
import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt, stop_after_delay
from tenacity.wait import wait_random_exponential

from adapters._resolver import LookupTimeoutError, resolve
from publisher.contract import Call, Reply
from publisher.domain.outcome import NotSent, Unknown
from publisher.domain.rendition import Parcel
from publisher.domain.retry_after import LONGEST_REST

MOST_TRIES = 3
CREATE_CAP = 1024 * 1024
ASK_CAP = 8 * 1024 * 1024
"""The most bytes of a reply's body that are read."""

_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "connection": "close", "user-agent": "publisher"}
_POINTLESS = frozenset({"host_not_allowed", "body_too_large", "resting", "dns_timeout"})
"""Reasons that a repeat cannot change."""
_NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_RESET_ON_CLOSE, _CLOSE_NORMALLY = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
"""Values of SO_LINGER: drop what is unsent and reset the connection, or go on sending it."""

Trouble = NotSent | Unknown


class _NotBegunError(Exception):
    """The creating call may not begin, right before its first byte; the text is the reason of the outcome."""


class _BodyTooLargeError(Exception):
    """The reply's body is larger than the cap."""


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


_TROUBLE = (
    _NotBegunError,
    _BodyTooLargeError,
    httpx.TransportError,
    httpcore.ProtocolError,
    OSError,
)


class _Stream(httpcore.AsyncNetworkStream):
    """One connection's bytes. Errors stay asyncio's own: they say best what happened.

    However it ends before `finish`, the kernel drops what is unsent and resets the connection, even when this process
    is killed: what a call that was given up has not delivered by then never arrives.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._linger(_RESET_ON_CLOSE)

    def finish(self) -> None:
        """Let the connection close normally: the whole reply has been read. The server may have closed it by now."""
        with suppress(OSError):
            self._linger(_CLOSE_NORMALLY)

    def _linger(self, value: bytes) -> None:
        connection = self._writer.get_extra_info("socket")
        if connection is not None:  # a TLS transport that is closed has none
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, value)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._writer.write(buffer)
        await self._writer.drain()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        self._writer.transport.abort()  # all was said and heard, or nothing more will be listened to
        await asyncio.sleep(0)  # only then is the socket closed


class _Network(httpcore.AsyncNetworkBackend):
    """Connects through asyncio alone: a burst of first bytes leaves twice as soon as through httpcore's own way."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: object = None,
    ) -> httpcore.AsyncNetworkStream:
        *others, last = await resolve(host)
        for address in others:
            with suppress(OSError):
                return _Stream(*await asyncio.open_connection(address, port))
        return _Stream(*await asyncio.open_connection(last, port))


class _Body(httpx.AsyncByteStream):
    """A reply's body; closing it closes the connection that it came by."""

    def __init__(self, reply: httpcore.Response, connection: httpcore.AsyncHTTPConnection) -> None:
        self._reply = reply
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._reply.aiter_stream():
            yield chunk
        stream = self._reply.extensions.get("network_stream")
        if isinstance(stream, _Stream):
            stream.finish()

    async def aclose(self) -> None:
        await self._reply.aclose()
        await self._connection.aclose()


class FreshConnections(httpx.AsyncBaseTransport):
    """A connection for each call, and no pool.

    A kept connection may be dead without our knowing, and would turn a harmless refusal into a doubt. Certificates are
    always verified, with one context for all logins (1.3 MB each otherwise).
    """

    def __init__(self, network: httpcore.AsyncNetworkBackend | None = None) -> None:
        self._network = network or _Network()
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)  # below that they log whole addresses and headers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        connection = httpcore.AsyncHTTPConnection(url.origin, ssl_context=_tls(), network_backend=self._network)
        reply = await connection.handle_async_request(
            httpcore.Request(
                request.method,
                url,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(reply.status, headers=reply.headers, stream=_Body(reply, connection))


def host_of(address: str) -> str:
    """Return the host that a call to this address reaches, spelt as `allow` is asked for it; empty if there is none."""
    try:
        return httpx.URL(address).host
    except httpx.InvalidURL:
        return ""


async def warm_up() -> None:
    """Make a call that goes nowhere: it loads what the first one would load while a post is waiting."""
    rehearsal = httpcore.AsyncMockBackend([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"])
    call = httpx.Request("POST", "http://localhost/", data={"status": "…"})
    reply = await FreshConnections(rehearsal).handle_async_request(call)
    await reply.aread()
    await reply.aclose()


@dataclass(slots=True)
class _Progress:
    """How far one request came, as the transport reports it.

    `may_begin` is awaited before the way to the host is opened and again right before the first byte, `begin` called
    last: both may raise _NotBegunError. `began` says that writing the request's head started: from there on nobody can
    prove that nothing left.
    """

    may_begin: Callable[[], Awaitable[None]]
    begin: Callable[[], None]
    failpoint: Callable[[str], None]
    was_handed_over: bool = False
    is_traced: bool = False
    began: bool = False

    async def note(self, event: str, _info: object) -> None:
        """Take one event of httpcore's `trace` extension."""
        self.is_traced = True
        match event.partition(".")[2]:
            case "send_request_headers.started":
                self.failpoint("http.after_connect")
                await self.may_begin()
                self.begin()
                self.began = True
            case "send_request_headers.complete":
                self.failpoint("http.mid_body")
            case "send_request_body.complete":
                self.failpoint("http.after_body")

    def blame(self, error: Exception) -> Trouble:
        """Say what an error means: NotSent where the transport proves that no byte of the request left."""
        if isinstance(error, _NotBegunError):
            return NotSent(reason=str(error))
        if not self.was_handed_over:
            return NotSent(reason="timeout")
        is_proof = not self.began if self.is_traced else isinstance(error, _NEVER_CONNECTED)
        return NotSent(reason=_why_not_connected(error)) if is_proof else Unknown(reason=_why_lost(error))


def _why_not_connected(error: BaseException) -> str:
    causes = tuple(_causes(error))
    if any(isinstance(cause, LookupTimeoutError) for cause in causes):
        return "dns_timeout"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "dns_failed"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "tls_failed"
    return "connect_timeout" if isinstance(error, TimeoutError | httpx.TimeoutException) else "connect_failed"


def _why_lost(error: Exception) -> str:
    match error:
        case TimeoutError() | httpx.TimeoutException():
            return "timeout"
        case httpx.RemoteProtocolError() | httpcore.RemoteProtocolError():
            return "reply_cut"
        case _BodyTooLargeError():
            return "body_too_large"
        case _:
            return "reset"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _harmless() -> _Progress:
    """Return the progress of a call that creates nothing: it may begin at any time, and nobody records it."""
    return _Progress(may_begin=_yes, begin=_nothing, failpoint=_nothing)


def _nothing(_name: str = "") -> None:
    return


async def _yes() -> None:
    return


def _hear_nothing(_date: str, _began: float) -> None:
    return


def _always() -> bool:
    return True


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True, kw_only=True)
class LoginHttp:
    """The one way to a platform for one login: at most one call is in flight at a time.

    `deadline` bounds one whole call, the wait for its turn included. `allow` is asked with the host's name alone. Of a
    creating call, `may_go` and `is_clock_confirmed` are asked when its turn comes and again right before its first
    byte, however long the way there took; then `begin` writes down that it begins, and no byte leaves where that fails
    with OSError. `hear_date` is given the `Date` of each complete reply, and when its call began, by `monotonic`.
    `failpoint` marks the places where a creating call may die.
    After a read that was answered with 429 no call of the login begins, those in the queue included, before its
    Retry-After, or `usual_rest` where it names none, is over.
    """

    deadline: timedelta
    monotonic: Callable[[], float]
    failpoint: Callable[[str], None]
    allow: Callable[[str], bool]
    may_go: Callable[[Parcel], Awaitable[bool]] | None = None
    begin: Callable[[Parcel], None] | None = None
    is_clock_confirmed: Callable[[], bool] = _always
    hear_date: Callable[[str, float], None] = _hear_nothing
    now: Callable[[], datetime] = _now
    transport: httpx.AsyncBaseTransport = field(default_factory=FreshConnections, repr=False)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    usual_rest: timedelta = timedelta(seconds=30)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _rests_until: float = -inf
    _begun: int = 0
    _waiting: int = 0
    _replies: dict[str, tuple[int, Call, Reply]] = field(default_factory=dict, repr=False)
    """The newest reply from each address, and the number of its call, as long as others wait for their turn."""

    async def ask(self, call: Call) -> Reply | NotSent | Unknown:
        """Make a call that may be repeated: it is, up to three times, while it brings nothing or a server error."""
        if not call.is_repeatable:
            return await self._ask_once(call)
        tries = AsyncRetrying(
            retry=retry_if_result(_is_worth_repeating),
            stop=stop_after_attempt(MOST_TRIES) | stop_after_delay(self.deadline),
            wait=wait_random_exponential(multiplier=0.25, max=2),
            sleep=self.sleep,
            retry_error_callback=_last_answer,
        )
        return await tries(self._ask_once, call)

    async def ask_time(self, base: str) -> Reply | NotSent | Unknown:
        """Ask a host, once, for a page that any web server answers, if only by saying that it has none."""
        call = Call(method="GET", url=urljoin(base, "/robots.txt"))
        return await self._call(call, _harmless(), ASK_CAP, respects_rest=False)

    async def create(self, call: Call, parcel: Parcel) -> Reply | NotSent | Unknown:
        """Make the one call of an attempt, once, unless it may not begin any more right before the first byte."""

        async def may_begin() -> None:
            if self.may_go is not None and not await self.may_go(parcel):
                raise _NotBegunError("stopped")
            if self.monotonic() > parcel.start_by:
                raise _NotBegunError("lease_over")
            if not self.is_clock_confirmed():
                raise _NotBegunError("clock_doubted")

        def begin() -> None:
            try:
                if self.begin is not None:
                    self.begin(parcel)
            except OSError as error:
                raise _NotBegunError("not_recorded") from error

        progress = _Progress(may_begin=may_begin, begin=begin, failpoint=self.failpoint)
        answer = await self._call(call, progress, CREATE_CAP)
        if isinstance(answer, Reply):
            self.failpoint("http.after_reply")
        if isinstance(answer, Reply) and 300 <= answer.status < 400:
            return Unknown(reason="redirected")
        return answer

    async def _ask_once(self, call: Call) -> Reply | Trouble:
        answer = await self._call(call, _harmless(), ASK_CAP, may_share=call.is_repeatable)
        if isinstance(answer, Reply) and (limit := answer.limit("", now := self.now())):
            rest = min(limit.until - now, LONGEST_REST) if limit.until else self.usual_rest
            self._rests_until = max(self._rests_until, self.monotonic() + rest.total_seconds())
        return answer

    async def _call(
        self, call: Call, progress: _Progress, cap: int, *, may_share: bool = False, respects_rest: bool = True
    ) -> Reply | Trouble:
        """Make a call in its turn.

        One that `may_share` takes the reply to another that asked the same, if that began after this one was wanted:
        of an account with many doubts one list shows what has become of all of them.
        """
        request, begun = _request(call, progress), self._begun
        if not self.allow(request.url.host):
            return NotSent(reason="host_not_allowed")
        self._waiting += 1
        try:
            async with asyncio.timeout(self.deadline.total_seconds()), self._turn:
                number, asked, reply = self._replies.get(call.url, (0, None, None))
                if may_share and reply and number > begun and asked == call:
                    return reply
                if respects_rest and self.monotonic() < self._rests_until:
                    return NotSent(reason="resting")
                await progress.may_begin()
                progress.was_handed_over = True
                self._begun = number = self._begun + 1
                answer = await self._send(request, cap)
                if may_share and isinstance(answer, Reply):
                    self._replies[call.url] = number, call, answer
                return answer
        except _TROUBLE as error:
            return progress.blame(error)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._replies.clear()

    async def _send(self, request: httpx.Request, cap: int) -> Reply | Trouble:
        began = self.monotonic()
        async with _closing(await self.transport.handle_async_request(request)) as response:
            body = await _read(response, cap)
        if "date" in response.headers and "age" not in response.headers:  # a cache's reply has the date of another call
            self.hear_date(response.headers["date"], began)
        if response.headers.get("content-encoding", "identity") != "identity":
            return Unknown(reason="reply_encoded")
        return Reply(status=response.status_code, headers=dict(response.headers), body=body)


def _is_worth_repeating(answer: Reply | Trouble) -> bool:
    if isinstance(answer, Reply):
        return answer.status >= 500
    return answer.reason not in _POINTLESS


def _last_answer(state: RetryCallState) -> Reply | Trouble:
    if state.outcome is None:
        raise AssertionError("tenacity asks for the last answer only after a try")
    answer: Reply | Trouble = state.outcome.result()
    return answer


@asynccontextmanager
async def _closing(response: httpx.Response) -> AsyncIterator[httpx.Response]:
    try:
        yield response
    finally:
        await response.aclose()


def _request(call: Call, progress: _Progress) -> httpx.Request:
    cookies = {"cookie": "; ".join(f"{name}={value}" for name, value in call.cookies.items())} if call.cookies else {}
    uploads = [(part.name, (part.filename, part.data, part.media_type)) for part in call.uploads]
    return httpx.Request(
        call.method,
        call.url,
        params=dict(call.query) or None,
        headers={**_HEADERS, **cookies, **{name.lower(): value for name, value in call.headers.items()}},
        content=call.content,
        data=dict(call.form) or None,
        files=uploads or None,
        extensions={"trace": progress.note},
    )


async def _read(response: httpx.Response, cap: int) -> bytes:
    """Read a body whole. Raises _BodyTooLargeError as soon as it is over the cap."""
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise TypeError("an asynchronous transport gives an asynchronous stream")
    body = bytearray()
    async for chunk in response.stream:
        body += chunk
        if len(body) > cap:
            raise _BodyTooLargeError
    return bytes(body)
