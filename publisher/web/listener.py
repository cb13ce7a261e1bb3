"""The listener beside the daemon, in its process and its event loop: see `server` for why that is safe."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

from publisher.app.application import Application
from publisher.app.callbacks import check_now, make_endpoint_finder
from publisher.config import split_host_port
from publisher.runtime.logs import log
from publisher.web.callbacks import CallbackHandler
from publisher.web.server import HttpServer

LISTEN_BACKLOG = 4096
"""Callers that wait in the kernel, at no cost to us: at the server's rate the last waits four seconds; WeChat, five."""


@contextlib.asynccontextmanager
async def serve_callbacks(application: Application, report: Callable[[str, str], None]) -> AsyncIterator[None]:
    """Listen for platforms' messages, if the settings say where.

    `told` hears how it went, as a code and the address. A place that cannot be had stops nothing: whatever the
    messages tell is read by and by without them.
    """
    listen = application.settings.callbacks.listen
    if listen is None:
        yield
        return
    try:
        listening_socket = await asyncio.to_thread(bind_socket, listen)
    except OSError as error:
        log.error("callbacks_listen_failed", listen=listen, error=error.strerror or type(error).__name__)
        report("callbacks_listen_failed", listen)
        yield
        return
    report("callbacks_listening", listen)
    handler = CallbackHandler(
        find_endpoint=make_endpoint_finder(application.settings),
        check_now=lambda endpoint, hint: check_now(application.outbox, endpoint, hint),
        now=application.runtime.now,
    )
    async with HttpServer(listening_socket=listening_socket, handler=handler.handle).serving():
        try:
            yield
        finally:
            handler.rejection_log.close()


def bind_socket(listen: str) -> socket.socket:
    """Take an address at once, so that trouble with it is known before anything depends on it. Raises OSError."""
    found = socket.getaddrinfo(*split_host_port(listen), type=socket.SOCK_STREAM)
    family, kind, _protocol, _name, address = found[0]
    listening_socket = socket.socket(family, kind)
    try:
        listening_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening_socket.bind(address)
        listening_socket.listen(LISTEN_BACKLOG)
    except OSError:
        listening_socket.close()
        raise
    return listening_socket
