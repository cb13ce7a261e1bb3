"""An event loop with simulated time: it jumps from timer to timer.

It runs one callback at a time, and lets processes crash. Everything that a simulated process starts
belongs to it, by its context. When the process ends, its callbacks are dropped in their place, like
the callbacks of a killed process, and everything else goes on.
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

MAX_IO_SECONDS = 0.02
"""Seconds that the database or a file may take, at most."""
MAX_CLOSES = 5
MAX_CALLBACKS = 3_000_000
"""More than any run needs: a run that exceeds it is in an endless loop."""


def rng_for(seed: str) -> Random:
    """Return a generator of random numbers that are always the same for a seed."""
    return Random(seed)  # noqa: S311 # a run must be replayable, not unguessable


class CrashedError(BaseException):
    """The process has crashed here. Nothing of the product catches it."""


class StuckError(Exception):
    """Nothing will ever happen again, or the loop is endless."""


@dataclass(eq=False, slots=True)
class Process:
    """One process: running, frozen or ended.

    `exit_callbacks` release the resources that the system would release itself.
    """

    name: str
    can_crash: bool = False
    is_frozen: bool = False
    ended_by: str | None = None
    exit_callbacks: list[Callable[[], object]] = field(default_factory=list)
    tasks: list["asyncio.Task[Any]"] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        return self.ended_by is not None


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def context_of(process: Process | None) -> Context:
    """Return a context with callbacks that belong to a process, or to none."""
    context = Context()
    context.run(PROCESS.set, process)
    return context


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop without clock, sockets, or threads.

    The work of a thread is done here, after a simulated delay.
    """

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self.rng = rng
        self.elapsed = 0.0
        self.callbacks = 0
        self.extra_io_seconds = 0.0
        """Additional seconds of the running thread work; the work itself sets them."""
        self._frozen: list[asyncio.Handle] = []
        self.set_exception_handler(lambda *_: None)
        self.set_task_factory(_start)

    def time(self) -> float:
        return self.elapsed

    def add_signal_handler(
        self, sig: int, callback: Callable[..., object], *args: object
    ) -> None:
        """Nobody sends signals here."""

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., T], *args: object
    ) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = self.create_future()

        def work() -> None:
            self.extra_io_seconds = 0.0
            try:
                answer, deliver = func(*args), future.set_result
            except Exception as error:  # noqa: BLE001 # it goes to whom awaits it
                answer, deliver = error, future.set_exception
            self.call_later(
                self.rng.random() * MAX_IO_SECONDS + self.extra_io_seconds,
                give,
                deliver,
                answer,
            )

        def give(deliver: Callable[[Any], None], answer: object) -> None:
            if not future.done():
                deliver(answer)

        self.call_later(self.rng.random() * MAX_IO_SECONDS, work)
        return future

    def live(
        self, process: Process | None, work: Coroutine[Any, Any, T]
    ) -> "asyncio.Task[T]":
        """Start work as part of a process, or of none, so that it outlives them all."""
        return self.create_task(work, context=context_of(process))

    def kill(self, process: Process, where: str) -> None:
        """End a process between two of its callbacks."""
        if not process.has_ended:
            process.ended_by = where
            self._end(process)

    def thaw(self, process: Process) -> None:
        """Let a frozen process go on with its callbacks that became ready in the meantime."""
        process.is_frozen = False
        self._ready.extend(
            handle for handle in self._frozen if _process_of(handle) is process
        )
        self._frozen = [
            handle for handle in self._frozen if _process_of(handle) is not process
        ]

    def _run_once(self) -> None:
        """Run the next callback; when none is ready, jump to the next timer."""
        if not self._ready:
            self._jump()
        handle = self._ready.popleft()
        if _is_dropped(handle):
            return
        process = _process_of(handle)
        if process is not None and process.is_frozen:
            self._frozen.append(handle)
            return
        self.callbacks += 1
        if self.callbacks > MAX_CALLBACKS:
            raise StuckError("without end")
        with contextlib.suppress(CrashedError):
            handle._run()
        if process is not None and process.has_ended:
            self._end(process)

    def _jump(self) -> None:
        while self._scheduled and _is_dropped(self._scheduled[0]):
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._scheduled:
            raise StuckError("nothing will ever happen")
        self.elapsed = max(self.elapsed, self._scheduled[0].when())
        while self._scheduled and self._scheduled[0].when() <= self.elapsed:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)

    def _end(self, process: Process) -> None:
        """Release a process's resources and close its coroutines without further effect."""
        for end in reversed(process.exit_callbacks):
            end()
        process.exit_callbacks.clear()
        self._frozen = [
            handle for handle in self._frozen if _process_of(handle) is not process
        ]
        for task in process.tasks:
            task._log_destroy_pending = False
            if not task.done():
                context_of(process).run(_close, task.get_coro())
        process.tasks.clear()

    def _asyncgen_finalizer_hook(self, agen: object) -> None:
        """Do nothing: generators of ended processes run no further."""

    def _process_events(self, event_list: Iterable[object]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def _start(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, T],
    context: Context | None = None,
) -> "asyncio.Task[T]":
    task: asyncio.Task[T] = asyncio.Task(work, loop=loop, context=context)
    process = PROCESS.get() if context is None else context.get(PROCESS)
    if process is not None:
        process.tasks = (
            [other for other in process.tasks if not other.done()]
            if len(process.tasks) > 200
            else process.tasks
        )
        process.tasks.append(task)
    return task


def _process_of(handle: asyncio.Handle) -> Process | None:
    context = handle._context
    return None if context is None else context.get(PROCESS)


def _is_dropped(handle: asyncio.Handle) -> bool:
    """Return True if a callback never runs: it was cancelled, or its process has ended."""
    process = _process_of(handle)
    return handle._cancelled or (process is not None and process.has_ended)


def _close(coroutine: Any) -> None:
    for _ in range(MAX_CLOSES):
        with contextlib.suppress(BaseException):
            coroutine.close()
            return
