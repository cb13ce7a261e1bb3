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
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qsl, unquote

import h11

from publisher.telemetry import log
from publisher.web.descriptors import descriptor_limit, free_descriptors
from publisher.web.sparse_log import SparseLog

MAX_HEAD_BYTES = 8_192
MAX_HEAD_LINES = 40
MAX_TARGET_BYTES = 2_048
MAX_QUERY_FIELDS = 16
MAX_QUERY_LENGTH = 128
"""Of a name and of a value in a query, in characters; WeChat's longest has forty."""
MAX_BODY_BYTES = 65_536
"""An event has one or two thousand."""
MAX_BODY_PARTS = 256
"""Chunks, or reads: each is parsed by itself."""
PHRASES = {200: "OK", 400: "Bad Request", 403: "Forbidden", 413: "Content Too Large", 500: "Internal Server Error"}
IPV6_PREFIX_LENGTH = 64
"""What one customer is commonly given: all of it counts as one peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What strangers may have of us. Times are in seconds."""

    connections: int = 256
    per_peer: int = 64
    rate: float = 1000.0
    """Connections accepted in a second, also where the loop comes to it late."""
    batch: int = 32
    """Connections accepted together; fewer than a peer may have, so that each is read before it may be closed."""
    beat: float = 0.01
    """From one batch to the next, at least."""
    head: float = 2.0
    """In which the whole head must have come, drip by drip or not."""
    body: float = 3.0
    """The same for the body: WeChat itself waits five for its answer."""
    answer: float = 1.0
    """In which the answer must have been taken."""
    read_pause: float = 0.1
    """From one read of a connection to its next."""
    reserve: int = 512
    """Descriptors that are left to the sending; half of them where the process may have few."""
    shortage_pause: float = 1.0
    """From finding too few to the next look."""
    log_interval: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose head has come. `body` reads what follows it."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Callable[[], Awaitable[bytes]]


Answer = tuple[int, str]
Handler = Callable[[Request], Awaitable[Answer]]


