"""When a call is given up, its attempt is over.

Nothing that is still on this machine is sent afterwards.
"""

import asyncio
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from adapters import _http
from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.results import Unknown
from publisher.simulator.server import make_certificate
from tests.adapters.test_http_bytes import OK, PARCEL, http_for, post, raw_server, take

ROOT = Path(__file__).parents[2]
BODY = bytes(96_000)
"""A body larger than the receive buffer of a server that does not read.

It is small enough for this machine's own buffers.
"""
NARROW = 2048
"""Size in bytes of the server's receive buffer."""
PATIENCE = 60


@dataclass
class BusyServer:
    """Accepts one connection, reads nothing until it is `free`, then everything."""

    listener: socket.socket
    context: ssl.SSLContext | None = None
    connected: threading.Event = field(default_factory=threading.Event)
    free: threading.Event = field(default_factory=threading.Event)
    received: bytearray = field(default_factory=bytearray)
    end: type[Exception] | None = None

    @property
    def url(self) -> str:
        scheme = "https" if self.context else "http"
        return f"{scheme}://127.0.0.1:{self.listener.getsockname()[1]}/post"

    def serve(self) -> None:
        raw, _ = self.listener.accept()
        raw.settimeout(PATIENCE)
        connection = raw
        if self.context:
            connection = self.context.wrap_socket(
                raw, server_side=True, suppress_ragged_eofs=False
            )
        with connection:
            self.connected.set()
            assert self.free.wait(PATIENCE)
            try:
                while part := connection.recv(65536):
                    self.received += part
            except OSError as error:
                self.end = type(error)


@pytest.fixture(params=["tcp", "tls"])
def server(request, tmp_path, monkeypatch):
    """Run a server that does not read, over plain TCP or with TLS."""
    context = None
    if request.param == "tls":
        chain, key = make_certificate(tmp_path, "127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        trust = ssl.create_default_context(cafile=str(chain))
        monkeypatch.setattr(_http, "load_tls_context", lambda: trust)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        busy = BusyServer(listener, context)
        with ThreadPoolExecutor(1) as pool:
            served = pool.submit(busy.serve)
            yield busy, served
            busy.free.set()


async def read_to_end(server: BusyServer, served: Future[None]) -> None:
    """Let the server read until the connection ends."""
    server.free.set()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wrap_future(served)


async def by_deadline(server: BusyServer) -> None:
    loop, late = asyncio.get_running_loop(), [0.0]
    loop.time = lambda: time.monotonic() + late[0]

    def let_an_hour_pass(name: str) -> None:
        if name == "http.after_body":
            late[0] = 3600.0

    http = http_for(request_timeout=timedelta(hours=1), failpoint=let_an_hour_pass)
    call = HttpRequest(method="POST", url=server.url, content=BODY)
    assert await http.create(call, PARCEL) == Unknown(reason="timeout")


async def by_cancellation(server: BusyServer) -> None:
    sent = asyncio.Event()
    http = http_for(
        failpoint=lambda name: sent.set() if name == "http.after_body" else None
    )
    call = asyncio.create_task(
        http.create(HttpRequest(method="POST", url=server.url, content=BODY), PARCEL)
    )
    async with asyncio.timeout(PATIENCE):
        await sent.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


KILLED = """
import asyncio, os, signal, sys
from publisher.contract import HttpRequest
from tests.adapters.test_http_bytes import PARCEL, http_for

def die(name):
    if name == "http.after_body":
        os.kill(os.getpid(), signal.SIGKILL)

call = HttpRequest(method="POST", url=sys.argv[1], content=bytes(int(sys.argv[2])))
asyncio.run(http_for(failpoint=die).create(call, PARCEL))
"""


async def by_kill(server: BusyServer) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, server.url, str(len(BODY)), cwd=ROOT
    )
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("give_up", [by_deadline, by_cancellation])
async def test_what_a_given_up_call_left_unsent_never_arrives_f21_f25(
    server, give_up: Callable
):
    """F21, F25: the unsent rest of a call that was given up never arrives.

    A server that begins to read afterwards does not get the whole request.
    """
    busy, served = server
    await give_up(busy)
    await read_to_end(busy, served)
    assert busy.end is not None
    assert len(busy.received) < len(BODY)


@pytest.mark.long
@pytest.mark.parametrize("server", ["tcp"], indirect=True)
async def test_what_a_killed_process_left_unsent_never_arrives_f03(server):
    """F03: the kernel drops the bytes of a killed process that the server has not received."""
    busy, served = server
    await by_kill(busy)
    await read_to_end(busy, served)
    assert busy.end is ConnectionResetError
    assert len(busy.received) < len(BODY)


async def test_a_call_that_was_answered_ends_without_a_reset():
    """A server that sees the connection end after its answer gets no error."""
    ends: list[bytes] = []

    async def answer_and_wait(reader, writer):
        await take(reader)
        writer.write(OK)
        ends.append(await reader.read())

    async with raw_server(answer_and_wait) as platform:
        answer = await http_for().create(post(platform.url), PARCEL)
        await platform.ended.wait()
    assert isinstance(answer, HttpResponse)
    assert ends == [b""]


async def test_a_connection_that_is_closed_already_is_finished_without_an_error(server):
    """A server that closes right after its reply may be faster than the client.

    Its reply counts.
    """
    busy, served = server
    busy.free.set()
    secure = {"ssl": _http.load_tls_context()} if busy.context else {}
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", busy.listener.getsockname()[1], **secure
    )
    stream = _http._NetworkStream(reader, writer)
    await stream.aclose()
    await asyncio.sleep(0)
    stream.finish()
    await read_to_end(busy, served)
    assert busy.end is not None
