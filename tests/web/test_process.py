"""The dashboard's process.

It serves beside the daemon, ends with it, and its failures are reported.
"""

import asyncio
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import urllib.request
from dataclasses import dataclass

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from publisher.config import load_settings
from publisher.web import process
from publisher.web.http import supervisor
from tests.cli.conftest import publisher_command
from tests.ports import free_port
from tests.wait import eventually, wait_until
from tests.web.conftest import make_workspace

PATIENCE = 90
"""Seconds until something must have happened, on a machine that is busy with other tests."""
CONNECT_SECONDS = 0.9
"""A connection that the kernel does not keep is only tried again after a second."""
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def serve_at(folder, port):
    """Let a workspace serve its dashboard on this port."""
    make_workspace(folder)
    with (folder / "publisher.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[dashboard]\nlisten = "127.0.0.1:{port}"\n')


def read_login(port):
    """Return the page of the sign-in; None while nobody serves it."""
    address = f"http://127.0.0.1:{port}/login"
    gone = (OSError, http.client.HTTPException)  # it may end while it answers
    # loopback
    with (
        contextlib.suppress(*gone),
        urllib.request.urlopen(address, timeout=PATIENCE) as page,
    ):
        return page.read().decode()
    return None


@pytest.mark.long
def test_the_daemon_brings_the_pages_and_takes_them_with_it(tmp_path):
    """`run` serves the dashboard in another process.

    This process ends even when the daemon is killed.
    """
    port = free_port()
    serve_at(tmp_path / "drill", port)
    with (tmp_path / "log").open("w") as log:
        command = publisher_command("-C", tmp_path / "drill", "run")
        daemon = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True
        )
    try:
        page = wait_until(lambda: read_login(port))
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait(PATIENCE)
        assert re.search("publisher user add", page)
        assert wait_until(lambda: read_login(port) is None)
    finally:
        daemon.kill()


