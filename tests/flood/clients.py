"""Clients that flood a dashboard.

They send sign-ins from many addresses, slow connections, and many streams of one user. Run as
`python -m tests.flood.clients` with a Flood as JSON in a line of standard input, in its own
process. It writes a line of JSON when all connections have been open once, and its counts when its
standard input ends.

In reality these clients are other machines, so the process gives way to publisher and its users.
Otherwise its share of the processors would be measured, too. A flood that is weakened by that shows
in its counts.
"""

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from publisher.web.http.server import raise_descriptor_limit
from tests.wait import eventually

ATTEMPT_SECONDS = 1.0
"""Seconds between two sign-ins of an address; a sign-in waits for no answer."""
DRIP_SECONDS = 0.5
RECONNECT_SECONDS = 1.0
"""How soon a slow client connects again after it was closed."""
PATIENCE_SECONDS = 60
"""Within so long every slow client has been connected."""
RIGHT_SHARE = 0.02
"""How many sign-ins have the right password."""
ADDRESSES_OF_SLOW = 20
NICENESS = 10
SESSION_NICENESS = Path("/proc/self/autogroup")
"""The priority of a session.

Where Linux shares processors among sessions first, a process gives way to another session only by
this.
"""
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
SLOW_HEAD = b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "
SLOW_FORM = f"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\n{FORM}Content-Length: 500000\r\n\r\nname=".encode()
PROXY = "127.0.0.1"
"""Where the proxy connects from that is in front of the dashboard, if there is one."""
PROXY_HOST = "publisher.example.gov.cn"
"""The host that people open, by TLS, where a proxy is in front."""


def proxy_headers(address: str) -> Mapping[str, str]:
    """Return the proxy's headers for a request of a client with this address."""
    return {
        "Host": PROXY_HOST,
        "X-Forwarded-For": address,
        "X-Forwarded-Proto": "https",
    }


def format_headers(address: str, *, is_proxied: bool) -> str:
    """Return the first headers of a request of this client."""
    headers = proxy_headers(address) if is_proxied else {"Host": "127.0.0.1"}
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def session_cookie_name(*, is_proxied: bool) -> str:
    """Return the name of the session's cookie.

    Its prefix says that it came by TLS.
    """
    return "__Host-publisher_session" if is_proxied else "publisher_session"


