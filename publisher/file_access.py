"""Files that staff put into the workspace: opened without following a link to anything else."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NO_LINK
_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | _NO_LINK


def open_unlinked(path: Path, below: Path) -> BinaryIO:
    """Open a regular file for reading. `below`, which lies on its path, may be reached by links; the rest may not.

    Raises OSError: ELOOP where a step below is a link, EINVAL where the file is not a regular one.
    """
    steps = path.relative_to(below).parts
    if any(below.joinpath(*steps[:depth]).is_symlink() for depth in range(1, len(steps) + 1)):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    number = _walk(below, steps) if os.open in os.supports_dir_fd else os.open(path, _FILE)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
    return os.fdopen(number, "rb")


def _walk(below: Path, steps: tuple[str, ...]) -> int:
    """Go down step by step, each opened inside the one before: what is renamed meanwhile leads nowhere else."""
    number = os.open(below, os.O_RDONLY)
    for depth, step in enumerate(steps, start=1):
        try:
            deeper = os.open(step, _FILE if depth == len(steps) else _FOLDER, dir_fd=number)
        finally:
            os.close(number)
        number = deeper
    return number
