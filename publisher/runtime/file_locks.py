"""Locks of files, among all processes of a host: one ends with its process, or with its file."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from publisher.runtime.shared_files import open_plain, share


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Wait for the lock of a file made for this alone, and hold it.

    Raises OSError, with ELOOP for a link in the file's place.
    """
    while True:
        with open(path, "a", encoding="utf-8", opener=open_plain) as file:
            share(path)
            fcntl.flock(file, fcntl.LOCK_EX)
            # else it was deleted during the wait, and others lock its successor
            if is_still_at(file.fileno(), path):
                yield
                return


def lock_now(opened: int | IO[str]) -> None:
    """Lock an open file or folder until it is closed.

    Raises BlockingIOError if another process has it, OSError.
    """
    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_still_at(descriptor: int, path: Path) -> bool:
    """Return True if a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
