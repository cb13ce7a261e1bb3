"""Clients that hold connections to an address: most send nothing, some send slowly.

When closed they reconnect at once. Run as `request_flood.py PORT SILENT DRIPPING SECONDS`, in its
own process, so that it takes no time from the test. It writes a line when all have connected once,
and at the end its figures as JSON.
"""

import asyncio
import contextlib
import json
import resource
import socket
import sys
import time

DRIP_SECONDS = 0.5
HEAD = b"POST /callback/wechat/beijing-wechat HTTP/1.1\r\nHost: a\r\nX: "


class FloodState:
    """State shared by all clients."""

    def __init__(self, port: int, clients: int) -> None:
        self.port = port
        self.clients = clients
        self.have_all_connected = asyncio.Event()
        self.open: set[int] = set()
        self.connected: set[int] = set()
        self.connections = self.closed = self.bytes_dripped = 0

    async def hold(self, number: int, *, drips: bool) -> None:
        while True:
            with socket.socket() as stream, contextlib.suppress(OSError):
                stream.setblocking(False)  # noqa: FBT003 # the socket's own signature
                await asyncio.get_running_loop().sock_connect(
                    stream, ("127.0.0.1", self.port)
                )
                self.connections += 1
                self.connected.add(number)
                if len(self.connected) == self.clients:
                    self.have_all_connected.set()
                self.open.add(number)
                try:
                    await (self._drip(stream) if drips else self._wait(stream))
                finally:
                    self.open.discard(number)
            self.closed += 1

    async def _wait(self, stream: socket.socket) -> None:
        await asyncio.get_running_loop().sock_recv(stream, 1)

    async def _drip(self, stream: socket.socket) -> None:
        stream.send(HEAD)
        while not await _is_closed(stream, DRIP_SECONDS):
            stream.send(b"x")
            self.bytes_dripped += 1


async def _is_closed(stream: socket.socket, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        # wait_for would now and then swallow the end of the flood
        async with asyncio.timeout(seconds):
            return not await asyncio.get_running_loop().sock_recv(stream, 1)
    return False


def write(facts: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def flood(
    port: int, silent: int, dripping: int, seconds: float
) -> dict[str, object]:
    together = FloodState(port, silent + dripping)
    tasks = [
        asyncio.create_task(together.hold(n, drips=n < dripping))
        for n in range(silent + dripping)
    ]
    began = time.monotonic()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(together.have_all_connected.wait(), seconds)
    write({"seconds_until_all_had_connected": round(time.monotonic() - began, 2)})
    held = []
    while time.monotonic() < began + seconds:
        await asyncio.sleep(0.25)  # between two samples of the flood
        held.append(len(together.open))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return {
        "connected_once": len(together.connected),
        "connections": together.connections,
        "closed_by_the_listener": together.closed,
        "held_at_least": min(held, default=0),
        "held_on_average": round(sum(held) / max(1, len(held))),
        "bytes_dripped": together.bytes_dripped,
    }


if __name__ == "__main__":
    port, silent, dripping, seconds = (int(argument) for argument in sys.argv[1:])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (min(hard, silent + dripping + 100), hard)
    )
    write(asyncio.run(flood(port, silent, dripping, seconds)))
