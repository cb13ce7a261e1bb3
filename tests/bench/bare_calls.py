"""The bare calls for a workspace's posts: the bound of publisher's own work."""

import asyncio
import contextlib
import selectors
import socket
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters._http import LoginHttp
from adapters.weibo import api
from adapters.weibo.capabilities import SHARE
from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.account import AccountId
from publisher.domain.post import Baseline, DeliveryId, SendRequest
from publisher.store.db.tables import load_rendered_post
from tests.bench.database import read_rows
from tests.bench.workspace import PUBLIC_IP, uid_of
from tests.unguarded import UNGUARDED

REQUEST_TIMEOUT = timedelta(seconds=60)
START_WITHIN_SECONDS = 3600
RECEIVE_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class BareCall:
    """One creating call with the HTTP client of its login."""

    http: LoginHttp
    request: HttpRequest
    send_request: SendRequest

    async def make(self) -> None:
        """Make the call. Raises AssertionError unless the platform accepts it."""
        response = await self.http.create(self.request, self.send_request)
        if not isinstance(response, HttpResponse) or response.status != 200:
            raise AssertionError(response)


def bare_calls(folder: Path, base_url: str) -> Sequence[BareCall]:
    """Return the creating calls for everything that is filed in a workspace."""
    clients: dict[str, LoginHttp] = {}
    calls = []
    for number, (account, body) in enumerate(
        read_rows(folder, "SELECT account, body FROM rendered_post")
    ):
        rendered = load_rendered_post(body)
        endpoint = api.WeiboEndpoint(
            profile=SHARE, base_url=base_url, token=uid_of(account)
        )
        form = api.PostForm(text=rendered.text, marker_code="", client_ip=PUBLIC_IP)
        if account not in clients:
            clients[account] = LoginHttp(
                **UNGUARDED,
                request_timeout=REQUEST_TIMEOUT,
                monotonic=time.monotonic,
                failpoint=lambda _name: None,
                is_host_allowed=bool,
            )
        send_request = SendRequest(
            delivery=DeliveryId(number),
            attempt=1,
            account=AccountId(account),
            rendered=rendered,
            images=(),
            baseline=Baseline(newest_id=None, taken_at=datetime.now(UTC)),
            intended_at=datetime.now(UTC),
            start_by=time.monotonic() + START_WITHIN_SECONDS,
        )
        request = api.encode_share(endpoint, form, None)
        calls.append(
            BareCall(http=clients[account], request=request, send_request=send_request)
        )
    return calls


async def make_calls(calls: Sequence[BareCall], in_flight: int) -> None:
    """Make the calls by publisher's own HTTP client, so many at once."""
    waiting = iter(calls)

    async def make_next() -> None:
        for call in waiting:
            await call.make()

    await asyncio.gather(*(make_next() for _ in range(in_flight)))


def make_raw_calls(calls: Sequence[BareCall], in_flight: int) -> None:
    """Make the same calls by bare sockets, `in_flight` at once.

    Nothing that speaks HTTP in Python is faster.
    """
    waiting = iter([_encode(call.request) for call in calls])
    received: dict[socket.socket, bytes] = {}
    with selectors.DefaultSelector() as selector:

        def start_next() -> None:
            with contextlib.suppress(StopIteration):
                address, request = next(waiting)
                connection = socket.create_connection(address)
                connection.sendall(request)
                selector.register(connection, selectors.EVENT_READ)
                received[connection] = b""

        for _ in range(in_flight):
            start_next()
        while received:
            for key, _events in selector.select():
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                data = connection.recv(RECEIVE_BYTES)
                received[connection] += data
                if not data:
                    selector.unregister(connection)
                    connection.close()
                    if not received.pop(connection).startswith(b"HTTP/1.1 200 "):
                        raise AssertionError(connection)
                    start_next()


def _encode(request: HttpRequest) -> tuple[tuple[str, int], bytes]:
    """Return where a request goes, and its bytes."""
    url = urllib.parse.urlsplit(request.url)
    assert url.hostname is not None
    assert url.port is not None
    body = urllib.parse.urlencode(request.form)
    headers = {
        "host": url.netloc,
        "content-type": "application/x-www-form-urlencoded",
        "content-length": str(len(body)),
        "connection": "close",
        **request.headers,
    }
    lines = [
        f"{request.method} {url.path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return (url.hostname, url.port), ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
