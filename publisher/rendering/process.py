"""Run the renderer in a separate process, with limits and without secrets.

Losing it does no harm.
"""

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final

from publisher.domain.errors import Location, Problem, PublisherError
from publisher.rendering.jobs import (
    FindLine,
    JobResult,
    RenderJob,
    RenderPage,
    TemplateFiles,
    TemplateLine,
    decode_result,
    encode_batch,
    read_frame,
    write_frame,
)
from publisher.runtime.bounded_dict import BoundedDict

CHILD_COMMAND: Final = (sys.executable, "-P", "-m", "publisher.rendering.child")
MAX_CPU_SECONDS: Final = 10
"""Processor time of one job, in seconds.

A usual job takes milliseconds, the costliest picture three seconds.
"""
RESULT_TIMEOUT_SECONDS: Final = 60.0
"""How long to wait for a result; the limit on processor time ends a job long before."""
MAX_RESULT_BYTES: Final = 16 * 1024**2
"""More than the biggest picture takes."""
MAX_PAGE_LOSSES: Final = 2
"""Maximum lost processes of a page within PAGE_PAUSE_SECONDS.

At this number the page is not tried for as long, with any post.
"""
PAGE_PAUSE_SECONDS: Final = 60.0
JOB_PAUSE_SECONDS: Final = 600.0
"""How long a job is not tried again that crashed a process, or used up its processor time."""
MAX_REMEMBERED_JOBS: Final = 1000
"""How many such jobs are remembered."""
_PASSED_VARIABLES: Final = (
    "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME",
    "PYTHONPYCACHEPREFIX", "SYSTEMROOT",
)  # fmt: skip
"""The only environment variables that the process gets, all needed by Python to start.

The environment may hold secrets.
"""
_SIGKILL_EXIT_CODE: Final = -9
"""The exit code of a process killed by an operator, or by the system for lack of memory."""
_TRACEBACK_FRAME: Final = re.compile(r'^  File "(.+)", line (\d+)', re.MULTILINE)
_EXHAUSTED_PROBLEM: Final = Problem(code="rendering_too_expensive")
_NOT_TRIED_PROBLEM: Final = Problem(
    code="template_suspended", facts={"seconds": f"{PAGE_PAUSE_SECONDS:.0f}"}
)


class RendererClosedError(PublisherError):
    """The renderer was closed: publisher is about to exit."""


class _NotStartedError(PublisherError):
    """The process cannot be started; the message says why."""


@dataclass(slots=True)
class _ChildProcess:
    process: "subprocess.Popen[bytes]"
    job_stream: IO[bytes]
    result_stream: IO[bytes]
    end: Callable[[], str | None]
    """Kills the process if it runs, and returns its standard error.

    It is also called when the process is garbage-collected.
    """
    loaded_files: TemplateFiles | None = None
    has_timed_out: bool = False
    """True once it was killed after a timeout."""

    def kill_after_timeout(self) -> None:
        self.has_timed_out = True
        self.process.kill()


@dataclass(frozen=True, slots=True)
class _ProcessLoss:
    """How the process was lost: possibly by its job, or certainly by it (a crash).

    It has the process's traceback.
    """

    is_caused_by_job: bool
    is_crash: bool
    trace: str


