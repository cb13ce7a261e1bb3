"""Files replaced in one step: after a crash at any moment there is the old one or the new one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

PRIVATE_FILE_MODE = 0o600


def replace_contents(file: Path, data: bytes) -> None:
    """Put a new private file with these contents in a file's place, or create it, for good."""
    put_in_place(write_beside(file, data), file)


def write_beside(
    file: Path,
    data: bytes,
    prepare: Callable[[BinaryIO], object] = lambda _opened: None,
) -> Path:
    """Write a new private file beside another one, sync it, and return its path.

    `prepare` gets the empty file, to change its owner and mode. If anything fails, the new file is
    removed. One writer at a time: each removes the remains of another.
    """
    new = file.with_name(f".{file.name}.new")
    new.unlink(
        missing_ok=True
    )  # left by a crash; it may be readable by others, or a link
    with open(new, "xb", opener=_open_private) as opened:
        try:
            prepare(opened)
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    return new


def put_in_place(new: Path, file: Path) -> None:
    """Give a synced file its name in the same folder, in place of the old one, for good."""
    new.replace(file)
    sync(file.parent)


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder, so that they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE_MODE)


def find_file_owner(file: Path) -> str | None:
    """Return the system user that owns a file; None if the system does not know."""
    try:
        return file.owner()
    except (OSError, KeyError):
        return None
