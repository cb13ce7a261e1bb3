"""Run work concurrently with a limit: a slow item delays only itself."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from publisher.runtime.logs import log
from publisher.store.system_alerts import is_outage

T = TypeVar("T")

REFILL_SECONDS, IDLE_SECONDS = 0.02, 0.1
"""How soon more is taken: REFILL if there may be more than there was room for, else IDLE."""


async def gather_logged(jobs: Iterable[Awaitable[None]], event: str) -> int:
    """Run all jobs at once and return their number. A failure is logged as `event` and does not affect the others.

    Raises ExceptionGroup of the last failure once all have ended.
    """
    results = await asyncio.gather(*jobs, return_exceptions=True)
    failure: Exception | None = None
    for error in filter(None, results):
        failure = _log_failure(event, error, failure)
    if failure is not None:
        raise ExceptionGroup(event, [failure])
    return len(results)


async def run_bounded(
    take: Callable[[int], Awaitable[Sequence[T]]],
    work: Callable[[T], Coroutine[Any, Any, None]],
    limit: int,
    event: str,
    batch_size: int | None = None,
) -> int:
    """Take items and work on each, at most `limit` at once, until there is nothing left to take. Return their number.

    At most `batch_size` are taken at a time, so that the first are worked on while others are still being taken.
    Work that has begun is always awaited. A failure is logged as `event` and does not affect the others.

    Raises ExceptionGroup of the last failure once nothing is left to take, and at once what `take` raises.
    """
    running: set[asyncio.Task[None]] = set()
    taken = 0
    failure: Exception | None = None
    try:
        while True:
            room = min(limit - len(running), batch_size or limit)
            items = await take(room) if room else ()
            running |= {asyncio.create_task(work(item)) for item in items}
            taken += len(items)
            if not running:
                break
            done, running = await asyncio.wait(running, timeout=REFILL_SECONDS if len(items) == room else IDLE_SECONDS)
            for error in filter(None, (task.exception() for task in done)):
                failure = _log_failure(event, error, failure)
    finally:
        if running:  # taking failed; work that has begun is still awaited
            await asyncio.wait(running)
    if failure is not None:
        raise ExceptionGroup(event, [failure])
    return taken


def _log_failure(event: str, error: BaseException, previous: Exception | None) -> Exception | None:
    """Log a failure and return the one to raise at the end: the last, but a database outage only if there is no other.

    Only one is kept, as each refers to everything that was in work when it was raised.
    """
    log.error(event, exc_info=error)
    if not isinstance(error, Exception) or (previous is not None and is_outage(error)):
        return previous
    return error
