"""What this process remembers between requests, in limited numbers. All of it may be lost."""

import asyncio
import math
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Generic, TypeVar, cast

from publisher.domain.account import AccountId
from publisher.runtime.bounded_dict import BoundedDict
from publisher.store.queries.dashboard import FrameFacts

MAX_CACHED = 128
Key = TypeVar("Key")
Value = TypeVar("Value")


class TaskCache:
    """Recently made values, by their inputs. Users of the same inputs share the value."""

    def __init__(self) -> None:
        self._tasks: BoundedDict[tuple[object, ...], asyncio.Task[object]] = (
            BoundedDict(MAX_CACHED)
        )

    async def get(
        self,
        key: tuple[object, ...],
        make: Callable[[], Coroutine[Any, Any, Value]],
    ) -> Value:
        """Return the value of a key, or make it. A failed one is made again the next time."""
        task = self._tasks.get(key)
        if task is None or (
            task.done() and (task.cancelled() or task.exception() is not None)
        ):
            task = self._tasks[key] = asyncio.create_task(make())
        return cast("Value", await asyncio.shield(task))


class TimedCache(Generic[Key, Value]):
    """Values by key, with their age. One above the limit drops the one set the longest ago."""

    def __init__(self, clock: Callable[[], float], limit: int = MAX_CACHED) -> None:
        self._clock = clock
        self._entries: BoundedDict[Key, tuple[float, Value]] = BoundedDict(limit)

    def get(self, key: Key, max_age: float = math.inf) -> Value | None:
        """Return the value of a key, unless it is missing or was set `max_age` seconds ago."""
        if (entry := self._entries.get(key)) is None:
            return None
        set_at, value = entry
        return value if self._clock() - set_at < max_age else None

    def set(self, key: Key, value: Value) -> None:
        self._entries[key] = self._clock(), value

    def drop(self, key: Key) -> None:
        self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()

    def find_keys(self, is_match: Callable[[Value], bool]) -> list[Key]:
        """Return the keys of matching values, the one set the longest ago first."""
        return [key for key, (_at, value) in self._entries.items() if is_match(value)]


class PageCaches:
    """Data that pages share. They can be read again at any time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.live = TaskCache()
        """The data that live pages have read and rendered."""
        self.checks = TaskCache()
        """The findings of the checks of posts, for some minutes."""
        self.todo = TaskCache()
        """The waiting items of people, by user."""
        self.metrics: TimedCache[Collection[AccountId] | None, bytes] = TimedCache(
            clock
        )
        """The figures of the accounts that a user may see; None for all accounts."""
        self.frame_facts: TimedCache[None, FrameFacts] = TimedCache(clock)
        """The facts of every page: one value."""
