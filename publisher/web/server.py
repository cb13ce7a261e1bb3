"""A small HTTP server whose cost has a bound, so that it may share the event loop of the sending.

Anybody may connect to it. Whatever they do, in each second it accepts `rate` connections at most, holds
`connections` of them for a few seconds each, reads each ten times a second, parses a head of forty lines, and reads a
body only where the handler asks for it, which it does after a signature. These bounds protect the sending. A thread
would not: threads share one interpreter lock, so a loop of its own would have to be bounded all the same.

A full house closes the oldest connection that still owes us bytes. A newcomer is looked at before the next batch is
accepted, and a batch is smaller than the house: whoever speaks at once is heard, however many others say nothing.
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
from functools import partial
from urllib.parse import parse_qsl, unquote

import h11

from publisher.runtime.logs import log

LogKey = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class ThrottledLog:
    """Writes a warning at once, and what repeats as one line per interval, with how often for which reason.

    Events, facts and reasons must be few: those of the last interval are remembered.
    """

    interval_seconds: float
    """In seconds."""
    _counts: dict[LogKey, Counter[str]] = field(default_factory=dict)
    _timers: dict[LogKey, asyncio.TimerHandle] = field(default_factory=dict)

    def warn(self, event: str, reason: str, **facts: str) -> None:
        key = (event, tuple(sorted(facts.items())))
        if (counts := self._counts.get(key)) is not None:
            counts[reason] += 1
            return
        self._write(key, Counter([reason]))

    def close(self) -> None:
        """Write what has been counted, and end."""
        for timer in self._timers.values():
            timer.cancel()
        for (event, facts), counts in self._counts.items():
            if counts:
                log.warning(event, **dict(facts), reasons=dict(counts))
        self._counts.clear()
        self._timers.clear()

    def _write(self, key: LogKey, counts: Counter[str]) -> None:
        event, facts = key
        log.warning(event, **dict(facts), reasons=dict(counts))
        self._counts[key] = Counter()
        self._timers[key] = asyncio.get_running_loop().call_later(self.interval_seconds, self._end_interval, key)

    def _end_interval(self, key: LogKey) -> None:
        counts = self._counts.pop(key)
        del self._timers[key]
        if counts:
            self._write(key, counts)


MAX_DESCRIPTORS = 65_536
"""Far more than calls, reads and callers together ever hold; some systems refuse a limit without end."""


def raise_descriptor_limit() -> None:
    """Raise the soft limit, 1024 by default under systemd, to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.warning("descriptor_limit_unchanged", soft=soft, hard=hard, error=type(error).__name__)


def descriptor_limit() -> int:
    """Return how many descriptors this process may have."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def free_descriptors() -> int:
    """Return how many more this process may open; 0 where even counting them finds no room."""
    try:
        return descriptor_limit() - len(os.listdir("/dev/fd"))  # noqa: PTH208 # a count of names, ten times cheaper
    except OSError:
        return 0


MAX_HEAD_BYTES = 8_192
MAX_HEAD_LINES = 40
MAX_TARGET_BYTES = 2_048
MAX_QUERY_FIELDS = 16
MAX_QUERY_PART_CHARACTERS = 128
"""Of a name and of a value in a query, in characters; WeChat's longest has forty."""
MAX_BODY_BYTES = 65_536
"""An event has one or two thousand."""
MAX_BODY_PARTS = 256
"""Chunks, or reads: each is parsed by itself."""
REASON_PHRASES = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    413: "Content Too Large",
    500: "Internal Server Error",
}
IPV6_PREFIX_LENGTH = 64
"""What one customer is commonly given: all of it counts as one peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What strangers may have of us. Times are in seconds."""

    max_connections: int = 256
    max_connections_per_peer: int = 64
    accepts_per_second: float = 1000.0
    """Connections accepted in a second, also where the loop comes to it late."""
    accept_batch: int = 32
    """Connections accepted together; fewer than a peer may have, so that each is read before it may be closed."""
    accept_interval_seconds: float = 0.01
    """From one batch to the next, at least."""
    head_timeout_seconds: float = 2.0
    """In which the whole head must have come, drip by drip or not."""
    body_timeout_seconds: float = 3.0
    """The same for the body: WeChat itself waits five for its answer."""
    response_timeout_seconds: float = 1.0
    """In which the answer must have been taken."""
    read_interval_seconds: float = 0.1
    """From one read of a connection to its next."""
    reserved_descriptors: int = 512
    """Descriptors that are left to the sending; half of them where the process may have few."""
    shortage_pause_seconds: float = 1.0
    """From finding too few to the next look."""
    log_interval_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRequest:
    """A request whose head has come. `body` reads what follows it."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Callable[[], Awaitable[bytes]]


ServerResponse = tuple[int, str]
RequestHandler = Callable[[ServerRequest], Awaitable[ServerResponse]]


class _BadRequestError(Exception):
    """The request is none, or too large: `status` says which."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _ConnectionLostError(Exception):
    """The caller was too slow, or has gone."""

    def __init__(self, *, is_slow: bool) -> None:
        super().__init__(is_slow)
        self.is_slow = is_slow


