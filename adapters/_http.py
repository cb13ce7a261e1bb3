"""The HTTP client of a login; the one module that imports the HTTP library.

The rest of publisher sees `publisher.contract.Http` only. Requests go straight to a transport and
never through httpx's client. That would keep cookies, follow redirects and log full URLs.
"""

import asyncio
import logging
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import aclosing, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from math import inf
from threading import Thread
from typing import TypeVar
from urllib.parse import urljoin

import httpcore
import httpx
from tenacity import (
    AsyncRetrying,
    RetryError,
    retry_if_result,
    stop_after_attempt,
    stop_after_delay,
)
from tenacity.wait import wait_random_exponential

from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.account import MAX_COOLDOWN
from publisher.domain.post import DeliveryId, SendRequest
from publisher.domain.results import NotSent, TransportReason, Unknown

LOOKUP_TIMEOUT_SECONDS = 8.0
"""How long a call waits for DNS.

It is longer than the 5 s that the system waits before it turns to its second name server.
"""
MAX_LOOKUPS_PER_HOST = 4
"""Threads that may hang on one host.

A lookup cannot be stopped, and a new one may succeed where an old one hangs.
"""
ADDRESS_TIMEOUT_SECONDS = 3.0
"""How long one address of a host may take to connect while others are left.

A SYN is repeated after 1 s.
"""
MAX_ATTEMPTS = 3
MAX_PAUSE_SECONDS = 2.0
"""The longest pause between two tries of a repeatable call."""
MAX_CREATE_BODY_BYTES = 1024 * 1024
MAX_READ_BODY_BYTES = 8 * 1024 * 1024
"""The most bytes that are read of a response body."""
_DEFAULT_HEADERS = {
    "accept": "*/*",
    "accept-encoding": "identity",
    "connection": "close",
    "user-agent": "publisher",
}
_NOT_RETRYABLE_REASONS = frozenset({
    TransportReason.HOST_NOT_ALLOWED, TransportReason.BODY_TOO_LARGE, TransportReason.IN_COOLDOWN,
    TransportReason.DNS_TIMEOUT,
})  # fmt: skip
"""Failures that a retry cannot change."""
_CONNECT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_LINGER_RESET, _LINGER_DEFAULT = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
"""Values of SO_LINGER: drop unsent bytes and reset the connection, or go on sending them."""
TransportFailure = NotSent | Unknown
ErrorT = TypeVar("ErrorT", bound=BaseException)


class LookupTimeoutError(TimeoutError):
    """The name was not resolved in time."""


@dataclass(eq=False, slots=True)
class _Lookup:
    """One lookup by the system's resolver, in a daemon thread.

    The end of the process does not wait for it.
    """

    host: str
    started_at: float = field(default_factory=time.monotonic)
    addresses: Future[Sequence[str]] = field(default_factory=Future)

    def start(self) -> None:
        # a caller that gives up must not cancel it for the others
        self.addresses.set_running_or_notify_cancel()
        Thread(target=self._run, name=f"resolver {self.host}", daemon=True).start()

    def _run(self) -> None:
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 # whatever it is, the callers that wait raise it
            self.addresses.set_exception(error)
        else:
            self.addresses.set_result(
                list(dict.fromkeys(str(address[0]) for *_, address in found))
            )


_pending_lookups: dict[str, list[_Lookup]] = {}
"""The unfinished lookups of each host, oldest first, of all logins."""


async def resolve(host: str) -> Sequence[str]:
    """Return the addresses of a host, best first; an address is returned as it is.

    Callers share the newest pending lookup. A new one starts where there is none, or where the
    newest has hung for LOOKUP_TIMEOUT_SECONDS and fewer than MAX_LOOKUPS_PER_HOST are pending.

    Raises LookupTimeoutError after LOOKUP_TIMEOUT_SECONDS, or OSError as the system raises it.
    """
    with suppress(ValueError):
        ip_address(host)
        return [host]
    lookups = [
        lookup
        for lookup in _pending_lookups.get(host, ())
        if not lookup.addresses.done()
    ]
    hangs = (
        bool(lookups)
        and time.monotonic() - lookups[-1].started_at >= LOOKUP_TIMEOUT_SECONDS
    )
    if not lookups or (hangs and len(lookups) < MAX_LOOKUPS_PER_HOST):
        lookups.append(_Lookup(host))
        lookups[-1].start()
    _pending_lookups[host] = lookups
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT_SECONDS):
            return await asyncio.wrap_future(lookups[-1].addresses)
    except TimeoutError:
        raise LookupTimeoutError(host) from None


