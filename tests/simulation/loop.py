"""An event loop whose time is made up: it jumps to the next timer, runs one callback at a time, and lets processes die.

A life stands for one process. Whatever a life starts belongs to it, by its context; when the life ends, its callbacks
are dropped where they are, as a killed process drops them, while everything else goes on.
"""

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

SLOWEST = 0.02
"""Seconds that the database or a file may take, at most."""
MOST_CLOSES = 5
MOST_CALLBACKS = 3_000_000
"""More than any run needs: anyone who goes on for so long is caught in a circle."""


def dice_for(seed: str) -> Random:
    """Give dice that always fall alike for a seed."""
    return Random(seed)  # noqa: S311 # a run must be replayable, not unguessable


class DiedError(BaseException):
    """The process has died here. Nothing of the product catches it."""


class StuckError(Exception):
    """Nothing will ever happen again, or the same happens without end."""


@dataclass(eq=False, slots=True)
class Life:
    """One process: alive, frozen or dead. `ends` is done when it dies: what the system takes back by itself."""

    name: str
    is_mortal: bool = False
    is_frozen: bool = False
    died_at: str | None = None
    ends: list[Callable[[], object]] = field(default_factory=list)
    tasks: list["asyncio.Task[Any]"] = field(default_factory=list)

    @property
    def is_dead(self) -> bool:
        return self.died_at is not None


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


def context_of(life: Life | None) -> Context:
    """Give a context whose callbacks belong to a life, or to nobody."""
    context = Context()
    context.run(LIFE.set, life)
    return context


class VirtualLoop(asyncio.BaseEventLoop):
    """No clock, no sockets, no threads: what others would do in a thread is done here, a made-up moment later."""

    def __init__(self, dice: Random) -> None:
        super().__init__()
        self.dice = dice
        self.passed = 0.0
        self.callbacks = 0
        self.spent = 0.0
        """Seconds by which the thread that is at work takes longer than any other, as its work says itself."""
        self._frozen: list[asyncio.Handle] = []
        self.set_exception_handler(lambda *_: None)
        self.set_task_factory(_start)

    def time(self) -> float:
        return self.passed

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: object) -> None:
        """Nobody sends signals here."""

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: object) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = self.create_future()

        def work() -> None:
            self.spent = 0.0
            try:
                answer, deliver = func(*args), future.set_result
            except Exception as error:  # noqa: BLE001 # it goes to anyone who waits
                answer, deliver = error, future.set_exception
            self.call_later(self.dice.random() * SLOWEST + self.spent, give, deliver, answer)

        def give(deliver: Callable[[Any], None], answer: object) -> None:
            if not future.done():
                deliver(answer)

        self.call_later(self.dice.random() * SLOWEST, work)
        return future

    def live(self, life: Life | None, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start work as part of a life, or of the world that outlives them all."""
        return self.create_task(work, context=context_of(life))

    def kill(self, life: Life, where: str) -> None:
        """End a life between two of its callbacks."""
        if not life.is_dead:
            life.died_at = where
            self._bury(life)

    def thaw(self, life: Life) -> None:
        """Let a frozen life go on with all that has gathered meanwhile."""
        life.is_frozen = False
        self._ready.extend(handle for handle in self._frozen if _life_of(handle) is life)
        self._frozen = [handle for handle in self._frozen if _life_of(handle) is not life]

    def _run_once(self) -> None:
        """Run the next callback; when none is ready, it is the time of the next timer."""
        if not self._ready:
            self._jump()
        handle = self._ready.popleft()
        life = _life_of(handle)
        if handle._cancelled or (life is not None and life.is_dead):
            return
        if life is not None and life.is_frozen:
            self._frozen.append(handle)
            return
        self.callbacks += 1
        if self.callbacks > MOST_CALLBACKS:
            raise StuckError("without end")
        with contextlib.suppress(DiedError):
            handle._run()
        if life is not None and life.is_dead:
            self._bury(life)

    def _jump(self) -> None:
        while self._scheduled and (self._scheduled[0]._cancelled or _is_over(self._scheduled[0])):
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._scheduled:
            raise StuckError("nothing will ever happen")
        self.passed = max(self.passed, self._scheduled[0].when())
        while self._scheduled and self._scheduled[0].when() <= self.passed:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)

    def _bury(self, life: Life) -> None:
        """Take back what a dead life held, and end its coroutines without letting them do anything more."""
        for end in reversed(life.ends):
            end()
        life.ends.clear()
        self._frozen = [handle for handle in self._frozen if _life_of(handle) is not life]
        for task in life.tasks:
            task._log_destroy_pending = False
            if not task.done():
                context_of(life).run(_close, task.get_coro())
        life.tasks.clear()

    def _asyncgen_finalizer_hook(self, agen: object) -> None:
        """Generators of dead processes run nothing more."""

    def _process_events(self, event_list: Iterable[object]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def _start(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], context: Context | None = None
) -> "asyncio.Task[T]":
    task: asyncio.Task[T] = asyncio.Task(work, loop=loop, context=context)
    life = LIFE.get() if context is None else context.get(LIFE)
    if life is not None:
        life.tasks = [other for other in life.tasks if not other.done()] if len(life.tasks) > 200 else life.tasks
        life.tasks.append(task)
    return task


def _life_of(handle: asyncio.Handle) -> Life | None:
    context = handle._context
    return None if context is None else context.get(LIFE)


def _is_over(handle: asyncio.Handle) -> bool:
    life = _life_of(handle)
    return life is not None and life.is_dead


def _close(coroutine: Any) -> None:
    for _ in range(MOST_CLOSES):
        with contextlib.suppress(BaseException):
            coroutine.close()
            return
