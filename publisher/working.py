"""Work that is taken up as there is room for it: what is slow holds up nothing but itself."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from publisher.telemetry import log

T = TypeVar("T")

REFILL, REST = 0.02, 0.1
"""Seconds until more is taken: soon when there was more to take than room, later when all that there was is taken."""


async def all_of(works: Iterable[Awaitable[None]], told: str) -> int:
    """Do all these at once. What fails is told by that name, and concerns no other. Returns how many."""
    answers = await asyncio.gather(*works, return_exceptions=True)
    for failed in (answer for answer in answers if answer is not None):
        log.error(told, exc_info=failed)
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
    What has begun is always waited for. What fails is told by that name, and concerns no other.
    """
    running: set[asyncio.Task[None]] = set()
    taken = 0
    try:
        while True:
            room = min(most - len(running), portion or most)
            things = await take(room) if room else ()
            running |= {asyncio.create_task(work(thing)) for thing in things}
            taken += len(things)
            if not running:
                return taken
            done, running = await asyncio.wait(running, timeout=REFILL if len(things) == room else REST)
            for failed in (task for task in done if task.exception() is not None):
                log.error(told, exc_info=failed.exception())
    finally:
        if running:  # taking failed; what has begun is still waited for
            await asyncio.wait(running)
