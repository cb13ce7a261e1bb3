"""Waiting for a result of another process, thread or task that gives no signal."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS, LOOP_POLL_SECONDS = 0.1, 0.01
PATIENCE_SECONDS = 180.0


def wait_until(
    condition: Callable[[], T],
    seconds: float = PATIENCE_SECONDS,
    what: str = "what was waited for",
) -> T:
    """Ask again and again, and return the first answer that is true. Raises TimeoutError."""
    latest = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > latest:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)
    return answer


async def eventually(
    condition: Callable[[], T | Awaitable[T]],
    seconds: float,
    what: str = "what was waited for",
) -> T:
    """Ask again and again while the loop goes on, and return the first true answer.

    Raises TimeoutError.
    """
    latest = time.monotonic() + seconds
    while not (answer := await _answer(condition)):
        if time.monotonic() > latest:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(LOOP_POLL_SECONDS)
    return answer


async def _answer(condition: Callable[[], T | Awaitable[T]]) -> T:
    answer = condition()
    return await answer if inspect.isawaitable(answer) else answer