@pytest.mark.long
async def test_a_dashboard_that_cannot_start_is_reported(tmp_path, monkeypatch, capfd):
    """Where another program has the port, an alert is raised after the attempts to start."""
    monkeypatch.setattr(supervisor, "ALERT_AFTER_FAILURES", 1)
    # a slow start does not count as running
    monkeypatch.setattr(supervisor, "STABLE_SECONDS", PATIENCE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        await asyncio.to_thread(serve_at, tmp_path / "drill", taken.getsockname()[1])
        reported = asyncio.Queue()
        async with supervisor.run_dashboard(
            await load_settings(tmp_path / "drill"), reported.put
        ):
            code = await asyncio.wait_for(reported.get(), PATIENCE)
    assert code not in {"", "0"}
    assert "不能监听" in capfd.readouterr().err


@contextlib.asynccontextmanager
async def serving(app, batch=process.ACCEPT_BATCH):
    """Serve an application on bounded connections; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        server = process.PatientServer(
            uvicorn.Config(
                app,
                http=process.BoundedConnection,
                ws="none",
                lifespan="off",
                log_config=None,
                backlog=batch,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[place]))
        await eventually(lambda: server.started, PATIENCE, "the server")
        try:
            yield place.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            await task


async def connect(port, address, sent=b""):
    """Connect from an address of this machine, and send this."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, local_addr=(address, 0)
    )
    writer.write(sent)
    return reader, writer


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"GET / HTTP/1.1\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
    ],
)
async def test_clients_that_never_finish_shut_nobody_out(first, monkeypatch):
    """Clients that never finish shut nobody out.

    Where such clients take all connections, new ones are served, and a client with few keeps them.
    """
    monkeypatch.setattr(process, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(process, "NEW_CONNECTION_SECONDS", 0.0)

    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await PlainTextResponse("served")(scope, receive, send)

    async with serving(app) as port, asyncio.timeout(PATIENCE):
        reader, writer = await connect(port, "127.0.0.3")
        floods = [await connect(port, "127.0.0.2", first) for _ in range(20)]
        others = [await connect(port, "127.0.0.1", REQUEST) for _ in range(3)]
        answers = [await reader.read() for reader, _writer in others]
        writer.write(REQUEST)
        answers.append(await reader.read())
        for _reader, flood in [*floods, *others]:
            flood.close()
        writer.close()
    assert [answer.partition(b" ")[2][:3] for answer in answers] == [b"200"] * 4


async def test_f90_a_connection_has_one_request_at_a_time():
    """F90: of requests that are sent all at once one is worked on.

    A client that waits for each response keeps the connection.
    """
    begun, is_over = [], asyncio.Event()

    async def app(scope, receive, send):
        begun.append(scope["path"])
        if scope["path"] == "/flood":
            await is_over.wait()
        await PlainTextResponse("served")(scope, receive, send)

    request = REQUEST.replace(b"Connection: close\r\n", b"")
    async with serving(app) as port, asyncio.timeout(PATIENCE):
        flood, flooding = await connect(
            port, "127.0.0.2", request.replace(b"GET /", b"GET /flood") * 30
        )
        closed = await flood.read()
        reader, writer = await connect(port, "127.0.0.1")
        answers = []
        for _ in range(2):
            writer.write(request)
            answers.append((await reader.readuntil(b"served")).partition(b" ")[2][:3])
        is_over.set()
        for each in (flooding, writer):
            each.close()
    assert (closed, answers, begun) == (b"", [b"200"] * 2, ["/flood", "/", "/"])


@pytest.mark.long
async def test_f90_a_client_that_reads_nothing_is_closed(monkeypatch):
    """F90: responses are not held for it without end; one that reads slowly gets all of its own."""
    monkeypatch.setattr(process, "STALL_SECONDS", 0.5)
    size, ended = 2**24, []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(
            {"type": "http.response.body", "body": b"x" * size, "more_body": True}
        )
        # once it has read
        await send({"type": "http.response.body", "body": b"x", "more_body": False})
        ended.append(scope["path"])

    async with serving(app) as port, asyncio.timeout(PATIENCE):
        reader, writer = await connect(port, "127.0.0.1", REQUEST)
        received = 0
        while part := await reader.read(2**18):
            received += len(part)
        silent = socket.create_connection(("127.0.0.1", port))
        silent.sendall(REQUEST.replace(b"GET /", b"GET /silent"))
        await eventually(
            lambda: "/silent" in ended, PATIENCE, "the end of the silent client"
        )
        writer.close()
        silent.close()
    assert received > size


async def test_f90_clients_that_do_not_read_their_responses_shut_nobody_out(
    monkeypatch,
):
    """F90: a response that nobody reads gives way to new connections, also if a little is read."""
    monkeypatch.setattr(process, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(process, "NEW_CONNECTION_SECONDS", 0.0)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        chunks = 200 if scope["path"] == "/flood" else 0
        for _ in range(chunks):
            chunk = b"x" * 2**18
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"served"})

    async with serving(app) as port, asyncio.timeout(PATIENCE):
        flood = REQUEST.replace(b"GET /", b"GET /flood")
        floods = []
        for number in range(8):
            one = await connect(port, f"127.0.0.{2 + number % 2}", flood)
            await eventually(
                lambda one=one: (found := find_connection(one)) and found.stall_timer,
                PATIENCE,
                "a response that nobody reads",
            )
            floods.append(one)
        others = [await connect(port, "127.0.0.1", REQUEST) for _ in range(3)]
        answers = [await reader.read() for reader, _writer in others]
        for _reader, writer in [*floods, *others]:
            writer.close()
    assert [answer.partition(b" ")[2][:3] for answer in answers] == [b"200"] * 3


async def test_f90_connections_are_accepted_a_few_at_a_time(monkeypatch):
    """F90: of simultaneous connections a few are accepted in a turn of the event loop.

    The kernel keeps the others.
    """
    made, made_in_turn = [], []
    monkeypatch.setattr(
        process.BoundedConnection, "connection_made", lambda *_args: made.append(None)
    )
    monkeypatch.setattr(
        process.BoundedConnection, "connection_lost", lambda *_args: None
    )
    async with serving(None, batch=4) as port, asyncio.timeout(PATIENCE):
        with contextlib.ExitStack() as clients:
            for _ in range(40):  # nothing is accepted before the loop's next turn
                clients.enter_context(
                    socket.create_connection(
                        ("127.0.0.1", port), timeout=CONNECT_SECONDS
                    )
                )
            while len(made) < 40:
                before = len(made)
                await asyncio.sleep(0)
                made_in_turn.append(len(made) - before)
    assert max(made_in_turn) <= 4


