"""The simulator as a server of its own."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from .app import create_app

BACKLOG = 2048


class Server(uvicorn.Server):
    """A uvicorn that leaves signals to whoever started it, and says when it listens."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


async def serve(
    host: str, port: int, state_dir: Path | None = None, on_ready: Callable[[int], None] | None = None
) -> None:
    """Serve all three platforms until cancelled; port 0 takes a free one, `on_ready` is told which."""
    await serve_app(create_app(state_dir), host, port, on_ready)


async def serve_app(
    app: Starlette,
    host: str,
    port: int,
    on_ready: Callable[[int], None] | None = None,
    *,
    certificate: tuple[Path, Path] | None = None,
) -> None:
    """Serve an application that exists; with a certificate and its key over TLS. One may be served twice, both ways."""
    listener = _listen(host, port)
    chain, key = certificate or (None, None)
    config = uvicorn.Config(
        app,
        access_log=False,
        server_header=False,
        log_config=None,
        log_level="error",
        lifespan="on",
        ws="none",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        ssl_certfile=chain,
        ssl_keyfile=key,
    )

    def ready() -> None:
        if on_ready:
            on_ready(listener.getsockname()[1])

    server = Server(config, ready)
    try:
        await server.serve(sockets=[listener])
    except asyncio.CancelledError:
        await server.shutdown(sockets=[listener])
        raise
    finally:
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    """The protocol is named on purpose: only then does asyncio send small answers at once (TCP_NODELAY)."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
