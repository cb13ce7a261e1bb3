"""The fault front, before a small server, without the conformance kit."""

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime

import httpx
import pytest

from publisher.simulator.server import make_certificate
from publisher.testing.fault_front import (
    FrontResponse,
    ResponseFormat,
    change_body,
    open_fault_front,
    rewrite_text,
)

POSTS = [
    {"id": "2", "text": "新的", "owner": {"id": "me"}},
    {"id": "1", "text": "旧的", "owner": {"id": "me"}},
]
FORMAT = ResponseFormat(
    refusals={"captcha": FrontResponse.from_json(403, {"error": "captcha"})},
    id_keys=frozenset({"id"}),
    text_keys=frozenset({"text"}),
)


class Origin:
    """A server that counts its requests, and answers each call with the same list."""

    def __init__(self):
        self.bodies = []

    async def serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = next(
            (
                line.partition(":")[2]
                for line in head.splitlines()
                if line.startswith("content-length")
            ),
            "0",
        )
        self.bodies.append(await reader.readexactly(int(size)))
        body = json.dumps(POSTS).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nX-Origin: yes\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        await writer.drain()
        writer.close()


@asynccontextmanager
async def fronted():
    """Serve the origin behind a front; yield both, and a client of the front."""
    origin = Origin()
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    url = "http://{}:{}".format(*server.sockets[0].getsockname())
    async with (
        open_fault_front(url, response_format=FORMAT) as front,
        httpx.AsyncClient(timeout=60) as client,
    ):
        yield origin, front, client
    server.close()
    await server.wait_closed()


async def test_a_missing_date_is_added():
    """Like any proxy, the front dates a response without a date.

    The daemon reads the time from it.
    """
    async with fronted() as (_origin, front, client):
        response = await client.get(front.base_url)
        assert parsedate_to_datetime(response.headers["date"]).tzinfo is not None


async def test_the_account_may_have_another_name_on_the_wire():
    """Where the JSON names the account otherwise than publisher.toml, that name is replaced."""
    named = replace(FORMAT, identity="me")
    changed = json.loads(
        change_body(
            "wrong_account",
            {"own": "me@social.example"},
            named,
            json.dumps(POSTS).encode(),
        )
    )
    assert {post["owner"]["id"] for post in changed} == {"m1"}


async def test_without_a_fault_everything_passes():
    """Without a fault, the front passes everything on.

    It forwards method, path, query, headers and body, and returns status, headers and body.
    """
    async with fronted() as (origin, front, client):
        response = await client.post(f"{front.base_url}/posts?x=1", content=b"words")
        assert (
            response.status_code,
            response.headers["x-origin"],
            response.json(),
        ) == (
            200,
            "yes",
            POSTS,
        )
        assert origin.bodies == [b"words"]
        assert [(request.method, request.target) for request in front.requests] == [
            ("POST", "/posts?x=1")
        ]


@pytest.mark.parametrize(
    ("kind", "facts", "calls"),
    [
        ("drop_before", {}, 0),
        ("act_late", {}, 0),
        ("drop_after", {}, 1),
        ("truncate", {}, 1),
    ],
)
async def test_a_lost_reply_is_an_error_of_the_connection(kind, facts, calls):
    """The client sees a broken connection, whether the platform acted or not.

    A late call reaches the platform in the end.
    """
    async with fronted() as (origin, front, client):
        fault = front.inject(kind, **facts)
        with pytest.raises(httpx.TransportError):
            await client.post(front.base_url, content=b"words")
        assert (fault.count, len(origin.bodies)) == (1, calls)
        await front.settle()
        assert len(origin.bodies) == max(calls, kind == "act_late")


@pytest.mark.parametrize(
    ("kind", "facts", "calls"),
    [("delay", {}, 1), ("delay", {"when": "before"}, 0), ("drip", {}, 1)],
)
async def test_a_held_response_lasts_until_the_client_leaves(kind, facts, calls):
    """A response that is held back is announced and never comes.

    The platform acts before or after.
    """
    async with fronted() as (origin, front, client):
        fault = front.inject(kind, **facts)
        call = asyncio.create_task(client.get(front.base_url))
        await asyncio.wait_for(fault.held.wait(), 60)
        assert (call.done(), len(origin.bodies)) == (False, calls)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.wait_for(front.settle(), 60)
        assert len(origin.bodies) == 1


