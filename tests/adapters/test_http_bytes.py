"""The HTTP client against a raw socket: the errors that may count as not sent.

All other errors never do.
"""

import asyncio
import errno
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters._http import (
    MAX_CREATE_BODY_BYTES,
    MAX_READ_BODY_BYTES,
    FreshConnections,
    LoginHttp,
    _NetworkBackend,
)
from publisher.app.application import http_for_login
from publisher.contract import HttpRequest, HttpResponse, Upload
from publisher.domain.account import AccountId, Platform
from publisher.domain.post import (
    Baseline,
    DeliveryId,
    Marker,
    RenderedPost,
    SendRequest,
)
from publisher.domain.results import NotSent, Unknown
from tests.ports import free_port
from tests.unguarded import UNGUARDED

NOON = datetime(2026, 11, 24, 4, tzinfo=UTC)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
LONGEST = 60
"""Seconds that a call without a deadline of its own is given."""

Deed = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """A minimal server that runs `deed` on each connection and keeps the bytes it received."""

    url: str
    connections: int = 0
    received: list[bytes] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def raw_server(deed: Deed) -> AsyncIterator[RawServer]:
    seen = RawServer(url="")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        keep = _RecordingReader(reader)
        try:
            await deed(keep, writer)
        except ConnectionError:
            pass
        finally:
            seen.received.append(bytes(keep.taken))
            writer.close()
            seen.ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    seen.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/2/post"
    async with server:
        yield seen


class _RecordingReader:
    """A reader that keeps all that it read."""

    def __init__(self, reader):
        self.reader = reader
        self.taken = bytearray()

    async def readuntil(self, end):
        part = await self.reader.readuntil(end)
        self.taken += part
        return part

    async def readexactly(self, count):
        part = await self.reader.readexactly(count)
        self.taken += part
        return part

    async def read(self, count=-1):
        part = await self.reader.read(count)
        self.taken += part
        return part


async def take(reader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        line
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    await reader.readexactly(int(length.split(b":")[1]))


async def take_head(reader) -> None:
    await reader.readuntil(b"\r\n\r\n")


def answering(*parts: bytes) -> Deed:
    async def deed(reader, writer):
        await take(reader)
        for part in parts:
            writer.write(part)
        await writer.drain()

    return deed


async def close_at_once(_reader, _writer):
    return


async def close_after_head(reader, _writer):
    await reader.readuntil(b"\r\n\r\n")


async def drip(reader, writer):
    await take(reader)
    writer.write(HEAD)
    for _ in range(10):
        writer.write(b"x")
        await writer.drain()
        await reader.read(1)


async def silence(reader, _writer):
    await take(reader)
    await reader.read(1)


def http_for(**changes) -> LoginHttp:
    values = {
        "request_timeout": timedelta(seconds=5),
        "monotonic": lambda: 100.0,
        "failpoint": lambda _name: None,
        "is_host_allowed": lambda host: (
            host in {"127.0.0.1", "localhost", "no-such-host.invalid"}
        ),
        "sleep": _no_wait,
        **UNGUARDED,
    }
    return LoginHttp(**{**values, **changes})


async def _no_wait(_seconds: float) -> None:
    return


PARCEL = SendRequest(
    delivery=DeliveryId(1),
    attempt=1,
    account=AccountId("beijing-weibo"),
    rendered=RenderedPost(
        account=AccountId("beijing-weibo"),
        platform=Platform("weibo"),
        marker=Marker(code="K7QM-4R2T"),
        title="t",
        text="x",
    ),
    images=(),
    baseline=Baseline(newest_id=None, taken_at=NOON),
    intended_at=NOON,
    start_by=200.0,
)


def post(url: str, **changes) -> HttpRequest:
    return replace(
        HttpRequest(
            method="POST",
            url=url,
            form=(("status", "警惕 诈骗"), ("access_token", "SECRET")),
        ),
        **changes,
    )


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        pytest.param(
            close_at_once,
            {"response_truncated", "reset"},
            id="F22-closed-before-reading",
        ),
        pytest.param(
            close_after_head,
            {"response_truncated", "reset"},
            id="F22-closed-after-headers",
        ),
        pytest.param(
            answering(), {"response_truncated"}, id="F24-closed-without-a-reply"
        ),
        pytest.param(
            answering(HEAD + b"half"), {"response_truncated"}, id="F32-half-body"
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nContent-Le"),
            {"response_truncated"},
            id="F32-half-head",
        ),
        pytest.param(
            answering(b"not http at all\r\n\r\n"),
            {"response_truncated"},
            id="F31-not-http",
        ),
        pytest.param(
            answering(
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
            ),
            {"redirected"},
            id="F35-redirect",
        ),
        pytest.param(
            answering(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
            ),
            {"response_encoded"},
            id="F36-encoding-nobody-asked-for",
        ),
        pytest.param(
            answering(
                b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n",
                b"x" * (MAX_CREATE_BODY_BYTES + 1),
            ),
            {"body_too_large"},
            id="F36-huge-body",
        ),
    ],
)
async def test_an_error_after_the_first_byte_is_unknown(deed, expected):
    """Every error after the first byte is Unknown, under its reason."""
    async with raw_server(deed) as platform:
        answer = await http_for().create(post(platform.url), PARCEL)
    assert isinstance(answer, Unknown)
    assert answer.reason in expected
    assert platform.connections == 1


