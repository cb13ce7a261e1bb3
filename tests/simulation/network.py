"""The network between processes and platforms.

It has real bytes of HTTP/1.1, simulated delays, and no socket.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from random import Random
from typing import Any

import h11
import httpcore
from starlette.types import ASGIApp

from tests.simulation.loop import VirtualLoop, context_of
from tests.simulation.platforms import EPOCH

QUICK, SLOW = 0.005, 0.12
"""Seconds between the two ends, at least and at most."""


@dataclass(eq=False, slots=True)
class SimulatedConnection:
    """One connection.

    The platform's end belongs to no process: it goes on when the caller crashes.
    """

    network: "SimulatedNetwork"
    answer: asyncio.StreamReader = field(default_factory=asyncio.StreamReader)
    error: Exception | None = None
    """The error of the caller's read after the last byte; None at an orderly end."""
    closed_by_caller: asyncio.Event = field(default_factory=asyncio.Event)
    server: h11.Connection = field(default_factory=lambda: h11.Connection(h11.SERVER))
    request: h11.Request | None = None
    body: bytearray = field(default_factory=bytearray)
    is_served: bool = False
    in_flight: deque[bytes] = field(default_factory=deque)

    def receive(self) -> None:
        """Receive the next bytes of the caller; serve the call as soon as it is complete."""
        self.server.receive_data(self.in_flight.popleft())
        while True:
            event = self.server.next_event()
            match event:
                case h11.Request():
                    self.request = event
                case h11.Data():
                    self.body += event.data
                case h11.EndOfMessage():
                    if not self.is_served:
                        self.is_served = True
                        self.network.loop.live(None, self._serve())
                    return
                case _:
                    return

    async def _serve(self) -> None:
        """Pass the call to the platforms, and their answer to the caller."""
        assert self.request is not None
        try:
            await self.network.application(
                _scope(self.request), self._receiver(), self._sender()
            )
        except ConnectionResetError as cut:
            await self.network.pause()
            self.error = cut if self.network.rng.random() < 0.5 else None
        self.answer.feed_eof()

    def _receiver(self) -> Callable[[], Any]:
        reported = [
            {"type": "http.request", "body": bytes(self.body), "more_body": False}
        ]

        async def receive() -> Mapping[str, Any]:
            if reported:
                return reported.pop()
            await self.closed_by_caller.wait()
            return {"type": "http.disconnect"}

        return receive

    def _sender(self) -> Callable[[Mapping[str, Any]], Any]:
        async def send(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                await self.network.pause()
                head = [
                    f"HTTP/1.1 {message['status']} .".encode(),
                    *(b": ".join(pair) for pair in message["headers"]),
                ]
                now = datetime.fromtimestamp(EPOCH + self.network.loop.time(), UTC)
                date = f"date: {format_datetime(now, usegmt=True)}".encode()
                self.answer.feed_data(
                    b"\r\n".join([*head, date, b"connection: close", b"", b""])
                )
            else:
                self.answer.feed_data(message.get("body", b""))

        return send


@dataclass(eq=False, slots=True)
class Stream(httpcore.AsyncNetworkStream):
    """The caller's end of a connection."""

    line: SimulatedConnection

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 # httpcore's signature
        data = await self.line.answer.read(max_bytes)
        if not data and self.line.error is not None:
            raise self.line.error
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 # httpcore's signature
        self.line.network.deliver(self.line, buffer)

    async def aclose(self) -> None:
        self.line.closed_by_caller.set()


@dataclass(eq=False, slots=True)
class SimulatedNetwork(httpcore.AsyncNetworkBackend):
    """Carries bytes to one application.

    `connect_delay` returns the additional seconds of an attempt to connect, `connect_failure` how
    it fails.
    """

    loop: VirtualLoop
    application: ASGIApp
    rng: Random
    connect_failure: Callable[[], str | None] = lambda: None
    connect_delay: Callable[[], float] = lambda: 0.0

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 # httpcore's signature
        local_address: str | None = None,
        socket_options: object = None,
    ) -> httpcore.AsyncNetworkStream:
        await self.pause()
        if slow := self.connect_delay():
            await asyncio.sleep(slow)
        match self.connect_failure():
            case "refused":
                raise ConnectionRefusedError("refused")
            case "no_name":
                raise socket.gaierror(socket.EAI_NONAME, "no name")
            case "silence":
                await asyncio.sleep(3600)
        return Stream(SimulatedConnection(self))

    async def pause(self) -> None:
        await asyncio.sleep(QUICK + self.rng.random() * (SLOW - QUICK))

    def deliver(self, line: SimulatedConnection, data: bytes) -> None:
        """Deliver bytes to the platform; they arrive even if the caller crashes."""
        line.in_flight.append(data)
        self.loop.call_later(QUICK, line.receive, context=context_of(None))


def _scope(request: h11.Request) -> dict[str, Any]:
    path, _, query = request.target.partition(b"?")
    return {
        "type": "http",
        "http_version": "1.1",
        "method": request.method.decode(),
        "path": path.decode(),
        "raw_path": path,
        "query_string": query,
        "headers": [(bytes(name), bytes(value)) for name, value in request.headers],
        "client": ("127.0.0.1", 1),
    }
