"""F90: clients can use a bounded share of the listener.

Requests are answered among many silent clients.
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from publisher.web.http.callbacks import bind_socket
from publisher.web.http.server import (
    MAX_BODY_BYTES,
    MAX_BODY_PARTS,
    MAX_HEAD_BYTES,
    MAX_HEAD_LINES,
    SECURITY_HEADERS,
    HttpLimits,
    HttpServer,
    ThrottledLog,
    peer_key,
)
from tests.wait import eventually

ENDLESS = 3600.0
SHORT_INTERVAL = 0.05
LONGEST = 120
"""Seconds that a test may take: a broken promise often shows as an answer that never comes."""
PATIENT = {
    "head_timeout_seconds": ENDLESS,
    "body_timeout_seconds": ENDLESS,
    "accept_interval_seconds": 0.001,
    "accepts_per_second": 1e6,
    "read_interval_seconds": 0.001,
    "shortage_pause_seconds": 0.001,
}
"""Limits that close no slow client."""
GET, POST = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /x HTTP/1.1\r\nHost: a\r\n"


class ServerFixture:
    """A server on a free port of this machine, and its clients."""

    def __init__(self, stack, limits, handler, **more):
        self.stack = stack
        self.requests = []
        self.place = bind_socket("127.0.0.1:0")
        self.port = self.place.getsockname()[1]

        async def answer(request):
            self.requests.append(request)
            return await handler(request)

        self.server = HttpServer(
            listening_socket=self.place, handler=answer, limits=limits, **more
        )

    async def call(self, address="127.0.0.1"):
        """Connect from an address of this machine, and send nothing."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(address, 0)
        )
        self.stack.callback(writer.close)
        return reader, writer

    async def ask(self, request, address="127.0.0.1"):
        """Send a request and return the status of the answer.

        Return None when the connection was closed without an answer.
        """
        return await status(await self.begin(request, address))

    async def begin(self, request, address="127.0.0.1"):
        reader, writer = await self.call(address)
        writer.write(request)
        return reader


async def status(reader):
    try:
        answer = await reader.read()
    except ConnectionResetError:
        return None
    return int(answer.split()[1]) if answer else None


@asynccontextmanager
async def open_server(handler=None, *, count_free_descriptors=None, **limits):
    async def welcome(request):
        return 200, request.method

    more = (
        {"count_free_descriptors": count_free_descriptors}
        if count_free_descriptors
        else {}
    )
    async with asyncio.timeout(LONGEST), AsyncExitStack() as stack:
        made = ServerFixture(
            stack, HttpLimits(**{**PATIENT, **limits}), handler or welcome, **more
        )
        await stack.enter_async_context(made.server.serving())
        yield made


async def read_on(request):
    await request.body()
    return 200, ""


async def test_f90_a_request_is_answered_among_silent_clients():
    """F90: a full server closes the oldest silent connection.

    A client that sends a request gets its answer.
    """
    async with open_server(
        max_connections=4, max_connections_per_peer=4, accept_batch=2
    ) as here:
        silent = [await here.call() for _ in range(20)]
        assert await here.ask(GET) == 200
        assert [await status(reader) for reader, _ in silent[:16]] == [None] * 16
        assert len(here.server.connections) <= 4


@pytest.mark.parametrize(
    "half", [GET[:-2], POST + b"Content-Length: 5\r\n\r\n1234"], ids=["head", "body"]
)
async def test_f90_an_incomplete_request_counts_as_silent(half):
    """F90: half a head, or a missing body, keeps no other client out."""
    async with open_server(
        read_on, max_connections=2, max_connections_per_peer=2, accept_batch=1
    ) as here:
        halves = [await here.begin(half) for _ in range(6)]
        assert [await here.ask(GET) for _ in range(3)] == [200] * 3
        assert [await status(reader) for reader in halves[:4]] == [None] * 4


async def test_f90_a_connection_that_is_being_answered_is_not_closed():
    """F90: where every connection has sent its request, the newcomer is refused."""
    asked, may_answer = asyncio.Semaphore(0), asyncio.Event()

    async def wait(request):
        asked.release()
        await may_answer.wait()
        return 200, ""

    async with open_server(
        wait, max_connections=2, max_connections_per_peer=2, accept_batch=1
    ) as here:
        first = [asyncio.create_task(here.ask(GET)) for _ in range(2)]
        for _ in first:
            await asked.acquire()
        assert await here.ask(GET) is None
        may_answer.set()
        assert await asyncio.gather(*first) == [200, 200]