@dataclass(slots=True, kw_only=True)
class FloodSize:
    """The size of a flood and its number of addresses.

    `passwords` are the users' passwords, by name.
    """

    port: int
    addresses: int
    slow_heads: int
    slow_forms: int
    silent: int
    streams: int
    """Live pages that one user opens at once, each again as soon as it has ended."""
    stream_addresses: int
    """How many addresses these come from."""
    is_proxied: bool
    """True if all come through one proxy.

    The proxy passes on whole requests alone: then nobody is slow.
    """
    session: str = field(repr=False)
    passwords: Mapping[str, str] = field(repr=False)
    counts: Counter[str] = field(default_factory=Counter)
    held: set[int] = field(default_factory=set)
    """The slow clients that have been connected."""

    @property
    def slow(self) -> list[bytes]:
        """Return how each slow client begins."""
        if self.is_proxied:
            return []
        return (
            [SLOW_HEAD] * self.slow_heads
            + [SLOW_FORM] * self.slow_forms
            + [b""] * self.silent
        )

    async def run(self) -> None:
        """Flood until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.addresses):
                group.create_task(self._sign_in_again_and_again(number, group))
            for number, beginning in enumerate(self.slow):
                group.create_task(self._hold(number, beginning))
            for number in range(self.streams):
                group.create_task(
                    self._stream_again_and_again(
                        f"127.0.2.{number % self.stream_addresses + 101}"
                    )
                )

    async def _sign_in_again_and_again(
        self, number: int, group: asyncio.TaskGroup
    ) -> None:
        await asyncio.sleep(random.random() * ATTEMPT_SECONDS)  # noqa: S311 # the clients do not come in step
        while True:
            group.create_task(self._sign_in(f"127.0.1.{number + 1}"))
            await asyncio.sleep(ATTEMPT_SECONDS)  # the pace of the flood

    async def _sign_in(self, address: str) -> None:
        name = random.choice([*self.passwords, f"nobody-{random.randrange(1000)}"])  # noqa: S311 # no secret
        is_right = random.random() < RIGHT_SHARE  # noqa: S311 # no secret
        password = self.passwords.get(name, "") if is_right else "a wrong password"
        body = urlencode({"name": name, "password": password})
        head = f"POST /login HTTP/1.1\r\n{format_headers(address, is_proxied=self.is_proxied)}{FORM}"
        self.counts["sign-ins sent"] += 1
        with contextlib.suppress(OSError):
            async with self._connect(address) as (reader, writer):
                writer.write(
                    f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
                )
                status = (
                    (await reader.readline()).decode("ascii").partition(" ")[2].strip()
                )
                self.counts[f"sign-ins answered {status[:3] or 'by a close'}"] += 1

    async def _hold(self, number: int, beginning: bytes) -> None:
        address = f"127.0.2.{number % ADDRESSES_OF_SLOW + 1}"
        await asyncio.sleep(random.random() * RECONNECT_SECONDS)  # noqa: S311 # as above
        while True:
            with contextlib.suppress(OSError):
                async with self._connect(address) as (reader, writer):
                    self.held.add(number)
                    self.counts["slow connections"] += 1
                    writer.write(beginning)
                    while not await _is_closed(reader):
                        writer.write(b"x" if beginning else b"")
            self.counts["slow connections closed"] += 1
            await asyncio.sleep(RECONNECT_SECONDS)  # the pace of the flood

    async def _stream_again_and_again(self, address: str) -> None:
        name = session_cookie_name(is_proxied=self.is_proxied)
        cookie = f"Cookie: {name}={self.session}\r\n"
        headers = f"{format_headers(address, is_proxied=self.is_proxied)}{cookie}"
        while True:
            with contextlib.suppress(OSError):
                async with self._connect(address) as (reader, writer):
                    writer.write(
                        f"GET /events?view=today HTTP/1.1\r\n{headers}\r\n".encode()
                    )
                    status = (
                        (await reader.readline())
                        .decode("ascii")
                        .partition(" ")[2]
                        .strip()
                    )
                    self.counts[f"streams answered {status[:3] or 'by a close'}"] += 1
                    while status.startswith("200") and await reader.read(65_536):
                        pass
            await asyncio.sleep(RECONNECT_SECONDS)  # the pace of the flood

    @contextlib.asynccontextmanager
    async def _connect(self, address: str):
        local = PROXY if self.is_proxied else address
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(local, 0)
        )
        try:
            yield reader, writer
        finally:
            writer.close()


async def _is_closed(reader: asyncio.StreamReader) -> bool:
    """Wait for the next byte to drip; return True if the other side has closed instead."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRIP_SECONDS):
            return not await reader.read(4096)
    return False


def give_way() -> None:
    """Let this process run at a lower priority than the flooded dashboard.

    It does so as far as the system permits.
    """
    os.nice(NICENESS)
    # what an interactive shell has started leads a group already
    with contextlib.suppress(OSError):
        os.setsid()
    if (
        os.getsid(0) == os.getpid()
    ):  # else it would be the shell whose session gives way
        # not on every system, and not when it was written a moment ago
        with contextlib.suppress(OSError):
            SESSION_NICENESS.write_text(str(NICENESS))


def write_line(facts: Mapping[str, float]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def main() -> None:
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    flood = FloodSize(**json.loads(await reader.readline()))
    running = asyncio.create_task(flood.run())
    await eventually(
        lambda: len(flood.held) == len(flood.slow) or running.done(),
        PATIENCE_SECONDS,
        "slow connections",
    )
    write_line({"held": len(flood.held)})
    began, spent = time.monotonic(), time.process_time()
    await asyncio.wait(
        [running, asyncio.create_task(reader.read())],
        return_when=asyncio.FIRST_COMPLETED,
    )
    if running.done():
        await running
    running.cancel()
    share = (time.process_time() - spent) / (time.monotonic() - began)
    write_line(
        {**flood.counts, "percent of a core taken by the clients": round(100 * share)}
    )


if __name__ == "__main__":
    raise_descriptor_limit()
    give_way()
    asyncio.run(main())
