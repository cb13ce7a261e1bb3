"""Keeps the dashboard running in a process of its own, so that no page can delay a post.

The daemon imports this, and none of the modules that serve pages: its start must not wait for them.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import IO

from publisher.config import Settings
from publisher.runtime.logs import log
from publisher.secrets import make_dashboard_environment, open_vault

STABLE_SECONDS = 20.0
"""After so long a process counts as running."""
ALERT_AFTER_FAILURES = 3
MAX_BACKOFF_SECONDS = 60.0
STOP_SECONDS = 8.0


@contextlib.asynccontextmanager
async def run_enabled_dashboard(
    settings: Settings, set_alert: Callable[[str], Awaitable[None]]
) -> AsyncIterator[None]:
    """Keep the dashboard running, as `run_dashboard` does, unless another host serves it.

    The settings may leave it to another host.
    """
    if not settings.dashboard.enabled:
        await set_alert("")
        yield
        return
    async with run_dashboard(settings, set_alert):
        yield


@contextlib.asynccontextmanager
async def run_dashboard(
    settings: Settings,
    set_alert: Callable[[str], Awaitable[None]],
    output: IO[bytes] | None = None,
) -> AsyncIterator[None]:
    """Keep the dashboard running in a process of its own, as long as the block lasts.

    `set_alert` is called with its exit code when it keeps failing, and with "" once it runs. It
    writes to `output`, or where this process does.
    """
    keeping = asyncio.create_task(keep_running(settings, set_alert, output))
    keeping.add_done_callback(_log_failure)
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def keep_running(
    settings: Settings,
    set_alert: Callable[[str], Awaitable[None]],
    output: IO[bytes] | None,
) -> None:
    """Start the process, and again whenever it ends, after a pause that doubles.

    It gets no platform's secret.
    """
    command = (
        sys.executable,
        "-P",
        "-m",
        "publisher",
        "--lang",
        settings.lang,
        "-C",
        str(settings.workspace),
        "web",
    )
    vault, failures = open_vault(settings.workspace), 0
    while True:
        environment = await asyncio.to_thread(
            make_dashboard_environment,
            os.environ,
            secrets_dir=settings.secrets_dir,
            vault=vault,
        )
        process = await asyncio.create_subprocess_exec(
            *command,
            "--supervised",
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            try:
                async with asyncio.timeout(STABLE_SECONDS):
                    await process.wait()
            except TimeoutError:
                failures = 0
                await set_alert("")
                await process.wait()
        finally:
            await stop_dashboard(process)
        failures += 1
        log.warning("dashboard_ended", code=process.returncode, failures=failures)
        if failures >= ALERT_AFTER_FAILURES:
            await set_alert(str(process.returncode))
        await asyncio.sleep(min(2.0**failures, MAX_BACKOFF_SECONDS))


async def stop_dashboard(process: asyncio.subprocess.Process) -> None:
    """End the process by closing its standard input, and kill it if it does not end."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("dashboard_not_kept", error=type(error).__name__, exc_info=error)