async def test_f90_clients_are_accepted_a_few_at_a_time():
    """F90: of many simultaneous clients, one batch is accepted per interval.

    The others wait in the kernel.
    """
    asked = asyncio.Semaphore(0)

    async def wait(request):
        asked.release()
        await asyncio.Event().wait()

    async with open_server(
        wait, accept_batch=2, accept_interval_seconds=ENDLESS
    ) as here:
        for _ in range(5):
            client = here.stack.enter_context(
                socket.create_connection(("127.0.0.1", here.port))
            )
            client.sendall(GET)
        await asked.acquire()
        await asked.acquire()
        assert len(here.server.connections) == 2


async def test_f90_one_address_takes_no_more_than_its_share():
    """F90: a client that connects again and again only closes its own connections."""
    async with open_server(
        max_connections=10, max_connections_per_peer=2, accept_batch=1
    ) as here:
        other, writer = await here.call("127.0.0.2")
        many = [await here.call() for _ in range(20)]
        assert [await status(reader) for reader, _ in many[:-2]] == [None] * 18
        writer.write(GET)
        assert await status(other) == 200


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_f90_a_client_is_an_address_or_a_customers_network(address, peer):
    """F90: the many addresses that one customer has in IPv6 count as one."""
    assert peer_key(address) == peer


async def drip(reader, writer, data):
    """Write bytes one by one until the connection is closed without an answer."""
    answer = asyncio.create_task(reader.read())
    for byte in data:
        writer.write(bytes([byte]))
        await asyncio.wait({answer}, timeout=0.01)
        if answer.done():
            break
    else:
        pytest.fail("it was taken to its end")
    with contextlib.suppress(ConnectionResetError):
        assert await answer == b""


@pytest.mark.parametrize(
    "started", [b"", POST + b"Content-Length: 5000\r\n\r\n"], ids=["head", "body"]
)
async def test_f90_silent_and_slow_clients_are_closed(started):
    """F90: a head, and a body, must be complete within their time.

    A steady arrival of bytes does not extend it.
    """
    async with open_server(
        read_on, head_timeout_seconds=0.1, body_timeout_seconds=0.1
    ) as here:
        silent, writer = await here.call()
        writer.write(started)
        assert await status(silent) is None
        dripping, writer = await here.call()
        writer.write(started)
        await drip(dripping, writer, b"x" * 5000)
        assert not here.requests or started


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"GET /x HTTP/1.1\r\nHost: a\r\nX: " + b"x" * MAX_HEAD_BYTES * 2, 400),
        (
            b"GET /x HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * MAX_HEAD_LINES + b"\r\n",
            400,
        ),
        (
            b"GET /x?"
            + b"&".join(b"%d=1" % n for n in range(17))
            + b" HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
        ),
        (b"GET /x?a=" + b"x" * 129 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /x?" + b"x" * 129 + b"=a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /x?a=1&a=2 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /" + b"x" * 2048 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01 no HTTP at all\r\n\r\n", 400),
    ],
    ids=["head", "lines", "names", "value", "name", "twice", "target", "no HTTP"],
)
async def test_f90_an_oversized_head_is_refused(request_, expected):
    """F90: a head that is too long, too large, repeated or missing is refused before it is used."""
    async with open_server() as here:
        assert await here.ask(request_) == expected
        assert not here.requests


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 100000\r\n\r\n" + b"x" * (MAX_BODY_BYTES + 1),
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (MAX_BODY_PARTS + 1),
    ],
    ids=["long", "in small pieces"],
)
async def test_f90_an_oversized_body_is_refused(body):
    """F90: a body is read up to its limit, and so are its chunks."""
    async with open_server(read_on) as here:
        assert await here.ask(POST + body) == 413


async def test_f90_nobody_is_accepted_while_descriptors_are_short():
    """F90: a client waits while fewer descriptors are free than sending may need.

    It is answered once there are enough.
    """
    looks, free = asyncio.Semaphore(0), [5 + 2 - 1]

    def count_free_descriptors():
        looks.release()
        return free[0]

    async with open_server(
        count_free_descriptors=count_free_descriptors,
        reserved_descriptors=5,
        accept_batch=2,
    ) as here:
        waiting = asyncio.create_task(here.ask(GET))
        for _ in range(3):
            await looks.acquire()
        assert not here.requests
        free[0] += 1
        assert await waiting == 200


