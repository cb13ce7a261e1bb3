"""The simulated WeChat: the handshake of a URL, and the events it receives at the end of jobs."""

import asyncio
import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import pytest

from publisher.simulator.wechat import callbacks
from publisher.simulator.wechat.callbacks import compute_signature, encrypt, to_xml
from tests.simulator.wechat_calls import call, draft, posts, send, shift, submit
from tests.wait import eventually

PATIENCE = 60
TOKEN, AES_KEY = "simtoken", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
ENCRYPTED = (
    "Q3stYC6hdFzMh9T8HCvyDH8rV9sxtGipw/VmHAPJHrzg/hCz0Kt7vDt+1Jwg/ZcaGWb42QdpjCNltexM0vfpLRDUmaZ/tVIOmwaRiUZphYmoj6s9"
    "PTu6Yh4B1ur6mfuc"
)


@dataclass
class EventReceiver:
    """A server that receives events: it responds from a list, then with `success`."""

    port: int = 0
    received: asyncio.Queue = field(default_factory=asyncio.Queue)
    responses: list = field(default_factory=list)

    async def handle(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(re.search(r"Content-Length: (\d+)", head)[1])
        body = (await reader.readexactly(length)).decode()
        method, target, _ = head.split(" ", 2)
        query = dict(parse_qsl(urlsplit(target).query))
        echo = query.get("echostr")
        answer = self.responses.pop(0) if self.responses else (200, echo or "success")
        if echo is None:
            await self.received.put((method, query, body))
        if answer is None:
            await reader.read()
        else:
            status, text = answer
            writer.write(
                f"HTTP/1.0 {status} OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
            )
            await writer.drain()
        writer.close()

    async def event(self):
        return await asyncio.wait_for(self.received.get(), PATIENCE)


@pytest.fixture
async def receiver():
    made = EventReceiver()
    async with await asyncio.start_server(made.handle, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


async def register(sim, receiver, **changes):
    wanted = {
        "account": "wx1",
        "url": f"http://127.0.0.1:{receiver.port}/wx?a=1",
        "token": TOKEN,
        **changes,
    }
    return await sim.post("/_sim/callbacks", json=wanted)


async def wait_for_callbacks(sim, count):
    """Wait until this many callbacks are logged, and return them."""

    async def calls():
        found = [
            entry
            for entry in (await sim.get("/_sim/log")).json()
            if entry["kind"] == "callback"
        ]
        return (found,) if len(found) >= count else None  # none is an answer as well

    [found] = await eventually(calls, PATIENCE)
    return found


def test_encryption_and_signatures_are_wechatpys():
    """Encryption and signatures equal wechatpy's for the same input, byte for byte."""
    event = "<xml><Event><![CDATA[PUBLISHJOBFINISH]]></Event></xml>"
    assert (
        compute_signature(TOKEN, "1700000000", "n0nce")
        == "2913e9e6ba69b4cc869b3cf12031f795d85e7fda"
    )
    assert (
        encrypt(event, AES_KEY, "wx0000000000000001", b"0123456789abcdef") == ENCRYPTED
    )
    assert (
        compute_signature(TOKEN, "1700000000", "n0nce", ENCRYPTED)
        == "5c5eb66ec7bff666c4133aafa9f6c4ec2b60f6d4"
    )


def test_lists_repeat_their_name():
    """Numbers are bare, texts CDATA, each item of a list has its own element."""
    assert (
        to_xml({"a": {"b": [1, 2]}, "c": "x"})
        == "<xml><a><b>1</b><b>2</b></a><c><![CDATA[x]]></c></xml>"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"account": ""},
        {"url": "ftp://x/"},
        {"token": "x"},
        {"mode": "loud"},
        {"mode": "aes", "aes_key": "short"},
        {"platform": "weibo"},
    ],
)
async def test_invalid_registrations_are_refused(sim, receiver, changes):
    """Each field of a registration is checked before the URL is called."""
    assert (await register(sim, receiver, **changes)).status_code == 400
    assert await wait_for_callbacks(sim, 0) == []