def find_connection(client):
    """Return the server's side of a client's connection; None while it is not accepted."""
    address = client[1].get_extra_info("sockname")
    every = (
        each
        for peers in process.OPEN_CONNECTIONS.values()
        for own in peers.values()
        for each in own
    )
    return next((each for each in every if each.client == address), None)


async def test_f90_a_flood_of_new_connections_closes_only_its_own(monkeypatch):
    """F90: a flood of new connections closes only its own, newest ones.

    Nobody else loses a connection, be it old or new.
    """
    monkeypatch.setattr(process, "MAX_CONNECTIONS", 6)
    monkeypatch.setattr(process, "NEW_CONNECTION_SECONDS", PATIENCE)
    monkeypatch.setattr(process, "HEAD_TIMEOUT_SECONDS", PATIENCE)
    async with serving(PlainTextResponse("served")) as port, asyncio.timeout(PATIENCE):
        old = await connect(port, "127.0.0.3")
        (await eventually(lambda: find_connection(old), PATIENCE)).made_at -= PATIENCE
        floods = [await connect(port, "127.0.0.2") for _ in range(5)]
        new = await connect(port, "127.0.0.1")
        floods += [await connect(port, "127.0.0.2") for _ in range(5)]
        closed = [await reader.read() for reader, _writer in floods[4:]]
        kept = [old, new, *floods[:4]]
        for _reader, writer in kept:
            writer.write(REQUEST)
        answers = [await reader.read() for reader, _writer in kept]
        for _reader, writer in [*kept, *floods[4:]]:
            writer.close()
    assert closed == [b""] * 6
    assert [answer.partition(b" ")[2][:3] for answer in answers] == [b"200"] * 6


async def test_f90_an_office_with_many_live_pages_is_still_answered(monkeypatch):
    """F90: streams do not count as connections of an address; waiting ones do.

    The limit for an address counts its connections that wait for a request.
    """
    monkeypatch.setattr(process, "MAX_CONNECTIONS_PER_PEER", 4)
    is_over = asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"] == process.STREAM_PATH:
            await is_over.wait()
        await PlainTextResponse("served")(scope, receive, send)

    async with serving(app) as port, asyncio.timeout(PATIENCE):
        pages = [
            await connect(port, "127.0.0.1", REQUEST.replace(b"GET /", b"GET /events"))
            for _ in range(8)
        ]
        for page in pages:
            await eventually(
                lambda page=page: (found := find_connection(page)) and found.is_stream,
                PATIENCE,
            )
        others = [await connect(port, "127.0.0.1", REQUEST) for _ in range(3)]
        answers = [await reader.read() for reader, _writer in others]
        is_over.set()
        answers += [await reader.read() for reader, _writer in pages]
        for _reader, writer in [*pages, *others]:
            writer.close()
    assert [answer.partition(b" ")[2][:3] for answer in answers] == [b"200"] * 11


@dataclass(eq=False)
class FakeConnection:
    is_idle: bool
    is_new: bool = False


def test_an_office_with_many_live_pages_does_not_give_way_to_a_flood():
    """An office with many live pages does not give way to a flood.

    The peer with the most idle connections loses its oldest one, not the peer with the most
    connections.
    """
    office = dict.fromkeys(
        [
            *(FakeConnection(is_idle=False) for _ in range(5)),
            FakeConnection(is_idle=True),
        ]
    )
    flood = dict.fromkeys(FakeConnection(is_idle=True) for _ in range(4))
    assert process.choose_idle([office, flood]) is next(iter(flood))


def test_of_one_peer_the_oldest_closes_or_of_new_ones_the_newest():
    """Of one peer the oldest connection closes, or of new ones the newest.

    A connection in its first second closes only where its peer has none that is idle for longer.
    """
    live, newer, newest = (
        FakeConnection(is_idle=False),
        *(FakeConnection(is_idle=True, is_new=True) for _ in range(2)),
    )
    older = FakeConnection(is_idle=True)
    assert process.choose_idle([[live, older, newer, newest]]) is older
    assert process.choose_idle([[live, newer, newest]]) is newest


async def test_f90_a_body_in_chunks_is_refused_with_its_head():
    """F90: chunks of a byte would take the whole processor, and no browser sends a form so."""

    async def app(_scope, receive, _send):
        await receive()

    head = b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(app) as port, asyncio.timeout(PATIENCE):
        reader, writer = await connect(port, "127.0.0.3", head + b"1\r\nx\r\n" * 1_000)
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
