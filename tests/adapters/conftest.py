"""Fixtures of the adapter tests.

A context over a mocked transport, send requests, and golden files.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from adapters._http import LoginHttp
from publisher.contract import AdapterContext, Token
from publisher.domain.account import AccountId, Platform
from publisher.domain.post import (
    Baseline,
    DeliveryId,
    Marker,
    RenderedImage,
    RenderedPost,
    SendRequest,
)
from publisher.testing.conformance.harness import MemoryAdapterState
from tests.unguarded import UNGUARDED

GOLDEN = Path(__file__).parent / "golden"
NOON = datetime(2026, 11, 24, 4, 0, 30, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n-picture-"
MARKER = "K7QM-4R2T"
OLDEST_IDS = {"weibo": "1"}
"""The account's newest post before the call.

It is given where the adapter reads an account without any post before its first call.
"""


@dataclass
class Tokens:
    """A token store in memory; its tokens never expire."""

    value: str | None = None

    async def current(self) -> str | None:
        return self.value

    async def renew(
        self, stale: str | None, fetch: Callable[[], Awaitable[Token | None]]
    ) -> str | None:
        if self.value is None or self.value == stale:
            token = await fetch()
            self.value = token.value if token else None
        return self.value


def context_over(
    transport: httpx.AsyncBaseTransport,
    secret: Callable[[], Mapping[str, str]],
    *,
    host: str = "127.0.0.1",
    monotonic: Callable[[], float] = lambda: 0.0,
    **changes: Any,
) -> AdapterContext:
    """Return a context with calls to one host only, over a given transport, without waits."""

    async def nothing(_what: object) -> None:
        return

    http = LoginHttp(
        **UNGUARDED,
        transport=transport,
        request_timeout=timedelta(seconds=5),
        monotonic=monotonic,
        failpoint=lambda _name: None,
        is_host_allowed=lambda asked: host in (asked, "*"),
        sleep=nothing,
    )
    context = AdapterContext(
        http=http,
        secret=secret,
        tokens=Tokens(),
        state=MemoryAdapterState(),
        now=lambda: datetime.now(UTC),
        failpoint=nothing,
    )
    return replace(context, **changes)


@dataclass
class MockServer:
    """An adapter context over respx's router as transport, and the list of passed failpoints."""

    secret: dict[str, str]
    router: respx.Router = field(
        default_factory=lambda: respx.Router(assert_all_called=False)
    )
    now: datetime = NOON
    failpoints: list[str] = field(default_factory=list)

    def context(self) -> AdapterContext:
        async def pass_by(name: str) -> None:
            self.failpoints.append(name)

        transport = httpx.MockTransport(self.router.async_handler)
        return context_over(
            transport,
            lambda: self.secret,
            host="*",
            now=lambda: self.now,
            failpoint=pass_by,
        )

    @property
    def requests(self) -> list[httpx.Request]:
        return [call.request for call in self.router.calls]


@pytest.fixture
def make_server():
    return MockServer


@pytest.fixture
def make_request():
    def make(
        platform: str,
        *,
        text: str,
        title: str = "警惕“退款客服”诈骗",
        link: str | None = None,
        **changes,
    ):
        pictures = changes.pop("pictures", ())
        rendered = RenderedPost(
            account=AccountId(f"beijing-{platform}"),
            platform=Platform(platform),
            marker=Marker(code=MARKER),
            title=title,
            text=text,
            link=link,
            images=pictures,
        )
        send_request = SendRequest(
            delivery=DeliveryId(1),
            attempt=1,
            account=rendered.account,
            rendered=rendered,
            images=tuple(PNG for _ in pictures),
            baseline=Baseline(
                newest_id=OLDEST_IDS.get(platform), taken_at=NOON - timedelta(minutes=2)
            ),
            intended_at=NOON,
            start_by=200.0,
        )
        return replace(send_request, **changes)

    return make


@pytest.fixture
def picture():
    return RenderedImage(
        sha256="0" * 64,
        media_type="image/png",
        size=len(PNG),
        width=640,
        height=360,
        alt="示意图",
    )


@pytest.fixture
def golden():
    """Compare a request with its golden file, with the random boundary of a form replaced."""

    def compare(name: str, request: httpx.Request) -> None:
        assert spell(request) == (GOLDEN / f"{name}.request").read_bytes()

    return compare


@pytest.fixture
def answer():
    """Read a golden answer."""

    def read(name: str, status: int = 200) -> httpx.Response:
        return httpx.Response(
            status, content=(GOLDEN / f"{name}.answer.json").read_bytes()
        )

    return read


_LEFT_OUT = {
    "host",
    "accept",
    "accept-encoding",
    "connection",
    "user-agent",
    "content-length",
}


def spell(request: httpx.Request) -> bytes:
    """Format a request as text: request line, significant headers sorted by name, body."""
    boundary = re.search(
        r"boundary=([0-9a-f]+)", request.headers.get("content-type", "")
    )
    headers = sorted(
        f"{name}: {value}"
        for name, value in request.headers.items()
        if name not in _LEFT_OUT
    )
    head = "\n".join([f"{request.method} {request.url}", *headers]).encode()
    spelled = head + b"\n\n" + request.content + b"\n"
    return (
        spelled.replace(boundary.group(1).encode(), b"BOUNDARY")
        if boundary
        else spelled
    )