@pytest.mark.long
@pytest.mark.parametrize(
    "deed", [pytest.param(silence, id="F21-silence"), pytest.param(drip, id="F23-drip")]
)
async def test_one_deadline_bounds_the_whole_call(deed):
    """F21, F23: no reply, or one sent slower than the deadline, is Unknown at the deadline."""
    async with raw_server(deed) as platform:
        async with asyncio.timeout(LONGEST):
            answer = await http_for(request_timeout=timedelta(seconds=1)).create(
                post(platform.url), PARCEL
            )
            await platform.ended.wait()
    assert answer == Unknown(reason="timeout")


async def test_refused_connection_f19():
    """F19: a refused connection proves that nothing was sent."""
    call = post(f"http://127.0.0.1:{free_port()}/2/post")
    assert await http_for().create(call, PARCEL) == NotSent(reason="connect_failed")


async def test_unknown_host_f18(monkeypatch):
    """F18: a host that does not resolve proves that nothing was sent."""

    def unknown(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    answer = await http_for().create(post("http://no-such-host.invalid/x"), PARCEL)
    assert answer == NotSent(reason="dns_failed")


async def test_tls_failure_f20():
    """F20: a host that does not speak TLS gets no byte of the request."""

    async def hello(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with raw_server(hello) as platform:
        answer = await http_for().create(
            post(platform.url.replace("http:", "https:")), PARCEL
        )
        await platform.ended.wait()
    assert answer == NotSent(reason="tls_failed")
    assert b"POST" not in platform.received[0]


async def test_lease_over_writes_no_byte_f15():
    """F15: a worker that wakes after its lease, with an open connection, writes nothing."""
    clock = [100.0]

    def sleep_through_the_lease(name: str) -> None:
        if name == "http.after_connect":
            clock[0] = 201.0

    async def listen(reader, _writer):
        await reader.read()

    async with raw_server(listen) as platform:
        http = http_for(monotonic=lambda: clock[0], failpoint=sleep_through_the_lease)
        answer = await http.create(post(platform.url), PARCEL)
        await platform.ended.wait()
    assert answer == NotSent(reason="lease_used_up")
    assert platform.received == [b""]


class SlowNetwork(_NetworkBackend):
    """A network with a connection to the host that waits until it is released."""

    def __init__(self):
        self.wanted, self.open = asyncio.Event(), asyncio.Event()

    async def connect_tcp(self, *where, **how):
        self.wanted.set()
        await self.open.wait()
        return await super().connect_tcp(*where, **how)


@pytest.mark.parametrize("slow", ["turn", "connection"])
async def test_f94_a_stop_reaches_a_call_that_waits_for_its_turn_or_its_connection(
    slow,
):
    """I14, I16: a post that is stopped before its first byte is not sent.

    This holds however long connecting takes.
    """
    allowed, network, begun = [True], SlowNetwork(), []
    asked = asyncio.Event()

    async def may_send(_send_request):
        asked.set()
        return allowed[0]

    async def listen(reader, _writer):
        await reader.read()

    async with raw_server(listen) as platform:
        http = http_for(
            may_send=may_send,
            record_start=lambda *call: begun.append(call),
            transport=FreshConnections(network),
        )
        if slow == "turn":
            await http._lock.acquire()
        call = asyncio.create_task(http.create(post(platform.url), PARCEL))
        if slow == "connection":
            await network.wanted.wait()
        else:
            await asyncio.sleep(0)
        allowed[0] = False
        network.open.set()
        if slow == "turn":
            http._lock.release()
        assert await call == NotSent(reason="stopped")
        if slow == "connection":
            await platform.ended.wait()
    assert b"".join(platform.received) == b""
    assert begun == []


async def test_the_client_of_a_browser_login_creates_nothing():
    """It has no intent to check and no record to write, so no creating call starts."""
    http = http_for_login(
        timeout=timedelta(seconds=5),
        monotonic=lambda: 100.0,
        is_host_allowed=lambda _host: True,
        can_create=False,
    )
    async with raw_server(answering(OK)) as platform:
        assert await http.create(post(platform.url), PARCEL) == NotSent(
            reason="stopped"
        )
    assert platform.connections == 0


async def test_f02_a_call_is_recorded_as_begun_right_before_its_first_byte():
    """The record is made after every check and before every byte."""
    seen = []

    async def may_send(_send_request):
        seen.append("asked")
        return True

    async with raw_server(answering(OK)) as platform:
        http = http_for(
            may_send=may_send,
            record_start=lambda *call: seen.append(
                ("begun", call, platform.received[:])
            ),
        )
        assert isinstance(await http.create(post(platform.url), PARCEL), HttpResponse)
    assert seen == [
        "asked",
        "asked",
        ("begun", (PARCEL.delivery, PARCEL.fencing_token), []),
    ]


async def test_f82_a_call_that_cannot_be_recorded_does_not_begin():
    """If a full disk keeps the call's line from being written, no byte is sent.

    The outcome is known.
    """

    def refuse(_delivery, _fencing_token):
        raise OSError(errno.ENOSPC, "no space left on device")

    async def listen(reader, _writer):
        await reader.read()

    async with raw_server(listen) as platform:
        answer = await http_for(record_start=refuse).create(post(platform.url), PARCEL)
        await platform.ended.wait()
    assert answer == NotSent(reason="not_recorded")
    assert platform.received == [b""]


async def test_clock_set_while_connecting_writes_no_byte_f61():
    """F60, F61: a clock that is set, with an open connection, lets no creating call begin."""
    confirmed = [True]

    def set_the_clock(name: str) -> None:
        if name == "http.after_connect":
            confirmed[0] = False

    async def listen(reader, _writer):
        await reader.read()

    async with raw_server(listen) as platform:
        http = http_for(
            is_clock_confirmed=lambda: confirmed[0], failpoint=set_the_clock
        )
        answer = await http.create(post(platform.url), PARCEL)
        await platform.ended.wait()
    assert answer == NotSent(reason="clock_unconfirmed_at_send")
    assert platform.received == [b""]


@pytest.mark.parametrize(
    ("headers", "heard"),
    [
        (
            b"Date: Wed, 25 Nov 2026 01:00:00 GMT\r\n",
            [("Wed, 25 Nov 2026 01:00:00 GMT", 100.0)],
        ),
        (b"Date: Wed, 25 Nov 2026 01:00:00 GMT\r\nAge: 7\r\n", []),
        (b"", []),
    ],
    ids=["dated", "from-a-cache", "undated"],
)
async def test_the_date_of_a_whole_reply_is_used(headers, heard):
    """A read is made although the clock is unconfirmed, and its reply's date is used.

    The date of a cached reply is not used.
    """
    reported = []
    async with raw_server(
        answering(OK.replace(b"\r\n", b"\r\n" + headers, 1))
    ) as platform:
        http = http_for(
            is_clock_confirmed=lambda: False,
            on_date_header=lambda *facts: reported.append(facts),
        )
        assert isinstance(await http.fetch(post(platform.url)), HttpResponse)
    assert reported == heard


async def test_the_date_of_a_cut_reply_is_not_used():
    """A reply that was cut proves nothing, its head included."""
    reported = []
    cut = b"HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 01:00:00 GMT\r\nContent-Length: 10\r\n\r\nhalf"
    async with raw_server(answering(cut)) as platform:
        await http_for(on_date_header=lambda *facts: reported.append(facts)).fetch(
            post(platform.url)
        )
    assert reported == []


async def test_host_guard_f95():
    """F95: no connection is made to a host that is not allowed."""
    async with raw_server(answering(OK)) as platform:
        http = http_for(is_host_allowed=lambda _host: False)
        assert await http.create(post(platform.url), PARCEL) == NotSent(
            reason="host_not_allowed"
        )
        assert await http.fetch(post(platform.url)) == NotSent(
            reason="host_not_allowed"
        )
    assert platform.connections == 0


async def test_reply_comes_back_whole():
    """A complete reply is returned with status, lower-case headers and body, even an HTML page."""
    page = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
    async with raw_server(answering(page)) as platform:
        answer = await http_for().create(post(platform.url), PARCEL)
    assert isinstance(answer, HttpResponse)
    assert (answer.status, answer.headers["content-type"], answer.body) == (
        502,
        "text/html",
        b"<html>",
    )


async def test_each_create_has_its_own_connection_and_no_memory():
    """Two creates use two connections, and a cookie set by the first is not sent by the second."""
    reply = b"HTTP/1.1 200 OK\r\nSet-Cookie: BDUSS=other\r\nContent-Length: 2\r\n\r\n{}"
    async with raw_server(answering(reply)) as platform:
        http = http_for()
        for _ in range(2):
            await http.create(
                post(platform.url, cookies={"BDUSS": "mine", "STOKEN": "too"}), PARCEL
            )
    assert platform.connections == 2
    for request in platform.received:
        assert b"\r\ncookie: BDUSS=mine; STOKEN=too\r\n" in request
        assert b"accept-encoding: identity\r\n" in request.lower()


async def test_multipart_carries_names_and_length():
    """A file part carries its file name and type, and the request its length."""
    async with raw_server(answering(OK)) as platform:
        upload = Upload(
            name="pic", filename="1.png", media_type="image/png", data=b"\x89PNG"
        )
        await http_for().create(post(platform.url, uploads=(upload,)), PARCEL)
    head, _, body = platform.received[0].partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert (
        b'name="pic"; filename="1.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n'
        in body
    )
    assert "警惕 诈骗".encode() in body


async def test_failpoints_are_passed_in_order():
    """A creating call passes the four failpoints in order; a read passes none."""
    passed: list[str] = []
    async with raw_server(answering(OK)) as platform:
        http = http_for(failpoint=passed.append)
        await http.create(post(platform.url), PARCEL)
        assert passed == [
            "http.after_connect",
            "http.mid_body",
            "http.after_body",
            "http.after_reply",
        ]
        await http.fetch(post(platform.url))
    assert len(passed) == 4


async def test_a_creating_call_waits_for_no_read_but_the_one_in_flight():
    """However many reads of the login are queued, a post goes next."""
    arrived, free = asyncio.Event(), asyncio.Event()

    async def deed(reader, writer):
        await take_head(reader)
        arrived.set()
        await free.wait()
        writer.write(OK)
        await writer.drain()

    async with raw_server(deed) as platform:
        http = http_for()
        calls = [
            asyncio.create_task(
                http.fetch(HttpRequest(method="GET", url=f"{platform.url}/0"))
            )
        ]
        await arrived.wait()
        for number in range(1, 4):
            read = HttpRequest(method="GET", url=f"{platform.url}/{number}")
            calls.append(asyncio.create_task(http.fetch(read)))
        await asyncio.sleep(0)
        calls.append(
            asyncio.create_task(http.create(post(f"{platform.url}/4"), PARCEL))
        )
        await asyncio.sleep(0)
        free.set()
        await asyncio.gather(*calls)
    assert [re.match(rb".* /2/post/(\d)", head)[1] for head in platform.received] == [
        b"0",
        b"4",
        b"1",
        b"2",
        b"3",
    ]


async def test_one_call_of_a_login_at_a_time():
    """While one call is in flight the next one of the same login waits."""
    inside, most = 0, 0

    async def count(_request: httpx.Request) -> httpx.Response:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        return httpx.Response(200, json={})

    http = http_for(transport=httpx.MockTransport(count))
    await asyncio.gather(
        *(http.fetch(post(f"http://localhost/{number}")) for number in range(5))
    )
    assert most == 1


class CountingPlatform:
    """A platform that numbers its responses, and cuts the calls in a given list."""

    def __init__(self, *cut):
        self.calls, self.cut, self.began = 0, cut, asyncio.Event()

    async def __call__(self, _request: httpx.Request) -> httpx.Response:
        self.calls += 1
        number = self.calls
        self.began.set()
        await asyncio.sleep(0)
        if number in self.cut:
            raise httpx.ReadError("x")
        return httpx.Response(200, json=number)


def numbers(replies):
    return [int(reply.body) for reply in replies]


async def test_equal_reads_that_wait_together_are_made_once():
    """Equal reads that wait together are made once.

    Each gets a reply to a call that began after its request, never that of the call in flight.
    """
    platform = CountingPlatform()
    http = http_for(transport=httpx.MockTransport(platform))
    read = post("http://localhost/x")
    assert numbers(await asyncio.gather(*(http.fetch(read) for _ in range(5)))) == [
        1,
        2,
        2,
        2,
        2,
    ]
    assert numbers([await http.fetch(read)]) == [3]


@pytest.mark.parametrize(
    "change",
    [
        {"is_idempotent": False},
        {"query": (("page", "2"),)},
        {"headers": {"token": "2"}},
        {"form": (("x", "2"),)},
    ],
)
async def test_other_reads_and_calls_with_effects_are_made_separately(change):
    """Only equal calls without an effect share a reply.

    Every part of the call must be the same, and a repeat must have no effect.
    """
    platform = CountingPlatform()
    http = http_for(transport=httpx.MockTransport(platform))
    first, other = (
        post("http://localhost/x"),
        replace(post("http://localhost/x"), **change),
    )
    calls = (
        [first, first, other, other]
        if "is_idempotent" in change
        else [first, first, other]
    )
    replies = numbers(await asyncio.gather(*map(http.fetch, calls)))
    assert sorted(replies) == list(range(1, len(calls) + 1))


def too_many(calls, *headers):
    """Answer the first calls with 429 and these headers, and the others well; record each."""
    waiting = list(headers)

    async def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request.url.path)
        await asyncio.sleep(0)
        return (
            httpx.Response(429, headers=waiting.pop(0))
            if waiting
            else httpx.Response(200, json={})
        )

    return httpx.MockTransport(answer)


@pytest.mark.parametrize(
    ("header", "rest"),
    [("90", 90), ("Tue, 24 Nov 2026 04:01:00 GMT", 60), ("31536000", 86400), ("", 30)],
)
async def test_after_a_limited_read_no_call_in_the_queue_begins_before_its_end_f26_i15(
    header, rest
):
    """F26, I15: a call that waits behind a 429 is not sent, whether a post or a read.

    The wait is a day at most, and 30 s by default.
    """
    calls, clock = [], [100.0]
    transport = too_many(calls, {"retry-after": header})
    http = http_for(transport=transport, monotonic=lambda: clock[0], now=lambda: NOON)
    first, *others = await asyncio.gather(
        http.fetch(post("http://localhost/1")),
        http.fetch(post("http://localhost/2")),
        http.create(post("http://localhost/3"), replace(PARCEL, start_by=1e9)),
    )
    assert (first.status, others, calls) == (
        429,
        [NotSent(reason="in_cooldown")] * 2,
        ["/1"],
    )
    clock[0] += rest - 1
    assert await http.fetch(post("http://localhost/4")) == NotSent(reason="in_cooldown")
    clock[0] += 1
    assert (await http.fetch(post("http://localhost/5"))).status == 200
    assert calls == ["/1", "/5"]


async def test_asking_for_the_time_causes_no_cooldown_of_the_login_f26():
    """F26: a 429 to a call without credentials says nothing about the login.

    Its posts and reads go on.
    """
    calls = []
    http = http_for(transport=too_many(calls, {"retry-after": "90"}))
    assert (await http.fetch_date("http://localhost/2/posts")).status == 429
    assert (await http.create(post("http://localhost/1"), PARCEL)).status == 200
    assert calls == ["/robots.txt", "/1"]


async def test_the_time_is_asked_for_during_a_cooldown_of_the_login_f26_i15():
    """F26, I15: a cooldown stops the calls of the login, not a call without credentials.

    The cooldown continues after that call.
    """
    calls = []
    http = http_for(transport=too_many(calls, {"retry-after": "90"}))
    await http.fetch(post("http://localhost/1"))
    assert (await http.fetch_date("http://localhost")).status == 200
    assert await http.fetch(post("http://localhost/2")) == NotSent(reason="in_cooldown")
    assert calls == ["/1", "/robots.txt"]


async def test_the_time_is_asked_for_at_allowed_hosts_only():
    """A call for the time goes only to the hosts of the account."""
    http = http_for(transport=too_many([]), is_host_allowed=lambda _host: False)
    assert await http.fetch_date("http://localhost") == NotSent(
        reason="host_not_allowed"
    )


async def test_a_limit_on_a_creating_call_stops_no_read_f27():
    """F26, F27: a limit on a creating call stops no read.

    Reads resolve the unknown outcomes of the login; the core delays the posts.
    """
    calls = []
    http = http_for(transport=too_many(calls, {"retry-after": "90"}))
    assert (await http.create(post("http://localhost/1"), PARCEL)).status == 429
    assert (await http.fetch(post("http://localhost/2"))).status == 200


async def test_creating_calls_never_share_a_reply():
    """Two attempts with the same text are two calls."""
    platform = CountingPlatform()
    http = http_for(transport=httpx.MockTransport(platform))
    calls = (http.create(post("http://localhost/x"), PARCEL) for _ in range(3))
    assert numbers(await asyncio.gather(*calls)) == [1, 2, 3]


async def test_a_cancelled_read_is_made_by_the_next_caller():
    """A caller that waited behind a cancelled call makes the next one."""
    platform = CountingPlatform()
    http = http_for(transport=httpx.MockTransport(platform))
    first, *others = [
        asyncio.create_task(http.fetch(post("http://localhost/x"))) for _ in range(3)
    ]
    await platform.began.wait()
    first.cancel()
    assert numbers(await asyncio.gather(*others)) == [2, 2]


async def test_a_failed_read_is_not_shared():
    """A caller that waited behind a failed call makes its own."""
    platform = CountingPlatform(1, 2)
    http = http_for(transport=httpx.MockTransport(platform))
    replies = await asyncio.gather(
        *(http.fetch(post("http://localhost/x")) for _ in range(4))
    )
    assert min(numbers(replies)) == 3


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("x"), NotSent(reason="connect_failed")),
        (httpx.ConnectTimeout("x"), NotSent(reason="connect_timeout")),
        (httpx.PoolTimeout("x"), NotSent(reason="connect_timeout")),
        (httpx.ReadError("x"), Unknown(reason="reset")),
        (httpx.WriteError("x"), Unknown(reason="reset")),
        (httpx.ReadTimeout("x"), Unknown(reason="timeout")),
        (httpx.RemoteProtocolError("x"), Unknown(reason="response_truncated")),
    ],
)
async def test_transport_without_trace_is_judged_by_its_error(error, expected):
    """A transport without progress reports proves only a failed connection as not sent."""

    async def fail(_request: httpx.Request) -> httpx.Response:
        raise error

    http = http_for(transport=httpx.MockTransport(fail))
    assert await http.create(post("http://localhost/x"), PARCEL) == expected


