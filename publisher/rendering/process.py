"""What people write is rendered in a process of its own: it has limits and no secrets, and can be lost at no cost."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from publisher.domain.errors import PublisherError
from publisher.domain.problem import Place, Problem
from publisher.rendering.jobs import (
    FindLine,
    Job,
    Line,
    RenderPage,
    Result,
    TemplateFiles,
    batch_bytes,
    read_frame,
    read_result,
    write_frame,
)

COMMAND: Final = (sys.executable, "-P", "-m", "publisher.rendering.child")
MAX_ANSWER: Final = 16 * 1024**2
"""Bytes of one result: more than the biggest picture takes."""
CPU_SECONDS: Final = 10
"""Processor time of one job; an honest one takes milliseconds, the costliest picture three seconds."""
MOST_SECONDS: Final = 60.0
"""For so long a batch may stay without its results; what limits processor time ends a job long before."""
MOST_LOST: Final = 2
"""So many processes may a batch cost; what is left of it then is given up unread."""
_KEPT: Final = (
    "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH",
    "PYTHONPYCACHEPREFIX", "SYSTEMROOT",
)  # fmt: skip
"""Of the environment, which may hold secrets, the process gets what starting Python takes."""
_KILLED: Final = -9
"""How a process ends that an operator killed, or the system, for want of memory."""
_FRAME: Final = re.compile(r'^  File "(.+)", line (\d+)', re.MULTILINE)
_EXHAUSTING: Final = Problem(code="rendition_exhausting")


class _NotStartedError(PublisherError):
    """No process can be started; the message says why."""


@dataclass(slots=True)
class _Child:
    process: "subprocess.Popen[bytes]"
    jobs: IO[bytes]
    results: IO[bytes]
    end: Callable[[], str | None]
    """Kills it if it lives, and gives what it said on its standard error; done as well when nobody needs it."""
    files: TemplateFiles | None = None
    """What it has loaded."""


@dataclass(frozen=True, slots=True)
class _Loss:
    """How the process was lost: whether the job it had can have done that, and the last lines that ran."""

    is_by_job: bool
    trace: str


@dataclass(slots=True, weakref_slot=True)
class RenderProcess:
    """A renderer in a process of its own, which is started when there is work, and again after it was lost.

    Several threads may use it; it works on one batch at a time. A job may use `cpu_seconds` of processor time, a batch
    may take so many `seconds`, and a new process as many to start.
    """

    cpu_seconds: int = CPU_SECONDS
    seconds: float = MOST_SECONDS
    _files: TemplateFiles = field(default_factory=lambda: TemplateFiles(texts={}, places={}))
    _child: _Child | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def load(self, files: TemplateFiles) -> None:
        """Use these templates from now on."""
        with self._turn:
            self._files = files

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """Do all jobs and give a result for each, in order; a job that ends the process is a problem.

        A process that somebody else killed costs nothing: its job is done again. Where no process can be started, that
        is the problem of every job that is left.
        """
        results: list[Result] = []
        with self._turn:
            try:
                self._run(jobs, results)
            except _NotStartedError as error:
                problem = Problem(code="renderer_not_started", facts={"reason": str(error)})
                results += [problem] * (len(jobs) - len(results))
        return results

    def _run(self, jobs: Sequence[Job], results: list[Result]) -> None:
        lost, repeated = 0, -1
        while len(results) < len(jobs):
            if lost == MOST_LOST:
                results += [_EXHAUSTING] * (len(jobs) - len(results))
                return
            done, loss = self._exchange(jobs[len(results) :])
            results += done
            if loss is None:
                continue
            lost += 1
            if loss.is_by_job or repeated == len(results):
                results.append(self._problem(jobs[len(results)], loss))
            else:
                repeated = len(results)

    def _exchange(self, jobs: Sequence[Job]) -> tuple[list[Result], _Loss | None]:
        """Give the results there were, and how the process was lost, if it was."""
        child = self._child or self._start()
        batch = batch_bytes(None if child.files is self._files else self._files, jobs)
        self._child = None  # whatever comes between, no later batch gets the answers to this one
        done: list[Result] = []
        timer = threading.Timer(self.seconds, child.process.kill)
        timer.start()
        try:
            write_frame(child.jobs, batch)
            child.files = self._files
            for _ in jobs:
                done.append(read_result(read_frame(child.results, MAX_ANSWER)))  # noqa: PERF401 # some come, then none
        except (OSError, EOFError, ValueError):
            return done, _end(child, is_late=not timer.is_alive())
        except BaseException:
            child.end()
            raise
        finally:
            timer.cancel()
        self._child = child
        return done, None

    def _start(self) -> _Child:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        try:
            process = subprocess.Popen(  # noqa: S603 # this program itself
                (*COMMAND, str(self.cpu_seconds)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**environment, "PYTHONUTF8": "1"},
            )
        except OSError as error:
            raise _NotStartedError(error.strerror) from error
        end = weakref.finalize(self, _kill, process)
        child = _Child(process, process.stdin, process.stdout, end)  # type: ignore[arg-type] # both are pipes
        timer = threading.Timer(self.seconds, process.kill)
        timer.start()
        try:
            read_frame(child.results, 0)
        except (EOFError, ValueError):
            loss = _end(child, is_late=False)
            raise _NotStartedError(loss.trace.strip().rpartition("\n")[2] or f"exit {process.returncode}") from None
        finally:
            timer.cancel()
        return child

    def _problem(self, job: Job, loss: _Loss) -> Problem:
        """Say that a job was given up; of a page, at the line that ran last."""
        names = {place: name for name, place in self._files.places.items()}
        ran = next(((names[file], int(line)) for file, line in _FRAME.findall(loss.trace) if file in names), None)
        if not isinstance(job, RenderPage) or ran is None:
            return _EXHAUSTING
        found, _loss = self._exchange([FindLine(page=ran[0], compiled_line=ran[1])])
        line = next((result.line for result in found if isinstance(result, Line)), 1)
        return Problem(code=_EXHAUSTING.code, place=Place(file=self._files.places[ran[0]], line=line))


def _end(child: _Child, *, is_late: bool) -> _Loss:
    """End a process that gave no result."""
    process = child.process
    try:
        process.wait(1 if is_late else 0.5)
    except subprocess.TimeoutExpired:  # it lives and answers nonsense
        is_late = True
    trace = child.end() or ""
    return _Loss(is_by_job=is_late or process.returncode != _KILLED, trace=trace)


def _kill(process: "subprocess.Popen[bytes]") -> str:
    """Kill a process if it lives; give what it has said on its standard error."""
    process.kill()
    process.wait()
    said = process.stderr.read() if process.stderr else b""
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    return said.decode("utf-8", "replace")
