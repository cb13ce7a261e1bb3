"""The dashboard's process: its serving, and the costs of its connections."""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import ssl
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import h11
import uvicorn
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from publisher.app.application import Application, open_application
from publisher.app.rights import find_missing_rights, require_rights
from publisher.config import Settings
from publisher.domain.errors import RefusedError
from publisher.runtime.clock import Runtime
from publisher.runtime.logs import log
from publisher.runtime.service_manager import ServiceManager
from publisher.web.dashboard import create_dashboard
from publisher.web.http.callbacks import bind_socket
from publisher.web.http.middleware import security_headers
from publisher.web.http.server import peer_key
from publisher.web.kit.turns import TURN, RequestTurn

HEAD_TIMEOUT_SECONDS = 10.0
"""Within this time the whole head of a request must have arrived."""
KEEP_ALIVE_SECONDS = 20
STALL_SECONDS, LEAST_READ_BYTES = 60.0, 2**14
"""How long a response waits for a client that does not read: memory holds the response."""
MAX_CONNECTIONS, MAX_CONNECTIONS_PER_PEER = 4096, 512
"""A whole office may come from one address.

Streams of live pages are bounded by user instead: `streams.MAX_STREAMS`.
"""
STREAM_PATH = "/events"
NEW_CONNECTION_SECONDS = 1.0
"""How long a connection is new.

Its request may be on its way, so older ones of its peer close before it.
"""
ACCEPT_BATCH = 32
"""Connections accepted in one turn of the event loop.

In a flood of them the open ones are served meanwhile.
"""
MAX_HANDSHAKES, HANDSHAKE_SECONDS = 128, 5.0
"""TLS handshakes at once, and how long one may take."""
MAX_UNACCEPTED = 2048
"""Connections that may wait in the kernel until they are accepted."""
MAX_HEAD_BYTES = 16_384
GRACEFUL_SECONDS = 3
"""How long requests may still take after a stop; live pages end at once."""
COLLECTION_THRESHOLD = 5_000
"""New objects between two garbage collections.

With Python's own threshold, the objects of a thousand connections were visited every second.
"""
TICKS_PER_REPORT = 50
"""A tick of uvicorn's main loop takes a tenth of a second."""
PAGES_NICENESS = 5
"""Pages give way to posts where processors are scarce."""

C = TypeVar("C")


class PeerConnections(dict[str, dict[C, None]]):
    """The open connections of a server by peer, the oldest of each peer first."""

    def add(self, peer: str, connection: C) -> Collection[C]:
        """Add a connection. Return all connections of its peer."""
        own = self.setdefault(peer, {})
        own[connection] = None
        return own

    def discard(self, peer: str, connection: C) -> None:
        """Remove a connection that may have been removed before."""
        own = self.get(peer, {})
        own.pop(connection, None)
        if not own:
            self.pop(peer, None)

    def count(self) -> int:
        return sum(map(len, self.values()))

    def sort_peers(self) -> Sequence[Collection[C]]:
        """Return the connections of each peer, those of the peer with the most first."""
        return sorted(self.values(), key=len, reverse=True)


OPEN_CONNECTIONS: WeakKeyDictionary[
    ServerState, PeerConnections["BoundedConnection"]
] = WeakKeyDictionary()
"""The open connections of each server."""


class PatientServer(uvicorn.Server):
    """A server that accepts its configured backlog in one turn. The rest waits in the kernel.

    Its TLS handshakes are bounded. asyncio counts a connection only after its handshake. A client
    may take a minute and a third of a megabyte for that. The service manager hears when the server
    listens, that it works, and when it stops.
    """

    service_manager = ServiceManager()

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_PER_REPORT == 0:
            self.service_manager.report_alive()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.service_manager.report_stopping()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if (context := self.config.ssl) is not None:
            peers = PeerConnections[Handshake]()
            begin: object = partial(Handshake, context=context, peers=peers)
            self.config.http_protocol_class, self.config.ssl = (
                cast("type[BoundedConnection]", begin),
                None,
            )
        await super().startup(sockets)
        for listening_socket in sockets or ():
            listening_socket.listen(MAX_UNACCEPTED)
        self.service_manager.report_ready()