@pytest.mark.parametrize("answer", [(200, "hello"), (500, "x"), None])
async def test_a_url_must_echo(sim, receiver, token, answer, monkeypatch):
    """A URL that fails the handshake is not registered and receives nothing."""
    monkeypatch.setattr(callbacks, "RESPONSE_TIMEOUT_SECONDS", 0.2)
    receiver.responses = [answer]
    assert (await register(sim, receiver)).status_code == 400
    await submit(sim, token, await draft(sim, token))
    await shift(sim, 1)
    assert await wait_for_callbacks(sim, 0) == []


async def test_a_publication_is_sent_with_its_signature(sim, receiver, token):
    """The event names job, article and URL; the query is signed with the token."""
    assert (await register(sim, receiver)).json() == {"ok": True}
    job = await submit(sim, token, await draft(sim, token))
    await shift(sim, 1)
    method, query, body = await receiver.event()
    expected = sorted([TOKEN, query["timestamp"], query["nonce"]])
    assert (
        query["signature"]
        == hashlib.sha1("".join(expected).encode(), usedforsecurity=False).hexdigest()
    )
    assert (method, query["a"], query["openid"]) == ("POST", "1", "mphelper")
    (post,) = await posts(sim)
    assert "<Event><![CDATA[PUBLISHJOBFINISH]]></Event>" in body
    assert (
        f"<publish_id>{job['publish_id']}</publish_id><publish_status>0</publish_status>"
        in body
    )
    assert (
        f"<article_id><![CDATA[{post['id']}]]></article_id><article_detail><count>1</count><item><idx>1</idx>"
        in body
    )
    (logged,) = await wait_for_callbacks(sim, 1)
    assert (logged["endpoint"], logged["post_id"], logged["status"]) == (
        "/callback/PUBLISHJOBFINISH",
        post["id"],
        200,
    )


@pytest.mark.parametrize("status", [2, 3, None])
async def test_a_refusal_lists_its_articles(sim, receiver, token, status):
    """Every refused article has its own element."""
    await register(sim, receiver)
    fault = {"kind": "review", "seconds": 1, "verdict": "refuse", "status": status}
    await sim.post(
        "/_sim/faults", json={"endpoint": "*/freepublish/submit", "fault": fault}
    )
    name = await draft(sim, token)
    one = (await call(sim, token, "draft/get", {"media_id": name}))["news_item"][0]
    both = (await call(sim, token, "draft/add", {"articles": [one, one]}))["media_id"]
    await submit(sim, token, both)
    await shift(sim, 2)
    _, _, body = await receiver.event()
    assert (
        f"<publish_status>{status or 4}</publish_status>"
        "<fail_idx>1</fail_idx><fail_idx>2</fail_idx>" in body
    )


async def test_a_mass_send_is_reported_with_its_counts(sim, receiver, token):
    """Id, status, counts and URLs of the articles."""
    await register(sim, receiver)
    sent = await send(sim, token, await draft(sim, token))
    await shift(sim, 1)
    _, _, body = await receiver.event()
    url = (await posts(sim))[0]["url"]
    assert (
        f"<MsgID>{sent['msg_id']}</MsgID><Status><![CDATA[send success]]></Status>"
        "<TotalCount>1000</TotalCount>" in body
    )
    assert (
        "<FilterCount>1000</FilterCount><SentCount>1000</SentCount><ErrorCount>0</ErrorCount>"
        in body
    )
    assert (
        f"<ArticleUrlResult><Count>1</Count><ResultList><item><ArticleIdx>1</ArticleIdx><ArticleUrl><![CDATA[{url}]"
        in body
    )