@pytest.mark.parametrize(
    ("kind", "facts", "status", "body", "calls"),
    [
        ("status", {}, 503, "", 0),
        ("status", {"code": 429, "acts": True}, 429, "", 1),
        ("html", {"code": 404, "body": "<p>gone</p>"}, 404, "<p>gone</p>", 0),
        ("captcha", {}, 403, '{"error":"captcha"}', 0),
        ("empty_list", {}, 200, "[]", 1),
    ],
)
async def test_a_response_is_replaced(kind, facts, status, body, calls):
    """A refusal replaces the platform's response.

    The platform acts only where the fault says so.
    """
    async with fronted() as (origin, front, client):
        fault = front.inject(kind, **facts)
        response = await client.get(front.base_url)
        assert (response.status_code, response.text, len(origin.bodies)) == (
            status,
            body,
            calls,
        )
        assert fault.count == 1


async def test_a_fault_applies_to_the_calls_that_are_meant_until_it_is_cleared():
    """Other calls pass unchanged, and count for nothing."""
    async with fronted() as (_, front, client):
        fault = front.inject(
            "status", applies_to=lambda request: request.method == "POST"
        )
        statuses = [
            (await client.request(method, front.base_url)).status_code
            for method in ("GET", "POST")
        ]
        front.clear()
        statuses.append((await client.post(front.base_url)).status_code)
        assert (statuses, fault.count) == ([200, 503, 200], 1)


async def test_a_fault_without_effect_does_not_count():
    """A fault that finds nothing to change has changed nothing.

    A fault that the front does not have is refused.
    """
    async with fronted() as (_, front, client):
        fault = front.inject("wrong_account", own="nobody")
        assert (await client.get(front.base_url)).json() == POSTS
        assert fault.count == 0
        with pytest.raises(ValueError, match="duplicate"):
            front.inject("duplicate")


async def test_a_platform_over_tls_must_be_trusted(tmp_path):
    """A platform with its own certificate is reached only with a context that trusts it."""
    certificate, key = make_certificate(tmp_path, "localhost")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trusting = ssl.create_default_context(cafile=certificate)
    served.load_cert_chain(certificate, key)
    server = await asyncio.start_server(Origin().serve, "127.0.0.1", 0, ssl=served)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    async with (
        httpx.AsyncClient(timeout=60) as client,
        open_fault_front(url, ssl_context=trusting) as front,
    ):
        assert (await client.get(front.base_url)).json() == POSTS
        async with open_fault_front(url) as wary:
            with pytest.raises(httpx.TransportError):
                await client.get(wary.base_url)
    server.close()
    await server.wait_closed()


async def test_a_platform_that_is_gone_breaks_the_connection():
    """The front adds no response of its own where the platform gives none."""
    async with (
        open_fault_front("http://127.0.0.1:1") as front,
        httpx.AsyncClient(timeout=60) as client,
    ):
        with pytest.raises(httpx.TransportError):
            await client.get(front.base_url)


@pytest.mark.parametrize(
    ("kind", "facts", "changed"),
    [
        (
            "no_id",
            {},
            [{"text": post["text"], "owner": post["owner"]} for post in POSTS],
        ),
        ("empty_list", {}, []),
        ("reorder", {}, POSTS[::-1]),
        ("reorder", {"how": "twice"}, [POSTS[0], POSTS[0], POSTS[1], POSTS[1]]),
        ("reorder", {"how": "again"}, POSTS * 2),
        (
            "wrong_account",
            {"own": "me"},
            [{**post, "owner": {"id": "m1"}} for post in POSTS],
        ),
        (
            "rewrite",
            {"how": "excerpt", "characters": 1},
            [{**post, "text": f"{post['text'][0]}…"} for post in POSTS],
        ),
    ],
)
def test_a_list_is_changed_and_nothing_else(kind, facts, changed):
    """A fault changes the posts of a list and nothing else.

    The list is at the top or in an object; the contents of its posts stay.
    """
    for wrap in (lambda posts: posts, lambda posts: {"total": 2, "posts": posts}):
        body = json.dumps(wrap(POSTS)).encode()
        assert json.loads(change_body(kind, facts, FORMAT, body)) == wrap(changed)


def test_a_body_that_is_no_json_stays():
    """A body that is not JSON has no lists; broken JSON cannot be read."""
    assert change_body("empty_list", {}, FORMAT, b"<p>") == b"<p>"
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(change_body("bad_json", {}, None, json.dumps(POSTS).encode()))


@pytest.mark.parametrize(
    ("how", "before", "after"),
    [
        ("spaces", "a  b\n c ", "a b c"),
        ("emoji", "拨打📞110", "拨打110"),
        ("tail", "公告", "公告 网页链接 "),
        ("punctuation", "一,二：三", "一，二:三"),
        ("width", "Ｋ７", "K7"),
    ],
)
def test_a_text_is_rewritten(how, before, after):
    """Each kind of platform change to a text is available; any other is refused."""
    assert rewrite_text(before, how=how) == after
    with pytest.raises(ValueError, match="backwards"):
        rewrite_text(before, how="backwards")
