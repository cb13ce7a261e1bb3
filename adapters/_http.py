"""How calls reach a platform; the one module that imports the HTTP library.

What lies under it is private: the rest of publisher sees `publisher.contract.Http`. Requests go straight to a
transport and never through httpx's client, which would keep cookies, follow redirects and log whole addresses.
"""

import asyncio
import logging
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from math import inf
from threading import Thread
from urllib.parse import urljoin

import httpcore
import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt, stop_after_delay
from tenacity.wait import wait_random_exponential

from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.policy import MAX_COOLDOWN
from publisher.domain.rendered import SendRequest
from publisher.domain.results import NotSent, Unknown

LOOKUP_TIMEOUT_SECONDS = 8.0
"""How long a call waits for a name: longer than the 5 s after which the system turns to its second name server."""
MAX_LOOKUPS_PER_HOST = 4
"""Threads that may hang on one name: a lookup cannot be stopped, and a new one may succeed where an old one hangs."""


class LookupTimeoutError(TimeoutError):
    """The name was not resolved in time."""


@dataclass(eq=False, slots=True)
class _Lookup:
    """One question to the system's resolver; the process's end does not wait for its thread."""

    host: str
    started_at: float = field(default_factory=time.monotonic)
    addresses: Future[Sequence[str]] = field(default_factory=Future)

    def start(self) -> None:
        self.addresses.set_running_or_notify_cancel()  # a caller who gives up leaves it to the others
        Thread(target=self._run, name=f"resolver {self.host}", daemon=True).start()

    def _run(self) -> None:
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 # it goes to those who wait
            self.addresses.set_exception(error)
        else:
            self.addresses.set_result(list(dict.fromkeys(str(address[0]) for *_, address in found)))


_pending_lookups: dict[str, list[_Lookup]] = {}
"""The lookups of each host that have not ended, oldest first, whichever login asked."""


async def resolve(host: str) -> Sequence[str]:
    """Return the addresses of a host, best first; one that is an address already is returned as it is.

    Raises LookupTimeoutError after LOOKUP_SECONDS, or OSError as the system gives it.
    """
    if _is_address(host):
        return [host]
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT_SECONDS):
            return await asyncio.wrap_future(_get_or_start_lookup(host).addresses)
    except TimeoutError:
        raise LookupTimeoutError(host) from None


def _get_or_start_lookup(host: str) -> _Lookup:
    """Return the newest lookup of a host; start one where there is none, or where it hangs and few others do."""
    lookups = [lookup for lookup in _pending_lookups.get(host, ()) if not lookup.addresses.done()]
    hangs = bool(lookups) and time.monotonic() - lookups[-1].started_at >= LOOKUP_TIMEOUT_SECONDS
    if not lookups or (hangs and len(lookups) < MAX_LOOKUPS_PER_HOST):
        lookup = _Lookup(host)
        lookup.start()
        lookups.append(lookup)
    _pending_lookups[host] = lookups
    return lookups[-1]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


MAX_ATTEMPTS = 3
MAX_CREATE_BODY_BYTES = 1024 * 1024
MAX_READ_BODY_BYTES = 8 * 1024 * 1024
"""The most bytes of a reply's body that are read."""

_DEFAULT_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "connection": "close", "user-agent": "publisher"}
_NOT_RETRYABLE_REASONS = frozenset({"host_not_allowed", "body_too_large", "in_cooldown", "dns_timeout"})
"""Reasons that a repeat cannot change."""
_CONNECT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_LINGER_RESET, _LINGER_DEFAULT = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
"""Values of SO_LINGER: drop what is unsent and reset the connection, or go on sending it."""

TransportFailure = NotSent | Unknown


class _StartRefusedError(Exception):
    """The creating call may not begin, right before its first byte; the text is the reason of the outcome."""


class _BodyTooLargeError(Exception):
    """The reply's body is larger than the cap."""


@cache
def _tls_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


_TRANSPORT_ERRORS = (
    _StartRefusedError,
    _BodyTooLargeError,
    httpx.TransportError,
    httpcore.ProtocolError,
    OSError,
)