@dataclass(slots=True, kw_only=True, eq=False)
class _Connection:
    """One caller, and what it has said."""

    stream: socket.socket
    peer: str
    limits: HttpLimits
    is_awaiting_bytes: bool = True
    """True while we wait for bytes of it; only then may it be closed for another."""
    has_received: bool = False
    head_lines: int = 0
    http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.SERVER, MAX_HEAD_BYTES))

    async def read_request(self) -> ServerRequest:
        """Read a head. Raises _UnsoundError and _LostError."""
        async with _time_limit(self.limits.head_timeout_seconds):
            event = await self._next_event(MAX_HEAD_BYTES)
        self.is_awaiting_bytes = False
        if not isinstance(event, h11.Request):
            raise _ConnectionLostError(is_slow=False)
        if len(event.target) > MAX_TARGET_BYTES:
            raise _BadRequestError(400)
        path, _, query = event.target.decode("latin-1").partition("?")
        method = event.method.decode("latin-1")
        return ServerRequest(method=method, path=unquote(path), query=_read_query(query), body=self._read_body)

    async def _read_body(self) -> bytes:
        """Read the body. Raises _UnsoundError and _LostError."""
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
        """Give what comes next in the protocol, one of h11's events, reading `most` bytes at a time."""
        try:
            while (event := self.http.next_event()) is h11.NEED_DATA:
                self.http.receive_data(await self._receive(max_bytes))
        except h11.RemoteProtocolError as error:
            raise _BadRequestError(400) from error
        return event

    async def _receive(self, max_bytes: int) -> bytes:
        """Receive what has come; the lines of a head are counted before they are parsed."""
        if self.has_received:
            await asyncio.sleep(self.limits.read_interval_seconds)
        self.has_received = True
        data = await asyncio.get_running_loop().sock_recv(self.stream, max_bytes)
        if self.http.their_state is h11.IDLE:
            self.head_lines += data.partition(b"\r\n\r\n")[0].count(b"\n")
            if self.head_lines > MAX_HEAD_LINES:
                raise _BadRequestError(400)
        return data

    async def write(self, response: ServerResponse) -> None:
        """Write an answer, and take what has come meanwhile, so that closing does not reset what we wrote."""
        status, text = response
        content = text.encode()
        head = (
            f"HTTP/1.1 {status} {REASON_PHRASES[status]}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"x-content-type-options: nosniff\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        async with _time_limit(self.limits.response_timeout_seconds):
            await asyncio.get_running_loop().sock_sendall(self.stream, head.encode() + content)
            self.stream.shutdown(socket.SHUT_WR)
            with contextlib.suppress(BlockingIOError):
                self.stream.recv(MAX_BODY_BYTES)


@dataclass(slots=True, kw_only=True)
class HttpServer:
    """Accepts at a socket that listens, and lets a handler answer what is a request."""

    listening_socket: socket.socket
    handler: RequestHandler
    limits: HttpLimits = field(default_factory=HttpLimits)
    count_free_descriptors: Callable[[], int] = free_descriptors
    rejection_log: ThrottledLog = field(init=False)
    connections: dict[_Connection, asyncio.Task[None]] = field(default_factory=dict)
    """In the order in which they came."""

    def __post_init__(self) -> None:
        self.rejection_log = ThrottledLog(self.limits.log_interval_seconds)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve until the block is left, then close all that is open."""
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
            await _wait_until_readable(self.listening_socket)
            if self.count_free_descriptors() < reserve + self.limits.accept_batch:
                self.rejection_log.warn("connections_refused", "too_few_descriptors")
                await asyncio.sleep(self.limits.shortage_pause_seconds)
                continue
            last, began = began, loop.time()
            for _ in range(max(1, min(self.limits.accept_batch, int((began - last) * self.limits.accepts_per_second)))):
                try:
                    stream, address = self.listening_socket.accept()
                except OSError:  # nobody is there any more, or the system has no room
                    break
                self._admit(stream, _peer_key(address[0]))
            await asyncio.sleep(self.limits.accept_interval_seconds)

    def _admit(self, stream: socket.socket, peer: str) -> None:
        """Take a caller in, in the place of another where the house is full; refuse it where no other owes us bytes."""
        own = [connection for connection in self.connections if connection.peer == peer]
        is_full = (
            len(own) >= self.limits.max_connections_per_peer or len(self.connections) >= self.limits.max_connections
        )
        candidates = own if len(own) >= self.limits.max_connections_per_peer else list(self.connections)
        if is_full:
            self.rejection_log.warn("connections_refused", "full")
            oldest = next((connection for connection in candidates if connection.is_awaiting_bytes), None)
            if oldest is None:
                stream.close()
                return
            self.connections.pop(oldest).cancel()
        stream.setblocking(False)  # noqa: FBT003 # the socket's own signature
        connection = _Connection(stream=stream, peer=peer, limits=self.limits)
        task = self.connections[connection] = asyncio.create_task(self._serve(connection))
        task.add_done_callback(partial(self._remove, connection))

    def _remove(self, connection: _Connection, task: asyncio.Task[None]) -> None:
        self.connections.pop(connection, None)
        connection.stream.close()
        _log_failure(task)

    async def _serve(self, connection: _Connection) -> None:
        try:
            await connection.write(await self._respond(connection))
        except _ConnectionLostError as error:
            if error.is_slow:
                self.rejection_log.warn("connections_refused", "too_slow")

    async def _respond(self, connection: _Connection) -> ServerResponse:
        try:
            return await self.handler(await connection.read_request())
        except _BadRequestError as error:
            self.rejection_log.warn("connections_refused", "malformed")
            return error.status, ""
        except _ConnectionLostError:
            raise
        except Exception as error:  # noqa: BLE001 # one request's trouble; the platform sends its message again
            log.exception("callback_failed", error=type(error).__name__)
            return 500, ""


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("callbacks_failed", error=type(error).__name__, exc_info=error)


def _read_query(query: str) -> Mapping[str, str]:
    """Read a query of few, short and different names. Raises _UnsoundError."""
    try:
        found = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise _BadRequestError(400) from None
    fields = dict(found)
    if len(fields) < len(found) or any(len(part) > MAX_QUERY_PART_CHARACTERS for pair in found for part in pair):
        raise _BadRequestError(400)
    return fields


def _peer_key(address: str) -> str:
    """Give the peer that an address belongs to: itself, or in IPv6 the network that one customer has."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, IPV6_PREFIX_LENGTH), strict=False))


@contextlib.asynccontextmanager
async def _time_limit(seconds: float) -> AsyncIterator[None]:
    """Bound what is done with a socket in time. Raises _LostError when that is over, or the socket fails."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except OSError as error:
        raise _ConnectionLostError(is_slow=isinstance(error, TimeoutError)) from error


async def _wait_until_readable(listening_socket: socket.socket) -> None:
    """Wait until somebody waits to be accepted."""
    loop = asyncio.get_running_loop()
    is_readable = asyncio.Event()
    loop.add_reader(listening_socket, is_readable.set)
    try:
        await is_readable.wait()
    finally:
        loop.remove_reader(listening_socket)