@dataclass(slots=True, weakref_slot=True)
class RenderProcess:
    """A renderer in a separate process, started for work, and again after it was lost.

    Thread-safe; runs one batch at a time. A job may use `max_cpu_seconds` of processor time and
    take `result_timeout_seconds`. The start of a process may do the same. A job that has cost a
    process is not tried again for a while.
    """

    max_cpu_seconds: int = MAX_CPU_SECONDS
    result_timeout_seconds: float = RESULT_TIMEOUT_SECONDS
    _files: TemplateFiles = field(
        default_factory=lambda: TemplateFiles(texts={}, paths={})
    )
    _child: _ChildProcess | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_closed: bool = False
    _lost_jobs: BoundedDict[bytes, tuple[float, Problem]] = field(
        default_factory=lambda: BoundedDict(MAX_REMEMBERED_JOBS)
    )
    _lost_pages: deque[tuple[float, str]] = field(default_factory=deque)

    def load(self, files: TemplateFiles) -> None:
        """Use these templates from now on."""
        with self._lock:
            self._files = files
            self._lost_jobs.clear()
            self._lost_pages.clear()

    def close(self) -> None:
        """Kill the process at once, even in the middle of a batch."""
        self._is_closed = True
        if child := self._child:
            child.process.kill()

    def run(self, jobs: Sequence[RenderJob]) -> list[JobResult]:
        """Run all jobs and return a result for each, in order.

        A job that ends the process gets a Problem. If something else killed the process, its job is
        run again. If no process can be started, every remaining job gets a Problem about that.
        Raises RendererClosedError after close().
        """
        with self._lock:
            results: list[JobResult | None] = [
                self._recent_problem(job) for job in jobs
            ]
            repeated = -1
            while missing := [
                number for number, result in enumerate(results) if result is None
            ]:
                try:
                    done, loss = self._run_batch([jobs[number] for number in missing])
                    for number, result in zip(missing, done, strict=False):
                        results[number] = result
                    if loss is None:
                        continue
                    lost = missing[len(done)]
                    if not loss.is_caused_by_job and repeated != lost:
                        repeated = lost
                        continue
                    results[lost] = self._record_loss(jobs[lost], loss)
                except _NotStartedError as error:
                    problem = Problem(
                        code="renderer_not_started", facts={"reason": str(error)}
                    )
                    return [result or problem for result in results]
                for number in missing[len(done) + 1 :]:
                    results[number] = self._recent_problem(jobs[number])
        return [result for result in results if result is not None]

    def _recent_problem(self, job: RenderJob) -> Problem | None:
        """Return a Problem if the job or its page has recently cost processes, else None.

        It is then not tried now.
        """
        now = time.monotonic()
        while (
            self._lost_jobs
            and now - next(iter(self._lost_jobs.values()))[0] >= JOB_PAUSE_SECONDS
        ):
            self._lost_jobs.popitem(last=False)
        # digesting every job would take long
        if self._lost_jobs and (found := self._lost_jobs.get(_job_digest(job))):
            return found[1]
        while self._lost_pages and now - self._lost_pages[0][0] >= PAGE_PAUSE_SECONDS:
            self._lost_pages.popleft()
        if not isinstance(job, RenderPage):
            return None
        losses = sum(page == job.page for _at, page in self._lost_pages)
        return _NOT_TRIED_PROBLEM if losses >= MAX_PAGE_LOSSES else None

    def _run_batch(
        self, jobs: Sequence[RenderJob]
    ) -> tuple[list[JobResult], _ProcessLoss | None]:
        """Return the results so far, and how the process was lost, if it was."""
        if self._is_closed:
            raise RendererClosedError
        # it has ended between batches: no job did that
        if self._child and self._child.process.poll() is not None:
            self._child.end()
            self._child = None
        child = self._child or self._start()
        batch = encode_batch(
            None if child.loaded_files is self._files else self._files, jobs
        )
        done: list[JobResult] = []
        is_in_step = False
        try:
            with _kill_after(child, self.result_timeout_seconds) as renew:
                write_frame(child.job_stream, batch)
                child.loaded_files = self._files
                for job in jobs:
                    done.append(
                        decode_result(
                            read_frame(child.result_stream, MAX_RESULT_BYTES), job
                        )
                    )
                    renew()
            is_in_step = True
        except (OSError, EOFError, ValueError):
            loss = _end_process(child)
            if self._is_closed:
                raise RendererClosedError from None
            return done, loss
        finally:
            if not is_in_step:  # no later batch may get the results of this one
                self._child = None
                child.end()
        return done, None

    def _start(self) -> _ChildProcess:
        environment = {
            name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ
        }
        package = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        stderr: IO[bytes] | None = None
        try:
            stderr = tempfile.TemporaryFile()  # noqa: SIM115 # closed with the process
            process = subprocess.Popen(  # noqa: S603 # this program itself
                (*CHILD_COMMAND, str(self.max_cpu_seconds)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**environment, "PYTHONPATH": paths, "PYTHONUTF8": "1"},
            )
        except OSError as error:
            if stderr is not None:
                stderr.close()
            raise _NotStartedError(error.strerror) from error
        end = weakref.finalize(self, _kill_process, process, stderr)
        child = _ChildProcess(process, process.stdin, process.stdout, end)  # type: ignore[arg-type] # both are pipes
        self._child = child
        if self._is_closed:  # close() came while there was no process to kill
            process.kill()
        try:
            with _kill_after(child, self.result_timeout_seconds):
                read_frame(child.result_stream, 0)
        except (EOFError, ValueError):
            self._child = None
            loss = _end_process(child)
            if self._is_closed:
                raise RendererClosedError from None
            raise _NotStartedError(
                loss.trace.strip().rpartition("\n")[2] or f"exit {process.returncode}"
            ) from None
        return child

    def _record_loss(self, job: RenderJob, loss: _ProcessLoss) -> Problem:
        """Return the Problem of an abandoned job, for a page at the line that ran last.

        The job is not tried for a while.
        """
        problem = _EXHAUSTED_PROBLEM
        if isinstance(job, RenderPage):
            paths = self._files.paths
            # Python's fault handler writes file names with this escaping.
            names = {
                path.encode("ascii", "backslashreplace").decode(): name
                for name, path in paths.items()
            }
            frames = _TRACEBACK_FRAME.findall(loss.trace)
            ran = next(
                ((names[file], int(line)) for file, line in frames if file in names),
                None,
            )
            if ran is not None:
                found, _loss = self._run_batch(
                    [FindLine(page=ran[0], compiled_line=ran[1])]
                )
                line = next(
                    (
                        result.line
                        for result in found
                        if isinstance(result, TemplateLine)
                    ),
                    1,
                )
                problem = replace(
                    problem, location=Location(file=paths[ran[0]], line=line)
                )
            self._lost_pages.append((time.monotonic(), job.page))
        if loss.is_crash:  # a job that only took long may be quick another time
            self._lost_jobs[_job_digest(job)] = time.monotonic(), problem
        return problem


