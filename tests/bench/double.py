"""A platform reduced to its speed: answers Weibo's share call well, and remembers when each such call began.

Whose a token is it reports as well, as a daemon asks at its start; every account is without older posts.

Its own process: `python double.py DELAY MARK`, DELAY in seconds; calls whose body names MARK are remembered apart.
Prints its port, then serves until it is killed.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from email.utils import formatdate

BEIJING = timezone(timedelta(hours=8))
DAY = 86400
FIRST_ID = 5_250_000_000_000_000


class Calls:
    """What has come in: for each call, when its first byte arrived; for each login, how many were open at most."""

    def __init__(self, mark: str) -> None:
        self.mark = mark.encode()
        self.began: list[tuple[float, str]] = []
        self.marked: list[float] = []
        self.open: Counter[str] = Counter()
        self.most_open = 0

    def begin(self, at: float, login: str, body: bytes) -> int:
        self.began.append((at, login))
        if self.mark and self.mark in body:
            self.marked.append(at)
        self.open[login] += 1
        self.most_open = max(self.most_open, self.open[login])
        return FIRST_ID + len(self.began)

    def summary(self) -> dict[str, object]:
        return {"began": self.began, "marked": self.marked, "most_open": self.most_open}


class Connection(asyncio.Protocol):
    """One connection, which carries one call."""

    def __init__(self, calls: Calls, delay: float) -> None:
        self.calls = calls
        self.delay = delay
        self.received = b""
        self.began_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.began_at = self.began_at or time.time()
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if separator and len(body) >= _length(head):
            self._answer(head, body)

    def _answer(self, head: bytes, sent: bytes) -> None:
        if head.startswith(b"GET /calls"):
            self._reply(json.dumps(self.calls.summary()).encode())
            return
        if b"/2/statuses/share.json" not in head.partition(b"\r\n")[0]:
            self._reply(_told_of(head, sent))
            return
        login = head.lower().partition(b"oauth2 ")[2].partition(b"\r\n")[0].decode()
        number = self.calls.begin(self.began_at, login, sent)
        body = json.dumps(
            {
                "created_at": datetime.now(UTC).astimezone(BEIJING).strftime("%a %b %d %H:%M:%S %z %Y"),
                "id": number,
                "idstr": str(number),
                "user": {"id": int(login), "idstr": login},
            }
        ).encode()
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self._end, login, body)
        else:
            self._end(login, body)

    def _end(self, login: str, body: bytes) -> None:
        self.calls.open[login] -= 1
        self._reply(body)

    def _reply(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        head += f"Date: {formatdate(usegmt=True)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self.transport.close()


def _told_of(head: bytes, sent: bytes) -> bytes:
    """Answer what is no creating call; an account's token is its number."""
    if b"get_token_info" in head.partition(b"\r\n")[0]:
        uid = int(sent.partition(b"access_token=")[2])
        return json.dumps(
            {"uid": uid, "appkey": "1000000000", "create_at": int(time.time()), "expire_in": DAY}
        ).encode()
    return json.dumps({"statuses": [], "total_number": 0}).encode()


def _length(head: bytes) -> int:
    found = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return int(found or 0)


async def serve(delay: float, mark: str) -> None:
    """Serve on a free port of this machine."""
    calls = Calls(mark)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(calls, delay), "127.0.0.1", 0, backlog=4096
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), sys.argv[2]))
