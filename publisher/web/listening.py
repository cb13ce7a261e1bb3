"""The listener beside the daemon, in its process."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn

from publisher.settings import host_and_port
from publisher.telemetry import log
from publisher.web.callbacks import Listener, create_app
from publisher.wiring.application import Application
from publisher.wiring.listening import ears_of, hasten

BACKLOG = 128
MOST_AT_ONCE = 50
"""Requests in hand; more are answered with 503, so that a flood cannot hold up the sending."""
IDLE = 5
"""Seconds for which an idle connection is kept."""


class _Server(uvicorn.Server):
    """A uvicorn that leaves signals to the daemon."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def listening(application: Application, told: Callable[[str, str], None]) -> AsyncIterator[None]:
    """Listen for platforms' messages, if the settings say where.

    `told` hears how it went, as a code and the address. A place that cannot be had stops nothing: whatever the
    messages tell is read by and by without them.
    """
    listen = application.settings.callbacks.listen
    if listen is None:
        yield
        return
    try:
        place = await asyncio.to_thread(_take, listen)
    except OSError as error:
        log.error("callbacks_deaf", listen=listen, error=error.strerror or type(error).__name__)
        told("callbacks_deaf", listen)
        yield
        return
    told("callbacks_listening", listen)
    async with _serving(application, place):
        yield


@contextlib.asynccontextmanager
async def _serving(application: Application, place: socket.socket) -> AsyncIterator[None]:
    listener = Listener(
        find_ear=ears_of(application.settings),
        hasten=lambda ear, hint: hasten(application.outbox, ear, hint),
        now=application.world.now,
    )
    config = uvicorn.Config(
        create_app(listener),
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_config=None,
        log_level="error",
        lifespan="off",
        ws="none",
        backlog=BACKLOG,
        limit_concurrency=MOST_AT_ONCE,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[place]))
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait([serving])
        place.close()
        if not serving.cancelled() and (error := serving.exception()):
            log.error("callbacks_failed", error=type(error).__name__)


def _take(listen: str) -> socket.socket:
    """Take an address at once, so that trouble with it is known before anything depends on it. Raises OSError."""
    found = socket.getaddrinfo(*host_and_port(listen), type=socket.SOCK_STREAM)
    family, kind, _protocol, _name, address = found[0]
    place = socket.socket(family, kind)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
        place.listen(BACKLOG)
    except OSError:
        place.close()
        raise
    return place