class _UnsoundError(Exception):
    """The request is none, or too large: `status` says which."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _LostError(Exception):
    """The caller was too slow, or has gone."""

    def __init__(self, *, is_slow: bool) -> None:
        super().__init__(is_slow)
        self.is_slow = is_slow


@dataclass(slots=True, kw_only=True, eq=False)
class _Connection:
    """One caller, and what it has said."""

    stream: socket.socket
    peer: str
    limits: Limits
    owes: bool = True
    """True while we wait for bytes of it; only then may it be closed for another."""
    has_received: bool = False
    head_lines: int = 0
    http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.SERVER, MAX_HEAD_BYTES))

    async def read_request(self) -> Request:
        """Read a head. Raises _UnsoundError and _LostError."""
        async with _within(self.limits.head):
            event = await self._next_event(MAX_HEAD_BYTES)
        self.owes = False
        if not isinstance(event, h11.Request):
            raise _LostError(is_slow=False)
        if len(event.target) > MAX_TARGET_BYTES:
            raise _UnsoundError(400)
        path, _, query = event.target.decode("latin-1").partition("?")
        method = event.method.decode("latin-1")
        return Request(method=method, path=unquote(path), query=_read_query(query), body=self._read_body)

    async def _read_body(self) -> bytes:
        """Read the body. Raises _UnsoundError and _LostError."""
        self.owes, body, parts = True, bytearray(), 0
        async with _within(self.limits.body):
            while isinstance(event := await self._next_event(MAX_BODY_BYTES), h11.Data):
                body += event.data
                parts += 1
                if len(body) > MAX_BODY_BYTES or parts > MAX_BODY_PARTS:
                    raise _UnsoundError(413)
        self.owes = False
        return bytes(body)

    async def _next_event(self, most: int) -> object:
        """Give what comes next in the protocol, one of h11's events, reading `most` bytes at a time."""
        try:
            while (event := self.http.next_event()) is h11.NEED_DATA:
                self.http.receive_data(await self._receive(most))
        except h11.RemoteProtocolError as error:
            raise _UnsoundError(400) from error
        return event

    async def _receive(self, most: int) -> bytes:
        """Receive what has come; the lines of a head are counted before they are parsed."""
        if self.has_received:
            await asyncio.sleep(self.limits.read_pause)
        self.has_received = True
        data = await asyncio.get_running_loop().sock_recv(self.stream, most)
        if self.http.their_state is h11.IDLE:
            self.head_lines += data.partition(b"\r\n\r\n")[0].count(b"\n")
            if self.head_lines > MAX_HEAD_LINES:
                raise _UnsoundError(400)
        return data

    async def write(self, answer: Answer) -> None:
        """Write an answer, and take what has come meanwhile, so that closing does not reset what we wrote."""
        status, text = answer
        content = text.encode()
        head = (
            f"HTTP/1.1 {status} {PHRASES[status]}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"x-content-type-options: nosniff\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        async with _within(self.limits.answer):
            await asyncio.get_running_loop().sock_sendall(self.stream, head.encode() + content)
            self.stream.shutdown(socket.SHUT_WR)
            with contextlib.suppress(BlockingIOError):
                self.stream.recv(MAX_BODY_BYTES)


@dataclass(slots=True, kw_only=True)
class Server:
    """Accepts at a socket that listens, and lets a handler answer what is a request."""

    place: socket.socket
    handler: Handler
    limits: Limits = field(default_factory=Limits)
    count_free: Callable[[], int] = free_descriptors
    refused: SparseLog = field(init=False)
    connections: dict[_Connection, asyncio.Task[None]] = field(default_factory=dict)
    """In the order in which they came."""

    def __post_init__(self) -> None:
        self.refused = SparseLog(self.limits.log_interval)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve until the block is left, then close all that is open."""
        self.place.setblocking(False)  # noqa: FBT003 # the socket's own signature
        accepting = asyncio.create_task(self._accept())
        accepting.add_done_callback(_log_failure)
        try:
            yield
        finally:
            tasks = [accepting, *self.connections.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.refused.close()
            self.place.close()

    async def _accept(self) -> None:
        reserve = min(self.limits.reserve, descriptor_limit() // 2)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            await _readable(self.place)
            if self.count_free() < reserve + self.limits.batch:
                self.refused.note("connections_refused", "descriptors_short")
                await asyncio.sleep(self.limits.shortage_pause)
                continue
            last, began = began, loop.time()
            for _ in range(max(1, min(self.limits.batch, int((began - last) * self.limits.rate)))):
                try:
                    stream, address = self.place.accept()
                except OSError:  # nobody is there any more, or the system has no room
                    break
                self._admit(stream, _peer_of(address[0]))
            await asyncio.sleep(self.limits.beat)

    def _admit(self, stream: socket.socket, peer: str) -> None:
        """Take a caller in, in the place of another where the house is full; refuse it where no other owes us bytes."""
        own = [connection for connection in self.connections if connection.peer == peer]
        is_full = len(own) >= self.limits.per_peer or len(self.connections) >= self.limits.connections
        among = own if len(own) >= self.limits.per_peer else list(self.connections)
        if is_full:
            self.refused.note("connections_refused", "full")
            oldest = next((connection for connection in among if connection.owes), None)
            if oldest is None:
                stream.close()
                return
            self.connections.pop(oldest).cancel()
        stream.setblocking(False)  # noqa: FBT003 # the socket's own signature
        connection = _Connection(stream=stream, peer=peer, limits=self.limits)
        task = self.connections[connection] = asyncio.create_task(self._serve(connection))
        task.add_done_callback(partial(self._leave, connection))

    def _leave(self, connection: _Connection, task: asyncio.Task[None]) -> None:
        self.connections.pop(connection, None)
        connection.stream.close()
        _log_failure(task)

    async def _serve(self, connection: _Connection) -> None:
        try:
            await connection.write(await self._answer(connection))
        except _LostError as error:
            if error.is_slow:
                self.refused.note("connections_refused", "slow")

    async def _answer(self, connection: _Connection) -> Answer:
        try:
            return await self.handler(await connection.read_request())
        except _UnsoundError as error:
            self.refused.note("connections_refused", "unsound")
            return error.status, ""
        except _LostError:
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
        raise _UnsoundError(400) from None
    fields = dict(found)
    if len(fields) < len(found) or any(len(part) > MAX_QUERY_LENGTH for pair in found for part in pair):
        raise _UnsoundError(400)
    return fields


def _peer_of(address: str) -> str:
    """Give the peer that an address belongs to: itself, or in IPv6 the network that one customer has."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, IPV6_PREFIX_LENGTH), strict=False))


@contextlib.asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    """Bound what is done with a socket in time. Raises _LostError when that is over, or the socket fails."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except OSError as error:
        raise _LostError(is_slow=isinstance(error, TimeoutError)) from error


async def _readable(place: socket.socket) -> None:
    """Wait until somebody waits to be accepted."""
    loop = asyncio.get_running_loop()
    is_readable = asyncio.Event()
    loop.add_reader(place, is_readable.set)
    try:
        await is_readable.wait()
    finally:
        loop.remove_reader(place)
