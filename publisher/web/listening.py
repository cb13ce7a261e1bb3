"""The listener beside the daemon, in its process and its event loop: see `server` for why that is safe."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

from publisher.settings import host_and_port
from publisher.telemetry import log
from publisher.web.callbacks import Listener
from publisher.web.server import Server
from publisher.wiring.application import Application
from publisher.wiring.listening import ears_of, hasten

BACKLOG = 4096
"""Callers that wait in the kernel, at no cost to us: at the server's rate the last waits four seconds; WeChat, five."""


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
        place = await asyncio.to_thread(take_place, listen)
    except OSError as error:
        log.error("callbacks_deaf", listen=listen, error=error.strerror or type(error).__name__)
        told("callbacks_deaf", listen)
        yield
        return
    told("callbacks_listening", listen)
    listener = Listener(
        find_ear=ears_of(application.settings),
        hasten=lambda ear, hint: hasten(application.outbox, ear, hint),
        now=application.world.now,
    )
    async with Server(place=place, handler=listener.answer).serving():
        try:
            yield
        finally:
            listener.refused.close()


def take_place(listen: str) -> socket.socket:
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