class Handshake(asyncio.Protocol):
    """A connection before the end of its TLS handshake.

    If there are too many, the peer with the most loses its oldest one. `rest` are the arguments to
    make the connection with afterwards.
    """

    def __init__(
        self,
        *,
        context: ssl.SSLContext,
        peers: PeerConnections["Handshake"],
        **rest: Any,  # noqa: ANN401 # as uvicorn passes it
    ) -> None:
        self.context = context
        self.peers = peers
        self.make = partial(BoundedConnection, **rest)
        self.early = bytearray()
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()
        address = self.transport.get_extra_info("peername")
        self.peer = peer_key(address[0]) if address else ""
        self.peers.add(self.peer, self)
        if self.peers.count() > MAX_HANDSHAKES:
            next(iter(self.peers.sort_peers()[0])).abort()
        self.task = asyncio.get_running_loop().create_task(self.shake_hands())

    def data_received(self, data: bytes) -> None:
        """Keep the data that arrived with the end of the handshake."""
        self.early += data

    async def shake_hands(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                encrypted = await loop.start_tls(
                    self.transport, self, self.context, server_side=True
                )
        except OSError:
            self.abort()
            return
        self.peers.discard(self.peer, self)
        if encrypted is not None:
            connection = self.make()
            encrypted.set_protocol(connection)
            connection.connection_made(encrypted)
            if self.early:
                connection.data_received(bytes(self.early))

    def abort(self) -> None:
        self.peers.discard(self.peer, self)
        self.transport.abort()


class LengthRequired(h11.Connection):
    """Refuses a body in chunks, with 400: each chunk of a byte costs as much work as a request.

    Browsers send the length of a form.
    """

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.Request) and b"transfer-encoding" in dict(
            event.headers
        ):
            raise h11.RemoteProtocolError("a body needs a length")
        return event


