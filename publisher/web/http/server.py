"""A small HTTP server with bounded cost, so that it can share the event loop with sending.

Anybody may connect to it. It accepts at most `accepts_per_second` connections, and holds at most
`max_connections` for a few seconds each. It reads each ten times a second, and parses a head of at
most forty lines. It reads a body only if the handler asks for it, and the handler does so after it
has verified a signature. These bounds protect sending. A thread would not: threads share one
interpreter lock, so a loop of its own would need the same bounds.

If it is full, it closes the oldest connection that has not sent its request yet. A new connection
is read before the next batch is accepted, and a batch is smaller than the limits. So a client that
sends at once is served, with any number of silent others.
"""

import asyncio
import contextlib
import ipaddress
import os
import resource
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import parse_qsl, unquote

import h11

from publisher.runtime.logs import log

LOG_INTERVAL_SECONDS = 60.0
"""Interval of log lines about refused connections and messages."""
LogKey = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class ThrottledLog:
    """Writes a warning at once, and repetitions as one line per interval, with counts by reason.

    There must be few different events, facts and reasons: the ones of the last interval are kept in
    memory.
    """

    interval_seconds: float = LOG_INTERVAL_SECONDS
    _intervals: dict[LogKey, tuple[Counter[str], asyncio.TimerHandle]] = field(
        default_factory=dict
    )

    def warn(self, event: str, reason: str, **facts: str) -> None:
        key = (event, tuple(sorted(facts.items())))
        if key in self._intervals:
            self._intervals[key][0][reason] += 1
        else:
            self._write(key, {reason: 1})

    def close(self) -> None:
        """Write the counts and stop the timers."""
        for (event, facts), (counts, timer) in self._intervals.items():
            timer.cancel()
            if counts:
                log.warning(event, **dict(facts), reasons=dict(counts))
        self._intervals.clear()

    def _write(self, key: LogKey, reasons: Mapping[str, int]) -> None:
        def end_interval() -> None:
            counts, _timer = self._intervals.pop(key)
            if counts:
                self._write(key, counts)

        event, facts = key
        log.warning(event, **dict(facts), reasons=dict(reasons))
        timer = asyncio.get_running_loop().call_later(
            self.interval_seconds, end_interval
        )
        self._intervals[key] = Counter(), timer


MAX_DESCRIPTORS = 65_536
"""Far more than calls, reads and connections together ever hold.

Some systems refuse an unlimited value.
"""


def raise_descriptor_limit() -> None:
    """Raise the soft limit, 1024 by default under systemd, to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        MAX_DESCRIPTORS
        if hard == resource.RLIM_INFINITY
        else min(hard, MAX_DESCRIPTORS)
    )
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.warning(
            "descriptor_limit_unchanged",
            soft=soft,
            hard=hard,
            error=type(error).__name__,
        )


def descriptor_limit() -> int:
    """Return the number of descriptors this process may have."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def free_descriptors() -> int:
    """Return how many more descriptors this process may open; 0 if even counting them fails."""
    try:
        return descriptor_limit() - len(os.listdir("/dev/fd"))  # noqa: PTH208 # a count of names, ten times cheaper
    except OSError:
        return 0


MAX_HEAD_BYTES = 8_192
MAX_HEAD_LINES = 40
MAX_TARGET_BYTES = 2_048
MAX_QUERY_FIELDS = 16
MAX_QUERY_PART_CHARACTERS = 128
"""Of a name or a value in a query; the longest of any platform so far has forty."""
MAX_BODY_BYTES = 65_536
"""A platform's event has one or two thousand."""
MAX_BODY_PARTS = 256
"""Chunks, or reads: each is parsed separately."""
REASON_PHRASES = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    413: "Content Too Large",
    500: "Internal Server Error",
}
SECURITY_HEADERS = (
    "x-content-type-options: nosniff\r\n"
    "content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n"
    "referrer-policy: no-referrer\r\n"
    "cache-control: no-store\r\n"
)
"""An answer is for a platform; a browser that somebody leads here makes nothing of it."""
MAX_KNOWN_PEERS = 4_096
IPV6_PREFIX_LENGTH = 64
"""Providers commonly assign a /64 to one customer: all of it counts as one peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of unauthenticated clients."""

    max_connections: int = 256
    max_connections_per_peer: int = 64
    accepts_per_second: float = 1000.0
    """Holds on average too if the event loop is late."""
    accept_batch: int = 32
    """Connections accepted at once.

    There are fewer than a peer may have, so that each is read before it may be closed.
    """
    accept_interval_seconds: float = 0.01
    """Least time between two batches."""
    head_timeout_seconds: float = 2.0
    """The whole head must arrive within this time."""
    body_timeout_seconds: float = 3.0
    """The whole body must arrive within this time; platforms wait five seconds for the reply."""
    response_timeout_seconds: float = 1.0
    """The client must have received the response within this time."""
    read_interval_seconds: float = 0.1
    """Time between two reads of a connection."""
    reserved_descriptors: int = 512
    """Descriptors reserved for sending; at most half of the process's limit."""
    shortage_pause_seconds: float = 1.0
    """How long to wait if descriptors are short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRequest:
    """A request after its head has arrived. `body` reads the rest."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Callable[[], Awaitable[bytes]]


