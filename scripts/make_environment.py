#!/usr/bin/env python3
"""Make .venv and install the pinned packages: `make_environment.py PINNED`.

`--is-made PINNED` checks instead. Runs on a bare Python 3.11 or newer, in the project's folder;
`scripts/setup.sh` calls it.

The pinned files are complete, so everything is installed with `--no-deps`. An older pip (23.2.1)
that resolves dependencies itself takes the newest release for a requirement with an extra, such as
`coverage[toml]`. It ignores the pinned release, and then refuses the newest one because it has no
hash.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

ENVIRONMENT = Path(".venv")
PYTHON = ENVIRONMENT / "bin" / "python"
BUILD_TOOLS = "constraints-build.txt"
UNFINISHED = ENVIRONMENT / "unfinished"
"""Exists while something is being installed.

A process that finds it starts over: a package may be half installed.
"""
TICK_SECONDS = 0.5
LINE_SECONDS = 5.0
"""Between two lines of progress where the output is no terminal."""
END_SECONDS = 5.0
"""The time that an installer has to end after a signal."""
KEPT_LINES = 30
"""The last lines of an installer's output, shown when it fails."""
COUNTED = ("Collecting ", "Ignoring ", "Requirement already satisfied: ")
"""Beginnings of pip's lines that report one pinned package each."""

NO_NETWORK = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|timed out|name resolution"
    r"|Connection (?:refused|reset|broken)|Network is unreachable|ProxyError|dns error"
    r"|error sending request|Failed to fetch|from versions: none"
)
NO_ROOM = re.compile("No space left|Disk quota")
OTHER_HASH = re.compile("DO NOT MATCH THE HASHES|[Hh]ash mismatch")
"""Messages of pip, uv and the system when they fail for these reasons."""
IS_OURS = "import os, publisher, sys; sys.exit(not os.path.samefile(publisher.__path__[0], 'publisher'))"
"""Python code that succeeds if the installed publisher is the one in this folder."""


class SetUpError(Exception):
    """The set-up failed; `args` give the advice in Chinese and English."""


def is_made(pinned: str) -> bool:
    """Return True if the pinned packages are completely installed in .venv, for this folder."""
    stamp = _stamp_of(pinned)
    is_recorded = stamp.exists() and stamp.read_text("ascii") == _wanted(pinned)
    return is_recorded and not UNFINISHED.exists() and _runs(IS_OURS)


def make(pinned: str, lock: IO[str]) -> None:
    """Install the pinned packages, creating the environment first if none is usable.

    Raises SetUpError, OSError.
    """
    if ENVIRONMENT.is_symlink():
        raise SetUpError(
            ".venv 是一个链接，里面的环境属于别的文件夹，没有改动它。请删掉这个链接，再运行一次。",
            ".venv links to another folder's environment, which was not touched. "
            "Remove the link, then run this again.",
        )
    uv = shutil.which("uv")
    progress = Progress(lock)
    if UNFINISHED.exists() or not _runs(IS_OURS) or not (uv or _runs("import pip")):
        progress.begin(
            "建立 Python 环境，共需约一分钟",
            "making the Python environment, a minute in all",
        )
        _empty()
        progress.run(_making(uv))
    UNFINISHED.touch()
    for file in _list_pinned(pinned):
        progress.begin(
            f"安装锁定的依赖（{file}）",
            f"installing the pinned packages ({file})",
            _count(file),
        )
        progress.run([*_installing(uv), "--require-hashes", "--no-deps", "-r", file])
    progress.begin("安装 publisher", "installing publisher")
    progress.run(
        [*_installing(uv), "--no-deps", "--no-build-isolation", "--editable", "."]
    )
    _stamp_of(pinned).write_text(_wanted(pinned), "ascii")
    UNFINISHED.unlink()


def _stamp_of(pinned: str) -> Path:
    return ENVIRONMENT / f"{pinned}.installed"


def _wanted(pinned: str) -> str:
    """Return the content of the stamp once all is installed.

    It changes with the pins and with pyproject.toml.
    """
    files = [*_list_pinned(pinned), "pyproject.toml"]
    return (
        hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()
        + "\n"
    )


def _list_pinned(pinned: str) -> Sequence[str]:
    """Return the files to install.

    Publisher is built in this environment, so the tools for that belong to it.
    """
    return [pinned, BUILD_TOOLS] if Path(BUILD_TOOLS).exists() else [pinned]


def _count(pinned: str) -> int:
    return len(re.findall(r"^[\w.-]+==", Path(pinned).read_text("utf-8"), re.MULTILINE))


