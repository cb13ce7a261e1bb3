"""Name resolution: a name server that hangs for one name affects no other."""

import asyncio
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import pytest

import adapters._http
from adapters._http import MAX_LOOKUPS_PER_HOST, LookupTimeoutError, resolve
from publisher.contract import HttpRequest
from publisher.domain.results import NotSent
from tests.adapters.test_http_bytes import (
    OK,
    PARCEL,
    answering,
    http_for,
    post,
    raw_server,
)

HUNG = "no-such-host.invalid"
SHORT = 0.05


class NameServer:
    """Stands in for the system's resolver: it does not answer for one name until it is released."""

    def __init__(self):
        self.asked = []
        self.addresses = ["127.0.0.1"]
        self.free = threading.Event()

    def __call__(self, host, _port, **_facts):
        self.asked.append(host)
        if host == HUNG:
            self.free.wait(60)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
            for address in self.addresses
        ]


@pytest.fixture
def name_server(monkeypatch):
    monkeypatch.setattr(adapters._http, "_pending_lookups", {})
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server)
    yield server
    server.free.set()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(adapters._http, "LOOKUP_TIMEOUT_SECONDS", SHORT)


async def test_f18_a_lookup_that_times_out_proves_that_nothing_was_sent(
    name_server, impatient
):
    """F18: a creating call ends as not sent, a read as not made, each after one timeout."""
    http = http_for()
    assert await http.create(post(f"http://{HUNG}/x"), PARCEL) == NotSent(
        reason="dns_timeout"
    )
    assert await http.fetch(
        HttpRequest(method="GET", url=f"http://{HUNG}/x")
    ) == NotSent(reason="dns_timeout")


async def test_f18_a_hanging_name_affects_no_other(name_server):
    """I20: a hanging name affects no call to another host.

    More calls than any pool has threads wait for the one name.
    """
    hung = [
        asyncio.create_task(http_for().create(post(f"http://{HUNG}/x"), PARCEL))
        for _ in range(100)
    ]
    await asyncio.sleep(0)
    async with raw_server(answering(OK)) as platform, asyncio.timeout(20):
        named = platform.url.replace("127.0.0.1", "localhost")
        for url in (named, platform.url):
            assert (await http_for().create(post(url), PARCEL)).status == 200
    assert not any(call.done() for call in hung)
    for call in hung:
        call.cancel()
    await asyncio.gather(*hung, return_exceptions=True)


@pytest.mark.long
async def test_f18_the_threads_that_hang_on_a_name_are_few(name_server, impatient):
    """I24: however long it hangs, a name uses only a few threads; once it can be resolved it is."""
    for _ in range(3 * MAX_LOOKUPS_PER_HOST):
        with pytest.raises(LookupTimeoutError):
            await resolve(HUNG)
    assert name_server.asked == [HUNG] * MAX_LOOKUPS_PER_HOST
    name_server.free.set()
    assert await _resolved(HUNG) == ["127.0.0.1"]


async def _resolved(host):
    while True:
        with suppress(LookupTimeoutError):
            return await resolve(host)


async def test_calls_that_need_the_same_name_share_a_lookup(name_server):
    """One lookup serves all; a caller that gives up does not end it for the others."""
    calls = [asyncio.create_task(resolve(HUNG)) for _ in range(10)]
    await asyncio.sleep(0)
    calls[0].cancel()
    await asyncio.sleep(0)
    name_server.free.set()
    assert await asyncio.gather(*calls[1:]) == [["127.0.0.1"]] * 9
    assert name_server.asked == [HUNG]


async def test_f19_the_next_address_is_tried_where_one_refuses(monkeypatch):
    """A host with several addresses is reached by any of them, in their order."""
    monkeypatch.setattr(adapters._http, "_pending_lookups", {})
    addresses = [("::1", 0, 0, 0), ("127.0.0.1", 0), ("127.0.0.1", 0)]
    found = [
        (socket.AF_UNSPEC, socket.SOCK_STREAM, 6, "", address) for address in addresses
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert await resolve("localhost") == ["::1", "127.0.0.1"]
    async with raw_server(answering(OK)) as platform:
        answer = await http_for().create(
            post(platform.url.replace("127.0.0.1", "localhost")), PARCEL
        )
    assert answer.status == 200


@contextmanager
def black_hole(address, port):
    """Listen without accepting, and fill the queue.

    The system drops every further connection attempt.
    """
    with socket.create_server((address, port), backlog=0), ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.settimeout(0)
            client.connect_ex((address, port))
        yield


@pytest.mark.long
async def test_f19_the_next_address_is_tried_where_one_does_not_answer(
    monkeypatch, name_server
):
    """An address that drops packets does not use up the time of the call."""
    monkeypatch.setattr(adapters._http, "ADDRESS_TIMEOUT_SECONDS", 1.0)
    name_server.addresses = ["127.0.0.2", "127.0.0.1"]
    async with raw_server(answering(OK)) as platform:
        named = platform.url.replace("127.0.0.1", "localhost")
        with black_hole("127.0.0.2", urlsplit(named).port):
            answer = await http_for().create(post(named), PARCEL)
    assert answer.status == 200


ENDS = """
import asyncio, socket, threading
import adapters._http
adapters._http.LOOKUP_TIMEOUT_SECONDS = 0.05
socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
async def main():
    try:
        await adapters._http.resolve("no-such-host.invalid")
    except TimeoutError:
        print("gave up")
asyncio.run(main())
"""


def test_f18_a_process_ends_while_a_name_hangs():
    """F14, F18: the end of the process waits for no lookup."""
    ended = subprocess.run(
        [sys.executable, "-c", ENDS],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "gave up\n")
