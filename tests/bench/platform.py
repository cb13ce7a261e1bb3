"""A platform reduced to its speed: it accepts Weibo's share call and remembers every call.

It also lists an account's posts. It runs as a process of its own: `python -m tests.bench.platform
DELAY` prints its port and serves until it is killed; DELAY is in seconds. Any client that sends
Weibo's form may post to it. A token is the number of its account.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.utils import formatdate
from typing import Any

from tests.bench.process import running

BEIJING = timezone(timedelta(hours=8))
DAY_SECONDS = 86400
FIRST_ID = 5_250_000_000_000_000
CREATE_PATH = "/2/statuses/share.json"
_CREATE = b"/2/statuses/share"
_TIMELINE = b"/user_timeline"
_TOKEN_INFO = b"get_token_info"
_CALLS = b"GET /calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformClient:
    """The calls at the running platform.

    `marker` limits an answer to calls with it in the body, in ASCII.
    """

    base_url: str

    def calls(self, marker: str = "") -> Sequence[float]:
        """Return the time of each creating call's first byte, in epoch seconds, earliest first."""
        return sorted(at for at, _login, _text in self._get(marker=marker)["calls"])

    def published(self) -> Sequence[tuple[float, str, str]]:
        """Return when the first byte of each creating call arrived, its login and its text."""
        return [(at, login, text) for at, login, text in self._get(texts=1)["calls"]]

    def most_open(self) -> int:
        """Return the most creating calls that were open at once on one login."""
        return int(self._get()["most_open"])

    def wait_for(self, count: int, timeout: float, marker: str = "") -> Sequence[float]:
        """Wait until there were so many calls, and return them all. Raises TimeoutError."""
        return sorted(
            at
            for at, _login, _text in self._get(timeout, marker=marker, count=count)[
                "calls"
            ]
        )

    def _get(self, timeout: float = 60, **query: object) -> Mapping[str, Any]:
        url = f"{self.base_url}/calls?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310 # an address of this machine
            answer: Mapping[str, Any] = json.load(response)
            return answer


@contextlib.contextmanager
def run_platform(delay: float = 0.0) -> Iterator[PlatformClient]:
    """Run the platform. It answers each creating call after `delay` seconds."""
    with running(
        [sys.executable, "-m", "tests.bench.platform", str(delay)],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield PlatformClient(base_url=f"http://127.0.0.1:{port}")


@dataclass(slots=True)
class Waiter:
    """A connection that is answered after `missing` more calls with the marker in the body."""

    marker: bytes
    missing: int
    connection: "BenchConnection"
    with_texts: bool


@dataclass(slots=True)
class CallLog:
    """Every creating call: when its first byte came, its login and its body."""

    calls: list[tuple[float, str, bytes]] = field(default_factory=list)
    open: Counter[str] = field(default_factory=Counter)
    most_open: int = 0
    waiters: list[Waiter] = field(default_factory=list)

    def add(self, at: float, login: str, body: bytes) -> int:
        self.calls.append((at, login, body))
        self.open[login] += 1
        self.most_open = max(self.most_open, self.open[login])
        for waiter in tuple(self.waiters):
            waiter.missing -= waiter.marker in body
            self.answer_if_complete(waiter)
        return FIRST_ID + len(self.calls)

    def answer_if_complete(self, waiter: Waiter) -> None:
        if waiter.missing > 0:
            return
        if waiter in self.waiters:
            self.waiters.remove(waiter)
        found = [call for call in self.calls if waiter.marker in call[2]]
        calls = [
            (at, login, _text_of(body) if waiter.with_texts else "")
            for at, login, body in found
        ]
        waiter.connection.reply({"calls": calls, "most_open": self.most_open})

    def timeline(self, login: str) -> Sequence[Mapping[str, object]]:
        """Return a login's posts, newest first."""
        numbered = reversed(list(enumerate(self.calls, FIRST_ID + 1)))
        return [
            _post_as_json(number, owner, at, _text_of(body))
            for number, (at, owner, body) in numbered
            if owner == login
        ]


class BenchConnection(asyncio.Protocol):
    """One connection for one call."""

    def __init__(self, log: CallLog, delay: float) -> None:
        self.log = log
        self.delay = delay
        self.received = b""
        self.began_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.began_at = self.began_at or time.time()
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if separator and len(body) >= _content_length(head):
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        target = head.partition(b"\r\n")[0]
        login = head.lower().partition(b"oauth2 ")[2].partition(b"\r\n")[0].decode()
        if _CREATE in target:
            number = self.log.add(self.began_at, login, body)
            answer = _post_as_json(number, login, time.time())
            if self.delay:
                asyncio.get_running_loop().call_later(
                    self.delay, self._end, login, answer
                )
            else:
                self._end(login, answer)
        elif target.startswith(_CALLS):
            self._answer_calls(
                dict(urllib.parse.parse_qsl(target.split()[1].partition(b"?")[2]))
            )
        elif _TIMELINE in target:
            posts = self.log.timeline(login)
            self.reply({"statuses": posts, "total_number": len(posts)})
        elif _TOKEN_INFO in target:
            uid = int(body.partition(b"access_token=")[2])
            token = {
                "uid": uid,
                "appkey": "1000000000",
                "create_at": int(time.time()),
                "expire_in": DAY_SECONDS,
            }
            self.reply(token)
        else:
            self.reply({})

    def _answer_calls(self, query: Mapping[bytes, bytes]) -> None:
        marker = query.get(b"marker", b"")
        missing = int(query.get(b"count", 0)) - sum(
            marker in body for *_, body in self.log.calls
        )
        waiter = Waiter(marker, missing, self, with_texts=b"texts" in query)
        self.log.waiters.append(waiter)
        self.log.answer_if_complete(waiter)

    def _end(self, login: str, answer: Mapping[str, object]) -> None:
        self.log.open[login] -= 1
        self.reply(answer)

    def reply(self, answer: Mapping[str, object]) -> None:
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        head += f"Date: {formatdate(usegmt=True)}\r\nConnection: close\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()


def _post_as_json(
    number: int, login: str, at: float, text: str = ""
) -> Mapping[str, object]:
    return {
        "created_at": datetime.fromtimestamp(at, UTC)
        .astimezone(BEIJING)
        .strftime("%a %b %d %H:%M:%S %z %Y"),
        "id": number,
        "idstr": str(number),
        "user": {"id": int(login), "idstr": login},
        "text": text,
    }


def _text_of(body: bytes) -> str:
    return dict(urllib.parse.parse_qsl(body.decode("ascii"))).get("status", "")


def _content_length(head: bytes) -> int:
    found = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return int(found or 0)


async def serve(delay: float) -> None:
    """Serve on a free port of this machine."""
    log = CallLog()
    server = await asyncio.get_running_loop().create_server(
        lambda: BenchConnection(log, delay), "127.0.0.1", backlog=4096
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
