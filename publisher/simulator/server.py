"""The simulator as a server."""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from .app import create_app
from .certificate import make_certificate

LISTEN_BACKLOG = 2048


class SimulatorServer(uvicorn.Server):
    """A uvicorn server that leaves signals to its caller, and calls back when it listens."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsListener:
    """Where to serve the same state over TLS as well; `on_ready` receives the port and the certificate's file."""

    host: str
    port: int
    on_ready: Callable[[int, Path], None] | None = None


async def serve(
    host: str,
    port: int,
    state_dir: Path | None = None,
    on_ready: Callable[[int], None] | None = None,
    *,
    tls: TlsListener | None = None,
) -> None:
    """Serve all three platforms until cancelled; port 0 takes a free one, `on_ready` receives the port.

    The certificate for `tls` is created on each start, in the state's folder if there is one. Both addresses are bound
    before either serves; when one server ends, so does the other. Raises CertificateError.
    """
    app = create_app(state_dir)
    if tls is None:
        await serve_app(app, host, port, on_ready)
        return
    with tempfile.TemporaryDirectory() as temporary:
        certificate = await asyncio.to_thread(make_certificate, state_dir or Path(temporary), tls.host)

        def on_tls_ready(port: int) -> None:
            if tls.on_ready:
                tls.on_ready(port, certificate[0])

        with contextlib.closing(_bind(host, port)) as plain, contextlib.closing(_bind(tls.host, tls.port)) as secure:
            async with asyncio.TaskGroup() as servers:
                servers.create_task(_serve_on(app, plain, on_ready))
                servers.create_task(_serve_on(app, secure, on_tls_ready, certificate))


async def serve_app(
    app: Starlette,
    host: str,
    port: int,
    on_ready: Callable[[int], None] | None = None,
    *,
    certificate: tuple[Path, Path] | None = None,
) -> None:
    """Serve an existing application, over TLS with a certificate and its key; it may be served both ways at once."""
    await _serve_on(app, _bind(host, port), on_ready, certificate)


async def _serve_on(
    app: Starlette,
    listener: socket.socket,
    on_ready: Callable[[int], None] | None,
    certificate: tuple[Path, Path] | None = None,
) -> None:
    chain, key = certificate or (None, None)
    config = uvicorn.Config(
        app,
        access_log=False,
        server_header=False,
        date_header=False,  # responses carry the simulator's own time, which may be shifted
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

    server = SimulatorServer(config, ready)
    try:
        await server.serve(sockets=[listener])
    except asyncio.CancelledError:
        await server.shutdown(sockets=[listener])
        raise
    finally:
        listener.close()


def _bind(host: str, port: int) -> socket.socket:
    """Bind a socket with an explicit protocol: only then does asyncio send small responses at once (TCP_NODELAY)."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(LISTEN_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