class BoundedConnection(H11Protocol):
    """A connection with a time limit for the next request's head, and a limit for each peer.

    If there are too many, one is evicted: an idle one, of the peer with the most idle ones. So
    clients that send slowly or nothing, or connect again and again, lose their own connections.
    They shut out nobody at other addresses.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 # as uvicorn passes them
        super().__init__(*arguments, **options)
        self.conn = LengthRequired(h11.SERVER, self.conn._max_incomplete_event_size)  # noqa: SLF001 # uvicorn made it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn itself
        super().connection_made(transport)
        self.peer = peer_key(self.client[0]) if self.client else ""
        self.made_at = self.loop.time()
        self.head_timer: asyncio.TimerHandle | None = None
        self.stall_timer: asyncio.TimerHandle | None = None
        self.wait_for_head()
        self.peers = OPEN_CONNECTIONS.setdefault(self.server_state, PeerConnections())
        own = self.peers.add(self.peer, self)
        if not self.config.proxy_headers and has_too_many(own):
            choose_idle([own]).evict()
        elif (
            len(self.connections) > MAX_CONNECTIONS  # fast, but counts evicted ones too
            and self.peers.count() > MAX_CONNECTIONS
        ):
            choose_idle(self.peers.sort_peers()).evict()

    def evict(self) -> None:
        """Close this connection to make room for another."""
        self.peers.discard(self.peer, self)
        self.transport.abort()

    @property
    def is_answering(self) -> bool:
        """True from the head of a request until the end of its response."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_stream(self) -> bool:
        return (
            self.is_answering
            and self.scope is not None
            and self.scope["path"] == STREAM_PATH
        )

    @property
    def is_idle(self) -> bool:
        """True while the server does no work for the connection.

        The request or its body is still to come, the request waits for its turn, or the client does
        not read its response.
        """
        is_unread = self.stall_timer is not None
        return (
            not self.is_answering or self.cycle.more_body or self.is_queued or is_unread
        )

    @property
    def is_queued(self) -> bool:
        """True while the request waits for its turn."""
        return (turn := self.find_turn()) is not None and turn.is_queued

    def find_turn(self) -> RequestTurn | None:
        return None if self.scope is None else cast("Scope", self.scope).get(TURN)

    @property
    def is_pipelining(self) -> bool:
        """True if the next request has come before the response.

        No browser and no proxy sends so, but a flood.
        """
        return self.conn.their_state is h11.DONE and bool(self.conn.trailing_data[0])

    @property
    def is_new(self) -> bool:
        return self.loop.time() - self.made_at < NEW_CONNECTION_SECONDS

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.is_answering:
            self.stop_waiting()
            if self.is_pipelining:
                self.transport.abort()
        elif self.head_timer is None:
            self.wait_for_head()

    def wait_for_head(self) -> None:
        self.head_timer = self.loop.call_later(HEAD_TIMEOUT_SECONDS, self.close_if_idle)

    def stop_waiting(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def close_if_idle(self) -> None:
        self.head_timer = None
        if not self.is_answering:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Wait for the peer to read: what it has asked for is held here until then."""
        super().pause_writing()
        self.wait_for_reading(self.transport.get_write_buffer_size())

    def wait_for_reading(self, unread: int) -> None:
        self.stall_timer = self.loop.call_later(
            STALL_SECONDS, self.close_if_stalled, unread
        )

    def close_if_stalled(self, unread: int) -> None:
        """Close the connection of a peer that has read next to nothing; a slow one goes on."""
        now_unread = self.transport.get_write_buffer_size()
        if now_unread <= unread - LEAST_READ_BYTES:
            self.wait_for_reading(now_unread)
        else:
            self.transport.abort()

    def resume_writing(self) -> None:
        self.stop_stalling()
        super().resume_writing()

    def stop_stalling(self) -> None:
        if self.stall_timer is not None:
            self.stall_timer.cancel()
            self.stall_timer = None

    def send_400_response(self, msg: str) -> None:
        """Refuse data that is no HTTP before the application, with all other responses' headers."""
        headers = {
            "content-type": "text/plain; charset=utf-8",
            "connection": "close",
            **security_headers(
                is_secure=self.config.is_ssl or self.config.proxy_headers
            ),
        }
        events = (
            h11.Response(
                status_code=400, reason=b"Bad Request", headers=list(headers.items())
            ),
            h11.Data(data=msg.encode("ascii")),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_waiting()
        self.stop_stalling()
        self.peers.discard(self.peer, self)
        super().connection_lost(exc)
        if (turn := self.find_turn()) is not None and turn.is_queued:
            turn.end()


def has_too_many(own: Collection[BoundedConnection]) -> bool:
    """Return True if a peer has too many connections beside its live pages.

    An office may have many live pages.
    """
    return (
        len(own) > MAX_CONNECTIONS_PER_PEER
        and sum(not each.is_stream for each in own) > MAX_CONNECTIONS_PER_PEER
    )


def choose_idle(
    peers: Iterable[Collection[BoundedConnection]],
) -> BoundedConnection:
    """Return an idle connection of the peer with the most idle ones.

    It is the peer's oldest one, or its newest one if all are new. The peers with the most
    connections come first. One of them has just connected, so there is an idle one.
    """
    idle: list[BoundedConnection] = []
    for own in peers:
        if len(own) <= len(idle):
            break  # no further peer has more idle ones
        idle = max(idle, [each for each in own if each.is_idle], key=len)
    return idle[-1] if idle[0].is_new else idle[0]


async def serve_dashboard(
    settings: Settings,
    runtime: Runtime,
    *,
    report: Callable[..., None],
    is_supervised: bool = False,
) -> None:
    """Serve the dashboard until it has to stop, or, if supervised, until its parent is gone.

    `report` is called with a message code and the address once it listens. Raises RefusedError if
    it cannot listen.
    """
    dashboard, service_manager = (
        settings.dashboard,
        ServiceManager.take_from(os.environ),
    )
    logging.getLogger("uvicorn").setLevel(
        logging.CRITICAL
    )  # what a page raises is in our own log
    try:
        listening_socket = await asyncio.to_thread(bind_socket, dashboard.listen)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RefusedError(
            "web_listen_failed", address=dashboard.listen, reason=reason
        ) from None
    with contextlib.closing(listening_socket):
        require_rights(settings, can_send=False)
        async with open_application(
            settings, runtime, can_send=False, is_dashboard=True
        ) as application:
            await report_missing_rights(application)
            config = uvicorn.Config(
                create_dashboard(application),
                http=BoundedConnection,
                ws="none",
                loop="asyncio",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=dashboard.proxy is not None,
                forwarded_allow_ips=dashboard.proxy or "",
                ssl_certfile=_find_file(settings, dashboard.certificate),
                ssl_keyfile=_find_file(settings, dashboard.key),
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                backlog=ACCEPT_BATCH,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACEFUL_SECONDS,
            )
            server = PatientServer(config)
            server.service_manager = service_manager
            gc.freeze()  # what lives as long as this process is not visited by each collection
            gc.set_threshold(COLLECTION_THRESHOLD)
            if is_supervised:
                with contextlib.suppress(
                    PermissionError
                ):  # a service manager may forbid the call
                    os.nice(PAGES_NICENESS)
                asyncio.get_running_loop().add_reader(0, _stop_at_end_of_input, server)
            report("web_listening", address=dashboard.address)
            await server.serve(sockets=[listening_socket])


async def report_missing_rights(application: Application) -> None:
    """Alert people to data that cannot be saved for want of rights.

    All other pages and actions work.
    """
    problems = await asyncio.to_thread(find_missing_rights, application.settings)
    for problem in problems:
        log.warning("right_missing", code=problem.code, **problem.facts)
    await application.store.system_alerts.set_rights_alert(problems)


def _find_file(settings: Settings, name: str | None) -> str | None:
    """Return the path of a TLS file. Raises RefusedError if it cannot be read."""
    if name is None:
        return None
    path = settings.workspace / name
    if not os.access(path, os.R_OK):
        raise RefusedError("dashboard_file_missing", file=str(path))
    return str(path)


def _stop_at_end_of_input(server: uvicorn.Server) -> None:
    """Stop once the parent has closed our standard input, or is gone: it writes nothing there."""
    if not os.read(0, 1):
        asyncio.get_running_loop().remove_reader(0)
        server.should_exit = True
