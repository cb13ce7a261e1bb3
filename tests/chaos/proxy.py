"""An unreliable network before the platforms: `proxy.py --listen PORT --to PORT --seed N --rate P`.

Each connection's fate follows from the seed and its number. Most go through. Some are cut after so
many bytes on either way, reset, slowed down or made to drip. Now and then no connection is accepted
for a while.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

CHUNK = 65536
SLOWEST = 2.0
"""Longest wait for a reply, in seconds: longer than a call's deadline.

Requests arrive at once or not at all. A call that reaches the platforms late is therefore the
platforms' own fault.
"""
DRIP_BYTES, DRIP_EVERY = 24, 0.2
SHUT = 0.6
HEAD = 900
"""A request is about so long: cuts fall into it, or into the reply."""
FATES = ("reset", "cut_request", "cut_reply", "delay", "drip")
NOW = struct.pack("ii", 1, 0)
"""SO_LINGER: a close is a reset."""


@dataclass(slots=True)
class ProxyNetwork:
    port: int
    seed: int
    rate: float
    shut_every: float
    seen: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry one connection to the platforms, if its fate lets it."""
        self.seen += 1
        dice = Random(f"{self.seed}/{self.seen}")  # noqa: S311 # repeatable on purpose
        fate = dice.choice(FATES) if dice.random() < self.rate else "whole"
        self.counts[fate] += 1
        far: asyncio.StreamWriter | None = None
        try:
            if fate == "reset":
                return
            there, far = await asyncio.open_connection("127.0.0.1", self.port)
            up = (
                _cut(reader, dice.randrange(HEAD))
                if fate == "cut_request"
                else _whole(reader)
            )
            down = (
                _cut(there, dice.randrange(HEAD))
                if fate == "cut_reply"
                else _whole(there)
            )
            down = _dripping(down) if fate == "drip" else down
            down = _later(down, dice.uniform(0.2, SLOWEST)) if fate == "delay" else down
            ways = [
                asyncio.create_task(_pour(up, far)),
                asyncio.create_task(_pour(down, writer)),
            ]
            await asyncio.wait(
                ways,
                return_when=asyncio.FIRST_COMPLETED
                if "cut" in fate
                else asyncio.ALL_COMPLETED,
            )
            for way in ways:
                way.cancel()
        except OSError:
            pass  # the platforms are away; so is this connection
        finally:
            is_whole = fate in {"whole", "delay", "drip"}
            for end in (writer, far):
                _close(end, is_whole=is_whole)

    async def serve(self, port: int) -> None:
        """Answer the door, and now and then do not."""
        dice = Random(f"{self.seed}/door")  # noqa: S311 # repeatable on purpose
        while True:
            server = await asyncio.start_server(
                self.carry, "127.0.0.1", port, reuse_address=True
            )
            # open
            await asyncio.sleep(
                dice.uniform(0.5, 1.5) * self.shut_every if self.shut_every else 1e9
            )
            server.close()
            self.counts["shut"] += 1
            await asyncio.sleep(SHUT)  # the fault: nobody answers


async def _whole(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while data := await reader.read(CHUNK):
        yield data


async def _cut(reader: asyncio.StreamReader, left: int) -> AsyncIterator[bytes]:
    while left and (data := await reader.read(min(CHUNK, left))):
        left -= len(data)
        yield data


async def _later(data: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    async for piece in data:
        await asyncio.sleep(seconds)  # the fault: bytes come late
        seconds = 0.0
        yield piece


async def _dripping(data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for piece in data:
        for start in range(0, len(piece), DRIP_BYTES):
            yield piece[start : start + DRIP_BYTES]
            await asyncio.sleep(DRIP_EVERY)  # the fault: bytes drip


async def _pour(source: AsyncIterator[bytes], sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        async for data in source:
            sink.write(data)
            await sink.drain()
        sink.write_eof()


def _close(end: asyncio.StreamWriter | None, *, is_whole: bool) -> None:
    if end is None:
        return
    raw = end.get_extra_info("socket")
    if not is_whole and raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOW)
        end.transport.abort()
    end.close()


async def main() -> None:
    parser = argparse.ArgumentParser(prog="proxy", description=__doc__)
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--to", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.03)
    parser.add_argument(
        "--shut-every",
        type=float,
        default=20.0,
        help="seconds between two times of shut doors",
    )
    parser.add_argument(
        "--counts", type=Path, help="where to write at the end how often what happened"
    )
    options = parser.parse_args()
    network = ProxyNetwork(options.to, options.seed, options.rate, options.shut_every)
    serving = asyncio.create_task(network.serve(options.listen))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    if options.counts:
        options.counts.write_text(json.dumps(network.counts), "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