class _StartRefusedError(Exception):
    """The creating call may not start, checked right before its first byte."""

    def __init__(self, reason: TransportReason) -> None:
        super().__init__(reason)
        self.reason = reason


class _BodyTooLargeError(Exception):
    """The response body is larger than the limit."""


@cache
def load_tls_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


_TRANSPORT_ERRORS = (
    _StartRefusedError,
    _BodyTooLargeError,
    httpx.TransportError,
    httpcore.ProtocolError,
    OSError,
)


class _NetworkStream(httpcore.AsyncNetworkStream):
    """The bytes of one connection. Errors stay asyncio's own, as these are the most precise.

    If the connection ends before `finish`, the kernel drops unsent bytes and resets it, even when
    this process is killed. Bytes of an abandoned call that have not arrived by then never arrive.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._set_linger(_LINGER_RESET)

    def finish(self) -> None:
        """Let the connection close normally: the whole response has been read.

        The server may have closed it by now.
        """
        with suppress(OSError):
            self._set_linger(_LINGER_DEFAULT)

    def _set_linger(self, value: bytes) -> None:
        connection = self._writer.get_extra_info("socket")
        if connection is not None:  # a closed TLS transport has none
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
        except BaseException:  # a cancelled call, too, must leave no open socket behind
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        self._writer.transport.abort()  # the exchange is complete or abandoned
        await asyncio.sleep(0)  # the socket closes in the loop's next iteration


class _NetworkBackend(httpcore.AsyncNetworkBackend):
    """Connects through asyncio alone.

    A burst of first bytes leaves twice as fast as through httpcore's own backend.
    """

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
                async with asyncio.timeout(ADDRESS_TIMEOUT_SECONDS):
                    return _NetworkStream(*await asyncio.open_connection(address, port))
        return _NetworkStream(*await asyncio.open_connection(last, port))


class _ResponseBody(httpx.AsyncByteStream):
    """A response body; closing it closes its connection."""

    def __init__(
        self, response: httpcore.Response, connection: httpcore.AsyncHTTPConnection
    ) -> None:
        self._response = response
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.aiter_stream():
            yield chunk
        stream = self._response.extensions.get("network_stream")
        if isinstance(stream, _NetworkStream):
            stream.finish()

    async def aclose(self) -> None:
        await self._response.aclose()
        await self._connection.aclose()


class FreshConnections(httpx.AsyncBaseTransport):
    """Opens a connection for each call, without a pool.

    A kept connection may be dead without our knowledge, and would turn a harmless refusal into an
    unknown outcome. Certificates are always verified, with one TLS context for all logins (1.3 MB
    each otherwise).
    """

    def __init__(self, network: httpcore.AsyncNetworkBackend | None = None) -> None:
        self._network = network or _NetworkBackend()
        for name in ("httpx", "httpcore"):
            # below that they log full URLs and headers
            logging.getLogger(name).setLevel(logging.WARNING)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        connection = httpcore.AsyncHTTPConnection(
            url.origin, ssl_context=load_tls_context(), network_backend=self._network
        )
        response = await connection.handle_async_request(
            httpcore.Request(
                request.method,
                url,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_ResponseBody(response, connection),
        )


def get_host(address: str) -> str:
    """Return the host of a URL, or a host's own name, as `is_host_allowed` receives it.

    It is empty if there is none.
    """
    try:
        return httpx.URL(address if "/" in address else f"//{address}").host
    except httpx.InvalidURL:
        return ""


async def preload() -> None:
    """Make a call against a mock backend.

    It loads the modules that the first call would load while a post waits.
    """
    backend = httpcore.AsyncMockBackend(
        [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]
    )
    request = httpx.Request("POST", "http://localhost/", data={"status": "…"})
    response = await FreshConnections(backend).handle_async_request(request)
    await response.aread()
    await response.aclose()


@dataclass(slots=True)
class _RequestProgress:
    """How far one request has come, as the transport reports it.

    `check_start` is awaited before the connection is opened and again right before the first byte;
    `record_start` is called last. Both may raise _StartRefusedError; without them the call may
    always start. `has_started` means that writing the request's headers began: from then on nobody
    can prove that nothing was sent.
    """

    check_start: Callable[[], Awaitable[None]] | None = None
    record_start: Callable[[], None] = lambda: None
    failpoint: Callable[[str], None] = lambda _name: None
    was_submitted: bool = False
    is_traced: bool = False
    has_started: bool = False

    async def on_trace_event(self, event: str, _info: object) -> None:
        """Handle an event of httpcore's `trace` extension."""
        self.is_traced = True
        match event.partition(".")[2]:
            case "send_request_headers.started":
                self.failpoint("http.after_connect")
                if self.check_start is not None:
                    await self.check_start()
                self.record_start()
                self.has_started = True
            case "send_request_headers.complete":
                self.failpoint("http.mid_body")
            case "send_request_body.complete":
                self.failpoint("http.after_body")

    def classify_error(self, error: Exception) -> TransportFailure:
        """Return NotSent if the transport proves that no byte was sent, otherwise Unknown.

        The byte is one of the request.
        """
        if isinstance(error, _StartRefusedError):
            return NotSent(reason=error.reason)
        if not self.was_submitted:
            return NotSent(reason=TransportReason.TIMEOUT)
        if (
            not self.has_started
            if self.is_traced
            else isinstance(error, _CONNECT_ERRORS)
        ):
            return NotSent(reason=_connect_failure_reason(error))
        match error:
            case TimeoutError() | httpx.TimeoutException():
                return Unknown(reason=TransportReason.TIMEOUT)
            case httpx.RemoteProtocolError() | httpcore.RemoteProtocolError():
                return Unknown(reason=TransportReason.RESPONSE_TRUNCATED)
            case _BodyTooLargeError():
                return Unknown(reason=TransportReason.BODY_TOO_LARGE)
            case _:
                return Unknown(reason=TransportReason.RESET)