def _runs(code: str) -> bool:
    """Return True if .venv has a Python and this code succeeds in it."""
    try:
        done = subprocess.run(  # noqa: S603 # our own code
            [PYTHON, "-I", "-c", code], capture_output=True, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def _empty() -> None:
    """Delete everything in .venv except the mark that it is unfinished."""
    ENVIRONMENT.mkdir(exist_ok=True)
    UNFINISHED.touch()
    for entry in [*ENVIRONMENT.iterdir()]:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != UNFINISHED:
            entry.unlink()


def _making(uv: str | None) -> Sequence[str]:
    if uv:
        return [
            uv,
            "venv",
            "--allow-existing",
            "--python",
            sys.executable,
            str(ENVIRONMENT),
        ]
    try:
        import ensurepip  # noqa: F401, PLC0415 # Debian ships these two apart
        import venv  # noqa: F401, PLC0415 # same
    except ImportError as error:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise SetUpError(
            f"这个 Python 没有 venv 或 ensurepip 模块。"
            f"Debian、Ubuntu：apt install {package}；或安装 uv。",
            f"This Python lacks the venv or ensurepip module. "
            f"Debian, Ubuntu: apt install {package}; or install uv.",
        ) from error
    return [sys.executable, "-m", "venv", str(ENVIRONMENT)]


def _installing(uv: str | None) -> Sequence[str]:
    if uv:
        return [uv, "pip", "install", "--python", str(PYTHON)]
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    return [str(PYTHON), "-I", "-m", "pip", "install", *quiet]


class Progress:
    """Shows the progress of the set-up on standard error.

    It is an updated line on a terminal, elsewhere one now and then.
    """

    def __init__(self, lock: IO[str]) -> None:
        self.lock = lock
        self.moves = sys.stderr.isatty()

    def begin(self, chinese: str, english: str, packages: int = 0) -> None:
        """Show the next step, and the number of packages that it reports."""
        self.packages, self.done, self.newest = packages, 0, ""
        self.began = self.shown = time.monotonic()
        say(f"正在{chinese} / {english} …")

    def run(self, command: Sequence[str]) -> None:
        """Run an installer to its end, showing its progress.

        Raises SetUpError with the end of its output.
        """
        kept: deque[str] = deque(maxlen=KEPT_LINES)
        with _running(command, self.lock) as process:
            for line in _lines(process):
                if line:
                    kept.append(line)
                    self.newest = line.strip()
                    self.done += line.startswith(COUNTED)
                self.show()
        if self.moves:
            sys.stderr.write("\r\033[K")
        if process.returncode:
            say(*kept)
            raise SetUpError(*_advice("\n".join(kept)))

    def show(self) -> None:
        """Show the seconds, the count and the installer's last printed line."""
        now = time.monotonic()
        if now - self.shown < (TICK_SECONDS if self.moves else LINE_SECONDS):
            return
        self.shown = now
        count = (
            f"{min(self.done, self.packages)}/{self.packages}  "
            if self.packages
            else ""
        )
        text = f"  {now - self.began:3.0f} s  {count}{self.newest}"[
            : shutil.get_terminal_size().columns - 1
        ]
        sys.stderr.write(f"\r{text}\033[K" if self.moves else f"{text}\n")
        sys.stderr.flush()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield the lines of a process as they come.

    Yield an empty line when there was none for a moment.
    """
    assert process.stdout is not None  # noqa: S101 # it is a pipe
    started = b""
    while True:
        if not select.select([process.stdout], [], [], TICK_SECONDS)[0]:
            yield ""
        elif chunk := os.read(process.stdout.fileno(), 65536):
            *whole, started = (started + chunk).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole)
        else:
            yield started.decode("utf-8", "replace")
            return


@contextlib.contextmanager
def _running(
    command: Sequence[str], lock: IO[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command that ends with this process, along with all that it started.

    If this process is killed, the command keeps the lock.
    """
    with subprocess.Popen(  # noqa: S603 # our own commands
        command,
        env={
            **os.environ,
            "PIP_USER": "0",
        },  # in an environment of its own pip refuses a user's `user = true`
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[lock.fileno()],
        start_new_session=True,
    ) as process:
        try:
            yield process
        except BaseException:
            _end_group(process)
            raise


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started.

    It is ended by a signal, and by a kill if the processes do not end in time.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _lock() -> Iterator[IO[str]]:
    """Wait until no other set-up of this folder runs.

    The lock is on this file: .venv may be emptied.
    """
    with Path(__file__).open(encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(
                "另一个安装正在进行，等它结束 … / "
                "Another set-up is running; waiting for it to end …"
            )
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _advice(output: str) -> Sequence[str]:
    """Return in Chinese and English the advice about an installer's output."""
    if NO_NETWORK.search(output):
        return (
            "软件包索引连不上，或者里面缺少一个包。请检查网络和代理，或者换一个镜像（PIP_INDEX_URL）。",
            (
                "The index cannot be reached or lacks a package. "
                "Check network and proxy, or try a mirror (PIP_INDEX_URL)."
            ),
        )
    if NO_ROOM.search(output):
        return "磁盘已满。请腾出约 1 GB 空间。", "The disk is full. Free about 1 GB."
    if OTHER_HASH.search(output):
        return (
            "下载的文件与锁定的校验值不符。请换一个镜像，或者清空 pip 的缓存。",
            (
                "A downloaded file does not have its pinned hash. "
                "Use another mirror, or clear pip's cache."
            ),
        )
    return "原因见上面的输出。", "The output above says why."


def say(*lines: str) -> None:
    """Print lines for people, separate from the output of the calling script."""
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    """Return 0 if all is installed; 2 if it could not be, 130 if it was interrupted."""
    *options, pinned = arguments
    os.chdir(Path(__file__).resolve().parent.parent)
    if options == ["--is-made"]:
        return int(not is_made(pinned))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    try:
        with _lock() as lock:
            if not is_made(pinned):  # another call may have made it meanwhile
                make(pinned, lock)
    except KeyboardInterrupt:
        say(
            "",
            "安装被中断。再运行一次即可，会从头装好。",
            "The set-up was interrupted. Run the command again: it starts over.",
        )
        return 130
    except OSError as error:
        say(str(error), *_advice(str(error)))
        return 2
    except SetUpError as error:
        say("安装没有完成。", "The set-up is not complete.", *error.args)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
