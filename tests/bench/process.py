"""Processes that are measured from outside."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

STOP_TIMEOUT_SECONDS = 40
MEBIBYTE = 1024 * 1024
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    stdout: int | IO[Any] = subprocess.DEVNULL,
    stderr: int | IO[Any] | None = None,
    stdin: int | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program. At the end ask it to stop, and kill it after STOP_TIMEOUT_SECONDS."""
    with subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_SECONDS)
            process.kill()


def processor_seconds(pid: int) -> float:
    """Return the processor time of a running process and of the child processes it has now."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
    return own + sum(map(processor_seconds, child_pids(pid)))


def child_pids(pid: int) -> Sequence[int]:
    """Return the direct children of a process, of all its threads."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text("ascii").split()]


def resident_mebibytes(pid: int) -> float:
    """Return how much memory a process holds, without its children."""
    fields = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return int(fields["VmRSS"].split()[0]) * 1024 / MEBIBYTE