def find_cause(error: BaseException, kind: type[ErrorT]) -> ErrorT | None:
    """Return the first error of a kind among an error and its causes, None if there is none."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, kind):
            return cause
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def _connect_failure_reason(error: Exception) -> TransportReason:
    if find_cause(error, LookupTimeoutError) is not None:
        return TransportReason.DNS_TIMEOUT
    if find_cause(error, socket.gaierror) is not None:
        return TransportReason.DNS_FAILED
    if find_cause(error, ssl.SSLError) is not None:
        return TransportReason.TLS_FAILED
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return TransportReason.CONNECT_TIMEOUT
    return TransportReason.CONNECT_FAILED


@dataclass(slots=True, kw_only=True)
class LoginHttp:
    """The HTTP client of one login: one call in flight at most; a creating call is always the next.

    `request_timeout` bounds a whole call, including the wait for its turn. `is_host_allowed` gets
    the host name alone. `may_send` and `is_clock_confirmed` are asked for a creating call when its
    turn comes. They are asked again right before its first byte, however long connecting took. Then
    `record_start` gets its delivery and fencing token, to record that it starts. No byte is sent if
    that raises OSError. `on_date_header` gets the `Date` of each complete response and the
    `monotonic` start of its call. `failpoint` marks the places where a creating call may die. After
    a read that got HTTP 429 no call of the login starts, including queued ones, before its
    Retry-After is over. Without a Retry-After, `default_cooldown` counts.
    """

    request_timeout: timedelta
    monotonic: Callable[[], float]
    failpoint: Callable[[str], None]
    is_host_allowed: Callable[[str], bool]
    may_send: Callable[[SendRequest], Awaitable[bool]]
    record_start: Callable[[DeliveryId, int], None]
    is_clock_confirmed: Callable[[], bool]
    on_date_header: Callable[[str, float], None] = lambda _date, _started_at: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    transport: httpx.AsyncBaseTransport = field(
        default_factory=FreshConnections, repr=False
    )
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    default_cooldown: timedelta = timedelta(seconds=30)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """Held by the call in flight."""
    _repeatable_lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """Held by the one repeatable call that waits for `_lock` or is in flight."""
    _cooldown_until: float = -inf
    _calls_started: int = 0
    _waiting_calls: int = 0
    _shared_responses: dict[str, tuple[int, HttpRequest, HttpResponse]] = field(
        default_factory=dict, repr=False
    )
    """URL -> the number of its newest call, with request and response.

    It is kept while other calls wait for their turn.
    """

    async def fetch(self, request: HttpRequest) -> HttpResponse | NotSent | Unknown:
        """Make a repeatable call: up to MAX_ATTEMPTS times on a connection or server error.

        A connection error is a connection failure. A server error with a Retry-After longer than
        the pauses between the tries ends them.
        """
        if not request.is_idempotent:
            return await self._fetch_once(request)
        tries = AsyncRetrying(
            retry=retry_if_result(self._is_retryable),
            stop=stop_after_attempt(MAX_ATTEMPTS)
            | stop_after_delay(self.request_timeout),
            wait=wait_random_exponential(multiplier=0.25, max=MAX_PAUSE_SECONDS),
            sleep=self.sleep,
        )
        try:
            return await tries(self._fetch_once, request)
        except RetryError as error:
            last: HttpResponse | TransportFailure = error.last_attempt.result()
            return last

    async def fetch_date(self, base_url: str) -> HttpResponse | NotSent | Unknown:
        """Request, once, a page that any web server answers, for the `Date` of the response.

        The answer may be a 404.
        """
        request = HttpRequest(method="GET", url=urljoin(base_url, "/robots.txt"))
        return await self._call(
            request, _RequestProgress(), MAX_READ_BODY_BYTES, respects_cooldown=False
        )

    async def create(
        self, request: HttpRequest, send_request: SendRequest
    ) -> HttpResponse | NotSent | Unknown:
        """Make the creating call of an attempt, once.

        It is not made if it may no longer start right before the first byte.
        """

        async def check_start() -> None:
            if not await self.may_send(send_request):
                raise _StartRefusedError(TransportReason.STOPPED)
            if self.monotonic() > send_request.start_by:
                raise _StartRefusedError(TransportReason.LEASE_USED_UP)
            if not self.is_clock_confirmed():
                raise _StartRefusedError(TransportReason.CLOCK_UNCONFIRMED_AT_SEND)

        def record_start() -> None:
            try:
                self.record_start(send_request.delivery, send_request.fencing_token)
            except OSError as error:
                raise _StartRefusedError(TransportReason.NOT_RECORDED) from error

        progress = _RequestProgress(
            check_start=check_start, record_start=record_start, failpoint=self.failpoint
        )
        response = await self._call(request, progress, MAX_CREATE_BODY_BYTES)
        if isinstance(response, HttpResponse):
            self.failpoint("http.after_reply")
            if 300 <= response.status < 400:
                return Unknown(reason=TransportReason.REDIRECTED)
        return response

    def _is_retryable(self, result: HttpResponse | TransportFailure) -> bool:
        if isinstance(result, HttpResponse):
            retry_at = result.retry_at(self.now())
            latest = self.now() + timedelta(seconds=MAX_PAUSE_SECONDS)
            return result.status >= 500 and (retry_at is None or retry_at <= latest)
        return result.reason not in _NOT_RETRYABLE_REASONS

    async def _fetch_once(
        self, request: HttpRequest
    ) -> HttpResponse | TransportFailure:
        response = await self._call(
            request,
            _RequestProgress(),
            MAX_READ_BODY_BYTES,
            can_share=request.is_idempotent,
        )
        if isinstance(response, HttpResponse) and (
            limit := response.to_rate_limited("", now := self.now())
        ):
            cooldown = (
                min(limit.until - now, MAX_COOLDOWN)
                if limit.until
                else self.default_cooldown
            )
            self._cooldown_until = max(
                self._cooldown_until, self.monotonic() + cooldown.total_seconds()
            )
        return response

    async def _call(
        self,
        request: HttpRequest,
        progress: _RequestProgress,
        max_body_bytes: int,
        *,
        can_share: bool = False,
        respects_cooldown: bool = True,
    ) -> HttpResponse | TransportFailure:
        """Make a call when its turn comes.

        A creating call waits for the call in flight alone: repeatable calls queue for the place
        behind it. A call that `can_share` returns the response to an equal request that started
        after this call was queued: one list resolves all unknown outcomes of an account.
        """
        http_request, calls_before = (
            _build_request(request, progress),
            self._calls_started,
        )
        if not self.is_host_allowed(http_request.url.host):
            return NotSent(reason=TransportReason.HOST_NOT_ALLOWED)
        own_queue = (
            self._repeatable_lock if progress.check_start is None else nullcontext()
        )
        self._waiting_calls += 1
        try:
            async with (
                asyncio.timeout(self.request_timeout.total_seconds()),
                own_queue,
                self._lock,
            ):
                number, query, response = self._shared_responses.get(
                    request.url, (0, None, None)
                )
                if (
                    can_share
                    and response
                    and number > calls_before
                    and query == request
                ):
                    return response
                if respects_cooldown and self.monotonic() < self._cooldown_until:
                    return NotSent(reason=TransportReason.IN_COOLDOWN)
                if progress.check_start is not None:
                    await progress.check_start()
                progress.was_submitted = True
                self._calls_started = number = self._calls_started + 1
                result = await self._send(http_request, max_body_bytes)
                if can_share and isinstance(result, HttpResponse):
                    self._shared_responses[request.url] = number, request, result
                return result
        except _TRANSPORT_ERRORS as error:
            return progress.classify_error(error)
        finally:
            self._waiting_calls -= 1
            if not self._waiting_calls:
                self._shared_responses.clear()

    async def _send(
        self, request: httpx.Request, max_body_bytes: int
    ) -> HttpResponse | TransportFailure:
        started_at, body = self.monotonic(), bytearray()
        async with aclosing(
            await self.transport.handle_async_request(request)
        ) as response:
            if not isinstance(response.stream, httpx.AsyncByteStream):
                raise TypeError(
                    "an asynchronous transport gives an asynchronous stream"
                )
            async for chunk in response.stream:
                body += chunk
                if len(body) > max_body_bytes:
                    raise _BodyTooLargeError
        # a cache's response has an older date
        if "date" in response.headers and "age" not in response.headers:
            self.on_date_header(response.headers["date"], started_at)
        if response.headers.get("content-encoding", "identity") != "identity":
            return Unknown(reason=TransportReason.RESPONSE_ENCODED)
        return HttpResponse(
            status=response.status_code,
            headers=dict(response.headers),
            body=bytes(body),
        )


def _build_request(request: HttpRequest, progress: _RequestProgress) -> httpx.Request:
    cookies = (
        {
            "cookie": "; ".join(
                f"{name}={value}" for name, value in request.cookies.items()
            )
        }
        if request.cookies
        else {}
    )
    uploads = [
        (part.name, (part.filename, part.data, part.media_type))
        for part in request.uploads
    ]
    form: dict[str, list[str]] = {}
    for name, value in request.form:
        form.setdefault(name, []).append(value)
    return httpx.Request(
        request.method,
        request.url,
        params=list(request.query) or None,
        headers={
            **_DEFAULT_HEADERS,
            **cookies,
            **{name.lower(): value for name, value in request.headers.items()},
        },
        content=request.content,
        data=form or None,
        files=uploads or None,
        extensions={"trace": progress.on_trace_event},
    )
