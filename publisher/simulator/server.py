"""The simulator as a server, over TLS as well.

TLS serves clients that speak it to the platforms' fixed hosts.
"""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from .app import create_app

LISTEN_BACKLOG = 2048
CERTIFICATE_FILE, KEY_FILE = "simulator.crt", "simulator.key"
PLATFORM_HOSTS = (
    "localhost",
    "api.weibo.com",
    "c.api.weibo.com",
    "upload.api.weibo.com",
    "api.weixin.qq.com",
    "tieba.baidu.com",
    "tiebac.baidu.com",
)
LOOPBACK_ADDRESSES = ("127.0.0.1", "::1")
VALIDITY_DAYS = "30"
OPENSSL_TIMEOUT_SECONDS = 30


class CertificateError(Exception):
    """The certificate cannot be created.

    `reason` is `missing` without the openssl program, else `failed`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


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
    """Where to serve the same state over TLS as well.

    `on_ready` receives the port and the certificate's file.
    """

    host: str
    port: int
    on_ready: Callable[[int, Path], None] | None = None


async def serve(  # noqa: PLR0913 # an address, what is served there, and whom to notify
    host: str,
    port: int,
    state_dir: Path | None = None,
    on_ready: Callable[[int], None] | None = None,
    *,
    tls: TlsListener | None = None,
    account_names: Mapping[tuple[str, str], str] | None = None,
) -> None:
    """Serve all three platforms until cancelled; port 0 takes a free one for `on_ready`.

    `on_ready` receives the port. `account_names` are shown for accounts that nobody has named, by
    platform and identity.

    The certificate for `tls` is created on each start, in the state's folder if there is one. Both
    addresses are bound before either serves. When one server ends, so does the other. Raises
    CertificateError.
    """
    app = create_app(state_dir, account_names)
    if tls is None:
        await serve_app(app, host, port, on_ready)
        return
    with tempfile.TemporaryDirectory() as temporary:
        certificate = await asyncio.to_thread(
            make_certificate, state_dir or Path(temporary), tls.host
        )

        def on_tls_ready(port: int) -> None:
            if tls.on_ready:
                tls.on_ready(port, certificate[0])

        with (
            contextlib.closing(_bind(host, port)) as plain,
            contextlib.closing(_bind(tls.host, tls.port)) as secure,
        ):
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
    """Serve an existing application, over TLS with a certificate and its key.

    It may be served both ways at once.
    """
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
    """Bind a socket with an explicit protocol.

    Only then does asyncio send small responses at once (TCP_NODELAY).

    Raises OSError, with the address as its file name.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
    except OSError as error:
        error.filename = f"{host}:{port}"
        raise
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        error.filename = f"{host}:{port}"
        raise
    return listener


def make_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """Create a self-signed certificate and its key by the openssl program.

    Only the owner can read the key.

    Raises CertificateError.
    """
    program = shutil.which("openssl")
    if program is None:
        raise CertificateError("missing")
    chain, key = folder / CERTIFICATE_FILE, folder / KEY_FILE
    key.unlink(missing_ok=True)
    key.touch(mode=0o600)
    names = [f"DNS:{name}" for name in PLATFORM_HOSTS] + [
        f"IP:{address}" for address in LOOPBACK_ADDRESSES
    ]
    if host not in (*PLATFORM_HOSTS, *LOOPBACK_ADDRESSES):
        try:
            ip_address(host)
        except ValueError:
            names.append(f"DNS:{host}")
        else:
            names.append(f"IP:{host}")
    kind = (
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        VALIDITY_DAYS,
    )
    subject = (
        "-subj",
        "/CN=publisher simulator",
        "-addext",
        "subjectAltName=" + ",".join(names),
    )
    try:
        subprocess.run(  # noqa: S603 # a fixed program, and no argument from outside but the host name
            [
                program,
                "req",
                "-x509",
                *kind,
                *subject,
                "-keyout",
                str(key),
                "-out",
                str(chain),
            ],
            check=True,
            capture_output=True,
            timeout=OPENSSL_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CertificateError("failed") from error
    return chain, key