async def test_create_is_never_repeated_f28():
    """F28: a server error on a creating call is returned after one try."""
    calls: list[httpx.Request] = []

    async def fail(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(503, text="busy")

    http = http_for(transport=httpx.MockTransport(fail))
    answer = await http.create(post("http://localhost/x"), PARCEL)
    assert isinstance(answer, HttpResponse)
    assert len(calls) == 1


async def test_ask_is_repeated_three_times_at_most():
    """A read is repeated on a server error or a broken connection, three times at most.

    The last answer is returned.
    """
    answers = [
        httpx.Response(500),
        httpx.ReadError("x"),
        httpx.Response(200, json={"a": 1}),
        httpx.Response(500),
    ]
    calls: list[httpx.Request] = []

    async def serve(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        answer = answers[len(calls) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    answer = await http_for(transport=httpx.MockTransport(serve)).fetch(
        post("http://localhost/x")
    )
    assert isinstance(answer, HttpResponse)
    assert answer.body == b'{"a":1}'
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("header", "count"),
    [
        ("3600", 1),
        ("1", 3),
        ("60", 1),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 1),
        ("0", 3),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 3),
        ("soon", 3),
    ],
)
async def test_ask_is_not_repeated_before_retry_after(header, count):
    """A server error that names a later time ends the tries.

    A time that is near, past or unreadable does not.
    """
    calls: list[httpx.Request] = []

    async def fail(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(503, headers={"retry-after": header})

    answer = await http_for(transport=httpx.MockTransport(fail)).fetch(
        post("http://localhost/x")
    )
    assert isinstance(answer, HttpResponse)
    assert (answer.status, len(calls)) == (503, count)


async def test_ask_gives_up_with_the_last_answer():
    """A read that fails three times returns the last failure; a permanent one is not repeated."""
    count = 0

    async def fail(_request: httpx.Request) -> httpx.Response:
        nonlocal count
        count += 1
        raise httpx.ReadTimeout("x")

    http = http_for(transport=httpx.MockTransport(fail))
    assert await http.fetch(post("http://localhost/x")) == Unknown(reason="timeout")
    assert count == 3


async def test_ask_reads_more_than_create_but_not_without_end():
    """A read may return more bytes than a creating call, up to its own limit."""

    async def serve(request: httpx.Request) -> httpx.Response:
        size = (
            MAX_CREATE_BODY_BYTES + 1
            if request.url.path == "/big"
            else MAX_READ_BODY_BYTES + 1
        )
        return httpx.Response(200, content=b"x" * size)

    http = http_for(transport=httpx.MockTransport(serve))
    assert isinstance(await http.fetch(post("http://localhost/big")), HttpResponse)
    assert await http.fetch(post("http://localhost/bomb")) == Unknown(
        reason="body_too_large"
    )


async def test_nothing_of_a_call_is_logged(caplog):
    """I19: even at the lowest log level no address, token or text of a call reaches the log."""
    caplog.set_level(logging.DEBUG)
    async with raw_server(answering(OK)) as platform:
        await http_for().create(
            post(platform.url, query=(("access_token", "CANARY"),)), PARCEL
        )
    assert "CANARY" not in caplog.text
    assert "SECRET" not in caplog.text
    assert "SECRET" not in repr(post(platform.url))


async def test_a_name_may_be_repeated_in_query_and_form():
    """Pairs arrive in their order, in the address, in a form and in one with a file."""
    pairs = (("ids[]", "1"), ("ids[]", "2"), ("空", "&"))
    file = Upload(name="file", filename="a.txt", media_type="text/plain", data=b"x")
    async with raw_server(answering(OK)) as platform:
        await http_for().fetch(post(platform.url, query=pairs, form=pairs))
        await http_for().fetch(post(platform.url, form=pairs, uploads=(file,)))
    plain, multipart = platform.received
    encoded = b"ids%5B%5D=1&ids%5B%5D=2&%E7%A9%BA=%26"
    assert plain.startswith(b"POST /2/post?" + encoded + b" HTTP/1.1")
    assert plain.endswith(b"\r\n\r\n" + encoded)
    assert re.findall(rb'name="ids\[\]"\r\n\r\n(\d)', multipart) == [b"1", b"2"]