CHILD = """
import asyncio, json, os, resource, sys
from publisher.web.http.server import free_descriptors, raise_descriptor_limit
from publisher.web.http.callbacks import bind_socket
from publisher.web.http.server import HttpLimits, HttpServer

async def serve():
    place = bind_socket("127.0.0.1:0")
    looked = asyncio.Event()
    def count_free_descriptors():
        free = free_descriptors()
        if free < 64 + HttpLimits().accept_batch:
            looked.set()
        return free
    limits = HttpLimits(head_timeout_seconds=3600.0)
    server = HttpServer(
        listening_socket=place, handler=None, limits=limits, \
count_free_descriptors=count_free_descriptors
    )
    async with server.serving():
        print(place.getsockname()[1], flush=True)
        await looked.wait()
        opened = []
        try:
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        for one in opened:
            os.close(one)
        print(json.dumps({"left": len(opened), \
"limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}), flush=True)
        await asyncio.to_thread(sys.stdin.read)

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
raise_descriptor_limit()
asyncio.run(serve())
"""


@pytest.mark.long
async def test_f90_sending_has_descriptors_however_many_clients_connect():
    """F90: with few descriptors, the limit is raised as far as possible.

    Half of the descriptors stay reserved.
    """
    command = [sys.executable, "-c", CHILD]
    child = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(LONGEST), AsyncExitStack() as stack:
            port = int(await child.stdout.readline())
            for number in range(120):
                address = f"127.0.0.{1 + number // 25}"
                _, writer = await asyncio.open_connection(
                    "127.0.0.1", port, local_addr=(address, 0)
                )
                stack.callback(writer.close)
            found = json.loads(await child.stdout.readline())
            child.stdin.close()
            assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert found["limit"] == 128
    assert 64 <= found["left"] < 64 + 40


async def test_f90_a_line_a_minute_reports_how_many_were_refused(monkeypatch):
    """F90: a line a minute reports the number of refused clients.

    The first is reported at once, the others are counted by reason, and nothing is lost at the end.
    """
    lines = []

    class Lines:
        def warning(self, event, **facts):
            lines.append((event, facts))

    monkeypatch.setattr("publisher.web.http.server.log", Lines())
    sparse = ThrottledLog(SHORT_INTERVAL)
    for reason in ["full"] * 1000 + ["too_slow"] * 5:
        sparse.warn("connections_refused", reason)
    assert lines == [("connections_refused", {"reasons": {"full": 1}})]
    await eventually(
        lambda: not sparse._intervals, LONGEST, "a minute without refusals"
    )
    assert lines[1:] == [
        ("connections_refused", {"reasons": {"full": 999, "too_slow": 5}})
    ]
    for reason in ("full", "too_slow"):
        sparse.warn("connections_refused", reason)
    assert lines[2:] == [("connections_refused", {"reasons": {"full": 1}})]
    sparse.close()
    assert lines[3:] == [("connections_refused", {"reasons": {"too_slow": 1}})]


async def test_f90_an_internal_error_ends_one_answer_alone():
    """F90: a request that meets an internal error is answered with 500.

    The next request is served.
    """
    troubles = iter([ValueError("x"), OSError("y")])

    async def fail(request):
        if trouble := next(troubles, None):
            raise trouble
        return 200, ""

    async with open_server(fail) as here:
        assert [await here.ask(GET) for _ in range(3)] == [500, 500, 200]


async def test_every_answer_limits_what_a_browser_does_with_it():
    """Every answer limits the browser's use of it.

    A platform ignores these headers. A browser that somebody leads to the address shows and keeps
    nothing.
    """
    async with open_server() as here:
        answers = [
            await (await here.begin(request)).read()
            for request in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"?\r\n\r\n")
        ]
    assert [answer.split()[1] for answer in answers] == [b"200", b"400"]
    assert all(SECURITY_HEADERS.encode() in answer for answer in answers)
    assert all(
        b"content-type: text/plain; charset=utf-8\r\n" in answer for answer in answers
    )