def _job_digest(job: RenderJob) -> bytes:
    return hashlib.sha256(encode_batch(None, [job])).digest()


@contextlib.contextmanager
def _kill_after(child: _ChildProcess, seconds: float) -> Iterator[Callable[[], None]]:
    """Kill a process that gives no result in time; yield a function to call after each result."""
    timer = threading.Timer(seconds, child.kill_after_timeout)
    timer.start()
    renewed_at = time.monotonic()

    def renew() -> None:
        nonlocal timer, renewed_at
        # a thread for each result would cost more than the results
        if time.monotonic() - renewed_at > seconds / 10:
            timer.cancel()
            timer = threading.Timer(seconds, child.kill_after_timeout)
            timer.start()
            renewed_at = time.monotonic()

    try:
        yield renew
    finally:
        timer.cancel()


def _end_process(child: _ChildProcess) -> _ProcessLoss:
    """End a process that gave no result, and find out how it was lost."""
    is_alive = False
    try:
        child.process.wait(1)
    except subprocess.TimeoutExpired:  # it runs and writes invalid results
        is_alive = True
    trace = child.end() or ""
    is_crash = not (
        child.has_timed_out or is_alive
    ) and child.process.returncode not in (
        0,
        _SIGKILL_EXIT_CODE,
    )
    return _ProcessLoss(
        is_caused_by_job=child.has_timed_out or is_alive or is_crash,
        is_crash=is_crash,
        trace=trace,
    )


def _kill_process(process: "subprocess.Popen[bytes]", stderr: IO[bytes]) -> str:
    """Kill a process if it runs; return its standard error."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    with stderr:
        stderr.seek(0)
        return stderr.read().decode("utf-8", "replace")