@pytest.mark.parametrize(
    ("fault", "expected"), [({"status": 20001}, "err(20001)"), ({}, "send fail")]
)
async def test_a_refused_mass_send_has_a_reason(sim, receiver, token, fault, expected):
    """With a code if there is one; nobody received it."""
    await register(sim, receiver)
    rule = {"kind": "review", "seconds": 1, "verdict": "refuse", **fault}
    await sim.post("/_sim/faults", json={"endpoint": "*/sendall", "fault": rule})
    await send(sim, token, await draft(sim, token))
    await shift(sim, 2)
    _, _, body = await receiver.event()
    assert f"<Status><![CDATA[{expected}]]></Status>" in body
    assert "<SentCount>0</SentCount>" in body


@pytest.mark.parametrize("mode", ["aes", "compatible"])
async def test_an_encrypted_event_is_signed_twice(sim, receiver, token, mode):
    """The ciphertext has a signature of its own; only mode `compatible` adds the plain event."""
    await register(sim, receiver, mode=mode, aes_key=AES_KEY)
    await submit(sim, token, await draft(sim, token))
    await shift(sim, 1)
    _, query, body = await receiver.event()
    ciphertext = re.search(r"<Encrypt><!\[CDATA\[(.+?)\]\]></Encrypt>", body)[1]
    assert query["encrypt_type"] == "aes"
    assert query["msg_signature"] == compute_signature(
        TOKEN, query["timestamp"], query["nonce"], ciphertext
    )
    assert ("PUBLISHJOBFINISH" in body) is (mode == "compatible")


@pytest.mark.parametrize("answer", [(500, "success"), (200, '{"ok":true}'), None])
async def test_an_event_is_sent_three_times(sim, receiver, token, answer, monkeypatch):
    """After an error, a wrong response or a timeout the same event is sent again, twice.

    Then it is lost.
    """
    await register(sim, receiver)
    monkeypatch.setattr(callbacks, "RESPONSE_TIMEOUT_SECONDS", 0.1)
    receiver.responses = [answer] * 3
    await submit(sim, token, await draft(sim, token))
    await shift(sim, 1)
    bodies = [(await receiver.event())[2] for _ in range(3)]
    assert len(set(bodies)) == 1
    assert [entry["status"] for entry in await wait_for_callbacks(sim, 3)] == [
        answer and answer[0]
    ] * 3
    assert receiver.received.empty()


async def test_an_empty_response_is_a_success(sim, receiver, token):
    """An empty body counts like `success`."""
    await register(sim, receiver)
    receiver.responses = [(200, "")]
    await submit(sim, token, await draft(sim, token))
    await shift(sim, 1)
    await receiver.event()
    assert len(await wait_for_callbacks(sim, 1)) == 1


async def test_fault_rules_apply_to_events(sim, receiver, token):
    """One is lost, the next sent twice, the third late; the log names the fault."""
    await register(sim, receiver)
    for nth, fault in enumerate(
        (
            {"kind": "drop_before"},
            {"kind": "duplicate"},
            {"kind": "delay", "seconds": 0.1},
        ),
        1,
    ):
        await sim.post(
            "/_sim/faults",
            json={"endpoint": "/callback/*", "nth": [nth], "fault": fault},
        )
    for count in (1, 3, 4):
        await submit(sim, token, await draft(sim, token))
        await shift(sim, 1)
        calls = await wait_for_callbacks(sim, count)
    assert [(entry["fault"], entry["status"]) for entry in calls] == [
        ("drop_before", None),
        ("duplicate", 200),
        ("duplicate", 200),
        ("delay", 200),
    ]
    assert receiver.received.qsize() == 3


async def test_a_url_can_be_removed(sim, receiver, token):
    """Without a `url`, an account has no receiver any more."""
    await register(sim, receiver)
    await register(sim, receiver, url="")
    await submit(sim, token, await draft(sim, token))
    await shift(sim, 1)
    assert await wait_for_callbacks(sim, 0) == []
    assert receiver.received.empty()