ServerResponse = tuple[int, str]
RequestHandler = Callable[[ServerRequest], Awaitable[ServerResponse]]


class _BadRequestError(Exception):
    """The request is malformed or too large; `status` is the response."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _ConnectionLostError(Exception):
    """The client was too slow, or has disconnected."""

    def __init__(self, *, is_slow: bool) -> None:
        super().__init__(is_slow)
        self.is_slow = is_slow


@dataclass(slots=True, kw_only=True, eq=False)
class _Connection:
    """One client connection."""

    stream: socket.socket
    peer: str
    limits: HttpLimits
    is_awaiting_bytes: bool = True
    """True while we wait for its bytes; only then may it be closed in favour of another."""
    has_received: bool = False
    head_lines: int = 0
    http: h11.Connection = field(
        default_factory=lambda: h11.Connection(h11.SERVER, MAX_HEAD_BYTES)
    )

    async def read_request(self) -> ServerRequest:
        """Read the head. Raises _BadRequestError and _ConnectionLostError."""
        async with _time_limit(self.limits.head_timeout_seconds):
            event = await self._next_event(MAX_HEAD_BYTES)
        self.is_awaiting_bytes = False
        if not isinstance(event, h11.Request):
            raise _ConnectionLostError(is_slow=False)
        if len(event.target) > MAX_TARGET_BYTES:
            raise _BadRequestError(400)
        path, _, query = event.target.decode("latin-1").partition("?")
        try:
            pairs = parse_qsl(
                query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS
            )
        except ValueError:
            raise _BadRequestError(400) from None
        fields = dict(pairs)
        if len(fields) < len(pairs) or any(
            len(part) > MAX_QUERY_PART_CHARACTERS for pair in pairs for part in pair
        ):
            raise _BadRequestError(400)
        method = event.method.decode("latin-1")
        return ServerRequest(
            method=method, path=unquote(path), query=fields, body=self._read_body
        )

    async def _read_body(self) -> bytes:
        """Read the body. Raises _BadRequestError and _ConnectionLostError."""
        self.is_awaiting_bytes, body, parts = True, bytearray(), 0
        async with _time_limit(self.limits.body_timeout_seconds):
            while isinstance(event := await self._next_event(MAX_BODY_BYTES), h11.Data):
                body += event.data
                parts += 1
                if len(body) > MAX_BODY_BYTES or parts > MAX_BODY_PARTS:
                    raise _BadRequestError(413)
        self.is_awaiting_bytes = False
        return bytes(body)

    async def _next_event(self, max_bytes: int) -> object:
        """Return the next h11 event, reading `max_bytes` at a time.

        The lines of a head are counted before parsing.
        """
        try:
            while (event := self.http.next_event()) is h11.NEED_DATA:
                if self.has_received:
                    await asyncio.sleep(self.limits.read_interval_seconds)
                self.has_received = True
                data = await asyncio.get_running_loop().sock_recv(
                    self.stream, max_bytes
                )
                if self.http.their_state is h11.IDLE:
                    self.head_lines += data.partition(b"\r\n\r\n")[0].count(b"\n")
                    if self.head_lines > MAX_HEAD_LINES:
                        raise _BadRequestError(400)
                self.http.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise _BadRequestError(400) from error
        return event

    async def write(self, response: ServerResponse) -> None:
        """Write a response, and read all arrived data.

        Closing with unread bytes would reset the connection.
        """
        status, text = response
        content = text.encode()
        head = (
            f"HTTP/1.1 {status} {REASON_PHRASES[status]}\r\n"
            "content-type: text/plain; charset=utf-8\r\n"
            f"{SECURITY_HEADERS}"
            f"content-length: {len(content)}\r\n"
            "connection: close\r\n\r\n"
        )
        async with _time_limit(self.limits.response_timeout_seconds):
            await asyncio.get_running_loop().sock_sendall(
                self.stream, head.encode() + content
            )
            self.stream.shutdown(socket.SHUT_WR)
            with contextlib.suppress(BlockingIOError):
                self.stream.recv(MAX_BODY_BYTES)


@dataclass(slots=True, kw_only=True)
class HttpServer:
    """Accepts connections on a listening socket, and passes well-formed requests to a handler."""

    listening_socket: socket.socket
    handler: RequestHandler
    limits: HttpLimits = field(default_factory=HttpLimits)
    count_free_descriptors: Callable[[], int] = free_descriptors
    rejection_log: ThrottledLog = field(default_factory=ThrottledLog)
    connections: dict[_Connection, asyncio.Task[None]] = field(default_factory=dict)
    """In order of arrival."""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve until the block is left, then close all connections."""
        self.listening_socket.setblocking(False)  # noqa: FBT003 # the socket's own signature
        accepting = asyncio.create_task(self._accept())
        accepting.add_done_callback(_log_failure)
        try:
            yield
        finally:
            tasks = [accepting, *self.connections.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.rejection_log.close()
            self.listening_socket.close()

    async def _accept(self) -> None:
        reserve = min(self.limits.reserved_descriptors, descriptor_limit() // 2)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            is_readable = asyncio.Event()
            loop.add_reader(self.listening_socket, is_readable.set)
            try:
                await is_readable.wait()
            finally:
                loop.remove_reader(self.listening_socket)
            if self.count_free_descriptors() < reserve + self.limits.accept_batch:
                self.rejection_log.warn("connections_refused", "too_few_descriptors")
                await asyncio.sleep(self.limits.shortage_pause_seconds)
                continue
            last, began = began, loop.time()
            for _ in range(
                max(
                    1,
                    min(
                        self.limits.accept_batch,
                        int((began - last) * self.limits.accepts_per_second),
                    ),
                )
            ):
                try:
                    stream, address = self.listening_socket.accept()
                except (
                    OSError
                ):  # the client has gone, or the system is out of resources
                    break
                self._admit(stream, peer_key(address[0]))
            await asyncio.sleep(self.limits.accept_interval_seconds)

    def _admit(self, stream: socket.socket, peer: str) -> None:
        """Serve a new connection.

        If the server is full, close the oldest connection that it waits for. Without such a one,
        refuse.
        """
        own = [connection for connection in self.connections if connection.peer == peer]
        is_peer_full = len(own) >= self.limits.max_connections_per_peer
        if is_peer_full or len(self.connections) >= self.limits.max_connections:
            candidates = own if is_peer_full else list(self.connections)
            self.rejection_log.warn("connections_refused", "full")
            oldest = next(
                (
                    connection
                    for connection in candidates
                    if connection.is_awaiting_bytes
                ),
                None,
            )
            if oldest is None:
                stream.close()
                return
            self.connections.pop(oldest).cancel()
        stream.setblocking(False)  # noqa: FBT003 # the socket's own signature
        connection = _Connection(stream=stream, peer=peer, limits=self.limits)
        task = self.connections[connection] = asyncio.create_task(
            self._serve(connection)
        )

        def remove(task: asyncio.Task[None]) -> None:
            self.connections.pop(connection, None)
            stream.close()
            _log_failure(task)

        task.add_done_callback(remove)

    async def _serve(self, connection: _Connection) -> None:
        try:
            try:
                response = await self.handler(await connection.read_request())
            except _BadRequestError as error:
                self.rejection_log.warn("connections_refused", "malformed")
                response = error.status, ""
            except _ConnectionLostError:
                raise
            except Exception as error:  # noqa: BLE001 # concerns one request; the platform sends its message again
                log.exception("callback_failed", error=type(error).__name__)
                response = 500, ""
            await connection.write(response)
        except _ConnectionLostError as error:
            if error.is_slow:
                self.rejection_log.warn("connections_refused", "too_slow")


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("callbacks_failed", error=type(error).__name__, exc_info=error)


@lru_cache(maxsize=MAX_KNOWN_PEERS)
def peer_key(address: str) -> str:
    """Return the peer of an address: in IPv4 itself, in IPv6 its /64 network."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(
        ip.ipv4_mapped or ipaddress.ip_network((ip, IPV6_PREFIX_LENGTH), strict=False)
    )


@contextlib.asynccontextmanager
async def _time_limit(seconds: float) -> AsyncIterator[None]:
    """Limit the time of socket operations.

    Raises _ConnectionLostError on timeout or socket error.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except OSError as error:
        raise _ConnectionLostError(is_slow=isinstance(error, TimeoutError)) from error
