"""Commands as people give them, each in a process of its own.

The processes are forked from one that has loaded the program: if each of the thousands of commands
of a campaign began with the start of Python, they would take the processor from the daemons.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.chaos import mutants

GIVEN = (
    "approve",
    "backup",
    "cancel",
    "pause",
    "resolve",
    "restore",
    "resume",
    "retract",
    "status",
    "unapprove",
    "user",
)
LOADED = (
    __name__,
    *(f"publisher.cli.commands.{name}" for name in GIVEN),
    "publisher.app.adapters",
    *(f"adapters.{name}" for name in ("tieba", "webhook", "wechat", "weibo")),
)
"""The modules in the process that forks all others."""
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(list(LOADED))


def give_command(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    typed: str = "",
    mutant: str | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end. `typed` is its standard input, `mutant` its planted mistake."""
    with tempfile.TemporaryDirectory(prefix="publisher-command-") as name:
        folder = Path(name)
        (folder / "0").write_text(typed, "utf-8")
        process = _processes.Process(
            target=_run, args=(folder, list(arguments), dict(environment), mutant)
        )
        process.start()
        process.join()
        # not the process's own exit code: of two threads that ask, as `start` does as well, one may
        # get another
        ended = folder / "code"
        code = int(ended.read_text("ascii")) if ended.exists() else -1
        output, errors = ((folder / number).read_text("utf-8") for number in "12")
        return subprocess.CompletedProcess(list(arguments), code, output, errors)


def _run(
    folder: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    mutant: str | None,
) -> None:
    """Be the program for one command, in a process that was just forked."""
    for number in range(3):
        opened = os.open(folder / str(number), os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 # the process's own
        for number, mode in enumerate("rww")
    )
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["publisher", *arguments]
    if mutant is not None:
        mutants.plant(mutant)
    # the campaign itself loads nothing of the program
    from publisher.cli import main  # noqa: PLC0415

    try:
        main()
    except SystemExit as ended:
        (folder / "code").write_text(str(ended.code), "ascii")
