"""Work that is taken up as there is room for it: what is slow holds up nothing but itself."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from publisher.runtime.logs import log
from publisher.store.jobs import is_outage

T = TypeVar("T")

REFILL_SECONDS, IDLE_SECONDS = 0.02, 0.1
"""Seconds until more is taken: soon when there was more to take than room, later when all that there was is taken."""


async def gather_logged(jobs: Iterable[Awaitable[None]], event: str) -> int:
    """Do all these at once. What fails is logged by that name, and concerns no other. Returns how many.

    Raises ExceptionGroup of the last failure once all have ended.
    """
    answers = await asyncio.gather(*jobs, return_exceptions=True)
    failure: Exception | None = None
    for error in filter(None, answers):
        failure = _log_failure(event, error, failure)
    if failure is not None:
        raise ExceptionGroup(event, [failure])
    return len(answers)


async def run_bounded(
    take: Callable[[int], Awaitable[Sequence[T]]],
    work: Callable[[T], Coroutine[Any, Any, None]],
    limit: int,
    event: str,
    batch_size: int | None = None,
) -> int:
    """Take things and work on each, at most `most` at once, until there is nothing left to take. Returns how many.

    No more than a `portion` is taken together, so that the first are worked on while others are still being taken.
    What has begun is always waited for. What fails is logged by that name, and concerns no other.

    Raises ExceptionGroup of the last failure once nothing is left to take, and at once what `take` raises.
    """
    running: set[asyncio.Task[None]] = set()
    taken = 0
    failure: Exception | None = None
    try:
        while True:
            room = min(limit - len(running), batch_size or limit)
            things = await take(room) if room else ()
            running |= {asyncio.create_task(work(thing)) for thing in things}
            taken += len(things)
            if not running:
                break
            done, running = await asyncio.wait(running, timeout=REFILL_SECONDS if len(things) == room else IDLE_SECONDS)
            for error in filter(None, (task.exception() for task in done)):
                failure = _log_failure(event, error, failure)
    finally:
        if running:  # taking failed; what has begun is still waited for
            await asyncio.wait(running)
    if failure is not None:
        raise ExceptionGroup(event, [failure])
    return taken


def _log_failure(event: str, error: BaseException, previous: Exception | None) -> Exception | None:
    """Log a failure. Returns the one to raise in the end: the last, but an outage of the database only without others.

    No more than one is kept: each holds on to all that was in work when it was raised.
    """
    log.error(event, exc_info=error)
    if not isinstance(error, Exception) or (previous is not None and is_outage(error)):
        return previous
    return error
