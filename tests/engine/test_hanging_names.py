"""The name server hangs for one platform's host; everything else goes on."""

import asyncio
import os
import socket
import threading
from datetime import timedelta

import pytest

import adapters._http
from adapters._http import LoginHttp
from publisher.contract import HttpRequest
from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.engine.sender import send_due
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter
from tests.unguarded import UNGUARDED

HANGING = [f"h{number}" for number in range(40)]
"""More accounts than the loop's own pool has threads on any machine here."""


class Named(FakeAdapter):
    """A platform with a host name that must be resolved."""

    def __init__(self, **facts):
        super().__init__(**facts)
        self.http = LoginHttp(
            **UNGUARDED,
            request_timeout=timedelta(seconds=60),
            monotonic=lambda: 0.0,
            failpoint=lambda _name: None,
            is_host_allowed=lambda _host: True,
        )
        self.called = asyncio.Event()

    async def publish(self, request):
        self.called.set()
        return await self.http.create(
            HttpRequest(method="POST", url="http://platform.invalid/post"), request
        )


class Noticing(FakeAdapter):
    """A healthy platform that signals when it has been called."""

    def __init__(self, **facts):
        super().__init__(**facts)
        self.called = asyncio.Event()

    async def publish(self, request):
        outcome = await super().publish(request)
        self.called.set()
        return outcome


@pytest.fixture
def name_server(monkeypatch):
    """Yield an event; once set, the name server answers that there is no such host."""
    monkeypatch.setattr(adapters._http, "_pending_lookups", {})
    free = threading.Event()

    def hang(*_args, **_facts):
        free.wait(60)
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield free
    free.set()


async def test_f18_a_hanging_name_server_delays_no_other_platform_and_no_read(
    open_store, runtime, name_server
):
    """F18, I20: an urgent post elsewhere is sent and read back during a hanging name lookup.

    Calls to one platform wait for the name.
    """
    assert len(HANGING) > min(32, (os.cpu_count() or 1) + 4)
    store = await open_store(*(make_policy(name) for name in [*HANGING, "a"]))
    good = Noticing(now=runtime.now)
    adapters = {AccountId(name): Named(now=runtime.now) for name in HANGING} | {
        AccountId("a"): good
    }
    await enqueue_posts(store.posts, make_post("brief", HANGING, START_TIME))
    await store.maintenance.promote_due()
    queries, stopping = store.queries, asyncio.Event()
    delivering = asyncio.create_task(send_due(store, adapters, 300, stopping))
    async with asyncio.timeout(30):
        await asyncio.gather(
            *(adapters[AccountId(name)].called.wait() for name in HANGING)
        )
        await enqueue_posts(
            store.posts, make_post("red", ["a"], START_TIME, is_urgent=True)
        )
        await store.maintenance.promote_due()
        await good.called.wait()
        assert len(await queries.deliveries(PostId("red"))) == 1
        assert {item.state for item in await queries.deliveries(PostId("brief"))} == {
            State.SENDING
        }
    name_server.set()
    await delivering
    assert [item.state for item in await queries.deliveries(PostId("red"))] == [
        State.PUBLISHED
    ]
    ended = await queries.deliveries(PostId("brief"))
    assert {(item.state, item.reason) for item in ended} == {
        (State.RETRYING, "dns_failed")
    }
