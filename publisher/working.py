"""Work that is taken up as there is room for it: what is slow holds up nothing but itself."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from publisher.store.jobs import is_outage
from publisher.telemetry import log

T = TypeVar("T")

REFILL, REST = 0.02, 0.1
"""Seconds until more is taken: soon when there was more to take than room, later when all that there was is taken."""


async def all_of(works: Iterable[Awaitable[None]], told: str) -> int:
    """Do all these at once. What fails is logged by that name, and concerns no other. Returns how many.

    Raises ExceptionGroup of the last failure once all have ended.
    """
    answers = await asyncio.gather(*works, return_exceptions=True)
    failure: Exception | None = None
    for error in filter(None, answers):
        failure = _note(told, error, failure)
    if failure is not None:
        raise ExceptionGroup(told, [failure])
    return len(answers)


async def work_off(
    take: Callable[[int], Awaitable[Sequence[T]]],
    work: Callable[[T], Coroutine[Any, Any, None]],
    most: int,
    told: str,
    portion: int | None = None,
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
            room = min(most - len(running), portion or most)
            things = await take(room) if room else ()
            running |= {asyncio.create_task(work(thing)) for thing in things}
            taken += len(things)
            if not running:
                break
            done, running = await asyncio.wait(running, timeout=REFILL if len(things) == room else REST)
            for error in filter(None, (task.exception() for task in done)):
                failure = _note(told, error, failure)
    finally:
        if running:  # taking failed; what has begun is still waited for
            await asyncio.wait(running)
    if failure is not None:
        raise ExceptionGroup(told, [failure])
    return taken


def _note(told: str, error: BaseException, before: Exception | None) -> Exception | None:
    """Log a failure. Returns the one to raise in the end: the last, but an outage of the database only without others.

    No more than one is kept: each holds on to all that was in work when it was raised.
    """
    log.error(told, exc_info=error)
    if not isinstance(error, Exception) or (before is not None and is_outage(error)):
        return before
    return error
