"""Sending a response, and the faults of its transport."""

import asyncio
import socket
import struct
from collections.abc import Callable
from email.utils import formatdate

from starlette.types import Receive, Send

from .request import ApiResponse

LINGER_RESET = struct.pack("ii", 1, 0)
PIECES_PER_SECOND = 10


class Transport:
    """Sends the response to one request, dated by `now`.

    Under uvicorn a reset closes the socket without an error page. Without a socket (in-process
    clients), a reset raises ConnectionResetError.
    """

    def __init__(self, receive: Receive, send: Send, now: Callable[[], float]) -> None:
        self._receive = receive
        self._send = send
        self._now = now
        self._transport: asyncio.Transport | None = getattr(
            getattr(send, "__self__", None), "transport", None
        )

    async def send(self, response: ApiResponse) -> None:
        await self._start(response)
        await self._send({"type": "http.response.body", "body": response.body})

    async def reset(self) -> None:
        """Reset the connection without a response."""
        if self._transport is None:
            raise ConnectionResetError("cut by the simulator")
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        self._transport.abort()
        await self._wait_for_disconnect()

    async def truncate(self, response: ApiResponse, keep: int) -> None:
        """Announce the whole body, send its first bytes, close the connection."""
        await self._start(response)
        await self._send(
            {
                "type": "http.response.body",
                "body": response.body[:keep],
                "more_body": True,
            }
        )
        await self._close()

    async def drip(
        self, response: ApiResponse, per_second: float, *, complete: bool
    ) -> None:
        """Send slowly; unless `complete`, close the connection before the last byte."""
        await self._start(response)
        body = response.body if complete else response.body[:-1]
        step = max(1, int(per_second / PIECES_PER_SECOND))
        for start in range(0, len(body), step):
            await asyncio.sleep(step / per_second)
            if self._transport is not None and self._transport.is_closing():
                return
            await self._send(
                {
                    "type": "http.response.body",
                    "body": body[start : start + step],
                    "more_body": True,
                }
            )
        if complete:
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await self._close()

    async def _start(self, response: ApiResponse) -> None:
        headers = [
            (b"content-type", response.content_type.encode("latin-1")),
            (b"content-length", str(len(response.body)).encode()),
            (b"date", formatdate(self._now(), usegmt=True).encode()),
        ]
        headers += [
            (name.lower().encode("latin-1"), str(value).encode("utf-8"))
            for name, value in response.headers.items()
        ]
        await self._send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": headers,
            }
        )

    async def _close(self) -> None:
        if self._transport is None:
            raise ConnectionResetError("cut by the simulator")
        self._transport.close()
        await self._wait_for_disconnect()

    async def _wait_for_disconnect(self) -> None:
        """Wait until the server has noticed, as it would add an error page of its own before."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def read_body(receive: Receive) -> bytes | None:
    """Return the whole body, or None if the caller disconnected before its end."""
    pieces: list[bytes] = []
    while (message := await receive())["type"] == "http.request":
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)
    return None