class _NetworkStream(httpcore.AsyncNetworkStream):
    """One connection's bytes. Errors stay asyncio's own: they say best what happened.

    However it ends before `finish`, the kernel drops what is unsent and resets the connection, even when this process
    is killed: what a call that was given up has not delivered by then never arrives.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._set_linger(_LINGER_RESET)

    def finish(self) -> None:
        """Let the connection close normally: the whole reply has been read. The server may have closed it by now."""
        with suppress(OSError):
            self._set_linger(_LINGER_DEFAULT)

    def _set_linger(self, value: bytes) -> None:
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


class _NetworkBackend(httpcore.AsyncNetworkBackend):
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
                return _NetworkStream(*await asyncio.open_connection(address, port))
        return _NetworkStream(*await asyncio.open_connection(last, port))


class _ResponseBody(httpx.AsyncByteStream):
    """A reply's body; closing it closes the connection that it came by."""

    def __init__(self, reply: httpcore.Response, connection: httpcore.AsyncHTTPConnection) -> None:
        self._reply = reply
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._reply.aiter_stream():
            yield chunk
        stream = self._reply.extensions.get("network_stream")
        if isinstance(stream, _NetworkStream):
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
        self._network = network or _NetworkBackend()
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)  # below that they log whole addresses and headers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        connection = httpcore.AsyncHTTPConnection(url.origin, ssl_context=_tls_context(), network_backend=self._network)
        response = await connection.handle_async_request(
            httpcore.Request(
                request.method,
                url,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(response.status, headers=response.headers, stream=_ResponseBody(response, connection))


def get_host(address: str) -> str:
    """Return the host that a call to this address reaches, spelt as `allow` is asked for it; empty if there is none."""
    try:
        return httpx.URL(address).host
    except httpx.InvalidURL:
        return ""


async def preload() -> None:
    """Make a call that goes nowhere: it loads what the first one would load while a post is waiting."""
    rehearsal = httpcore.AsyncMockBackend([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"])
    request = httpx.Request("POST", "http://localhost/", data={"status": "…"})
    response = await FreshConnections(rehearsal).handle_async_request(request)
    await response.aread()
    await response.aclose()


@dataclass(slots=True)
class _RequestProgress:
    """How far one request came, as the transport reports it.

    `may_begin` is awaited before the way to the host is opened and again right before the first byte, `begin` called
    last: both may raise _NotBegunError. `began` says that writing the request's head started: from there on nobody can
    prove that nothing left.
    """

    check_start: Callable[[], Awaitable[None]]
    record_start: Callable[[], None]
    failpoint: Callable[[str], None]
    was_submitted: bool = False
    is_traced: bool = False
    has_started: bool = False

    async def on_trace_event(self, event: str, _info: object) -> None:
        """Take one event of httpcore's `trace` extension."""
        self.is_traced = True
        match event.partition(".")[2]:
            case "send_request_headers.started":
                self.failpoint("http.after_connect")
                await self.check_start()
                self.record_start()
                self.has_started = True
            case "send_request_headers.complete":
                self.failpoint("http.mid_body")
            case "send_request_body.complete":
                self.failpoint("http.after_body")

    def classify_error(self, error: Exception) -> TransportFailure:
        """Say what an error means: NotSent where the transport proves that no byte of the request left."""
        if isinstance(error, _StartRefusedError):
            return NotSent(reason=str(error))
        if not self.was_submitted:
            return NotSent(reason="timeout")
        is_proof = not self.has_started if self.is_traced else isinstance(error, _CONNECT_ERRORS)
        return (
            NotSent(reason=_connect_failure_reason(error)) if is_proof else Unknown(reason=_lost_response_reason(error))
        )


def _connect_failure_reason(error: BaseException) -> str:
    causes = tuple(_iter_causes(error))
    if any(isinstance(cause, LookupTimeoutError) for cause in causes):
        return "dns_timeout"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "dns_failed"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "tls_failed"
    return "connect_timeout" if isinstance(error, TimeoutError | httpx.TimeoutException) else "connect_failed"


def _lost_response_reason(error: Exception) -> str:
    match error:
        case TimeoutError() | httpx.TimeoutException():
            return "timeout"
        case httpx.RemoteProtocolError() | httpcore.RemoteProtocolError():
            return "response_truncated"
        case _BodyTooLargeError():
            return "body_too_large"
        case _:
            return "reset"


def _iter_causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _make_read_progress() -> _RequestProgress:
    """Return the progress of a call that creates nothing: it may begin at any time, and nobody records it."""
    return _RequestProgress(check_start=_allow_start, record_start=_do_nothing, failpoint=_do_nothing)


def _do_nothing(_name: str = "") -> None:
    return


async def _allow_start() -> None:
    return


def _ignore_date(_date: str, _started_at: float) -> None:
    return


def _always_true() -> bool:
    return True


def _utc_now() -> datetime:
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

    request_timeout: timedelta
    monotonic: Callable[[], float]
    failpoint: Callable[[str], None]
    is_host_allowed: Callable[[str], bool]
    may_send: Callable[[SendRequest], Awaitable[bool]] | None = None
    record_start: Callable[[SendRequest], None] | None = None
    is_clock_confirmed: Callable[[], bool] = _always_true
    on_date_header: Callable[[str, float], None] = _ignore_date
    now: Callable[[], datetime] = _utc_now
    transport: httpx.AsyncBaseTransport = field(default_factory=FreshConnections, repr=False)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    default_cooldown: timedelta = timedelta(seconds=30)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _cooldown_until: float = -inf
    _calls_started: int = 0
    _waiting_calls: int = 0
    _shared_replies: dict[str, tuple[int, HttpRequest, HttpResponse]] = field(default_factory=dict, repr=False)
    """The newest reply from each address, and the number of its call, as long as others wait for their turn."""

    async def fetch(self, request: HttpRequest) -> HttpResponse | NotSent | Unknown:
        """Make a call that may be repeated: it is, up to three times, while it brings nothing or a server error."""
        if not request.is_idempotent:
            return await self._fetch_once(request)
        tries = AsyncRetrying(
            retry=retry_if_result(_is_retryable),
            stop=stop_after_attempt(MAX_ATTEMPTS) | stop_after_delay(self.request_timeout),
            wait=wait_random_exponential(multiplier=0.25, max=2),
            sleep=self.sleep,
            retry_error_callback=_last_result,
        )
        return await tries(self._fetch_once, request)

    async def fetch_date(self, base_url: str) -> HttpResponse | NotSent | Unknown:
        """Ask a host, once, for a page that any web server answers, if only by saying that it has none."""
        request = HttpRequest(method="GET", url=urljoin(base_url, "/robots.txt"))
        return await self._call(request, _make_read_progress(), MAX_READ_BODY_BYTES, respects_cooldown=False)

    async def create(self, request: HttpRequest, send_request: SendRequest) -> HttpResponse | NotSent | Unknown:
        """Make the one call of an attempt, once, unless it may not begin any more right before the first byte."""

        async def check_start() -> None:
            if self.may_send is not None and not await self.may_send(send_request):
                raise _StartRefusedError("stopped")
            if self.monotonic() > send_request.start_by:
                raise _StartRefusedError("lease_used_up")
            if not self.is_clock_confirmed():
                raise _StartRefusedError("clock_unconfirmed_at_send")

        def record_start() -> None:
            try:
                if self.record_start is not None:
                    self.record_start(send_request)
            except OSError as error:
                raise _StartRefusedError("not_recorded") from error

        progress = _RequestProgress(check_start=check_start, record_start=record_start, failpoint=self.failpoint)
        answer = await self._call(request, progress, MAX_CREATE_BODY_BYTES)
        if isinstance(answer, HttpResponse):
            self.failpoint("http.after_reply")
        if isinstance(answer, HttpResponse) and 300 <= answer.status < 400:
            return Unknown(reason="redirected")
        return answer

    async def _fetch_once(self, request: HttpRequest) -> HttpResponse | TransportFailure:
        answer = await self._call(request, _make_read_progress(), MAX_READ_BODY_BYTES, can_share=request.is_idempotent)
        if isinstance(answer, HttpResponse) and (limit := answer.to_rate_limited("", now := self.now())):
            rest = min(limit.until - now, MAX_COOLDOWN) if limit.until else self.default_cooldown
            self._cooldown_until = max(self._cooldown_until, self.monotonic() + rest.total_seconds())
        return answer

    async def _call(
        self,
        request: HttpRequest,
        progress: _RequestProgress,
        max_body_bytes: int,
        *,
        can_share: bool = False,
        respects_cooldown: bool = True,
    ) -> HttpResponse | TransportFailure:
        """Make a call in its turn.

        One that `may_share` takes the reply to another that asked the same, if that began after this one was wanted:
        of an account with many doubts one list shows what has become of all of them.
        """
        http_request, begun = _build_request(request, progress), self._calls_started
        if not self.is_host_allowed(http_request.url.host):
            return NotSent(reason="host_not_allowed")
        self._waiting_calls += 1
        try:
            async with asyncio.timeout(self.request_timeout.total_seconds()), self._lock:
                number, query, response = self._shared_replies.get(request.url, (0, None, None))
                if can_share and response and number > begun and query == request:
                    return response
                if respects_cooldown and self.monotonic() < self._cooldown_until:
                    return NotSent(reason="in_cooldown")
                await progress.check_start()
                progress.was_submitted = True
                self._calls_started = number = self._calls_started + 1
                answer = await self._send(http_request, max_body_bytes)
                if can_share and isinstance(answer, HttpResponse):
                    self._shared_replies[request.url] = number, request, answer
                return answer
        except _TRANSPORT_ERRORS as error:
            return progress.classify_error(error)
        finally:
            self._waiting_calls -= 1
            if not self._waiting_calls:
                self._shared_replies.clear()

    async def _send(self, request: httpx.Request, max_body_bytes: int) -> HttpResponse | TransportFailure:
        began = self.monotonic()
        async with _closing(await self.transport.handle_async_request(request)) as response:
            body = await _read_body(response, max_body_bytes)
        if "date" in response.headers and "age" not in response.headers:  # a cache's reply has the date of another call
            self.on_date_header(response.headers["date"], began)
        if response.headers.get("content-encoding", "identity") != "identity":
            return Unknown(reason="response_encoded")
        return HttpResponse(status=response.status_code, headers=dict(response.headers), body=body)


def _is_retryable(answer: HttpResponse | TransportFailure) -> bool:
    if isinstance(answer, HttpResponse):
        return answer.status >= 500
    return answer.reason not in _NOT_RETRYABLE_REASONS


def _last_result(state: RetryCallState) -> HttpResponse | TransportFailure:
    if state.outcome is None:
        raise AssertionError("tenacity asks for the last answer only after a try")
    answer: HttpResponse | TransportFailure = state.outcome.result()
    return answer


@asynccontextmanager
async def _closing(response: httpx.Response) -> AsyncIterator[httpx.Response]:
    try:
        yield response
    finally:
        await response.aclose()


def _build_request(request: HttpRequest, progress: _RequestProgress) -> httpx.Request:
    cookies = (
        {"cookie": "; ".join(f"{name}={value}" for name, value in request.cookies.items())} if request.cookies else {}
    )
    uploads = [(part.name, (part.filename, part.data, part.media_type)) for part in request.uploads]
    return httpx.Request(
        request.method,
        request.url,
        params=dict(request.query) or None,
        headers={**_DEFAULT_HEADERS, **cookies, **{name.lower(): value for name, value in request.headers.items()}},
        content=request.content,
        data=dict(request.form) or None,
        files=uploads or None,
        extensions={"trace": progress.on_trace_event},
    )


async def _read_body(response: httpx.Response, max_body_bytes: int) -> bytes:
    """Read a body whole. Raises _BodyTooLargeError as soon as it is over the cap."""
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise TypeError("an asynchronous transport gives an asynchronous stream")
    body = bytearray()
    async for chunk in response.stream:
        body += chunk
        if len(body) > max_body_bytes:
            raise _BodyTooLargeError
    return bytes(body)
