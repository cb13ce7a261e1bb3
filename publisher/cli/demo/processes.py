"""The demo's child processes: publisher itself, each in a session of its own."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from publisher.cli.errors import CommandFailedError

PUBLISHER_COMMAND = (sys.executable, "-P", "-m", "publisher")
DAEMON_STOP_SECONDS = 30.0
"""Enough for a daemon to finish its calls."""
SIMULATOR_STOP_SECONDS = 5.0
START_TIMEOUT_SECONDS = 30.0


async def start_simulator(port: int) -> tuple[asyncio.subprocess.Process, str]:
    """Start the simulator; return it and its address. Raise CommandFailedError when it does not start."""
    command = [*PUBLISHER_COMMAND, "--lang", "en", "simulate", "--listen", f"127.0.0.1:{port}"]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    line = b""
    if process.stdout is not None:
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_SECONDS)
    addresses = [word for word in line.decode().split() if word.startswith("http://")]
    if not addresses:
        await stop_process(process, SIMULATOR_STOP_SECONDS)
        raise CommandFailedError("simulator_failed", port=port)
    return process, addresses[0]


async def start_daemon(workspace: Path, lang: str) -> asyncio.subprocess.Process:
    """Start the daemon of a workspace; it logs to `var/daemon.log`."""
    command = [*PUBLISHER_COMMAND, "--lang", lang, "-C", str(workspace), "run"]
    with _log_path(workspace).open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def read_log_tail(workspace: Path, number: int) -> Sequence[str]:
    return _log_path(workspace).read_text("utf-8", errors="replace").splitlines()[-number:]


async def stop_process(process: asyncio.subprocess.Process, timeout_seconds: float) -> None:
    """Terminate a child, and kill it after the timeout."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), timeout_seconds)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def catch_interrupts() -> AsyncIterator[asyncio.Event]:
    """Yield an event that ^C or SIGTERM sets, so that the demo can stop its children in order."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    try:
        yield stopping
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _log_path(workspace: Path) -> Path:
    return workspace / "var" / "daemon.log"
