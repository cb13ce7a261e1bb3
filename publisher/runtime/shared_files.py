"""Files of a folder shared by two system users, such as the daemon's and the dashboard's.

Each user may put a link in a file's place there. Following it would change a file that only the
other user may change.
"""

import errno
import os
import stat
from pathlib import Path

MAX_LINKS = 40
"""How many links lead to a file at most, as the system itself has it."""


def share(path: Path) -> None:
    """Give the group of a file or folder of ours the rights that it has on the folder around it.

    Where that folder is not shared, another user owns the path, or it is a link, nothing changes.
    Raises OSError.
    """
    around = path.parent.stat()
    if (
        not is_shared(path.parent)
        or path.lstat().st_uid != os.geteuid()
        or path.is_symlink()
    ):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        own = os.fstat(descriptor)
        is_folder = stat.S_ISDIR(own.st_mode)
        if own.st_uid != os.geteuid() or not (is_folder or is_plain(own)):
            return
        before = stat.S_IMODE(own.st_mode)
        rights = stat.S_IRWXG if is_folder else stat.S_IRGRP | stat.S_IWGRP
        if before != (shared := before | around.st_mode & rights):
            os.fchmod(descriptor, shared)
    finally:
        os.close(descriptor)


def is_shared(folder: Path) -> bool:
    """Return True if a folder has the setgid bit.

    New files in it then belong to its group, and are for its group.
    """
    return bool(folder.stat().st_mode & stat.S_ISGID)


def is_writable_to_others(folder: Path) -> bool:
    """Return True if another user than this process's, and root, may put files in a folder."""
    return is_shared(folder) or folder.stat().st_uid not in {0, os.geteuid()}


def open_plain(path: str | Path, flags: int) -> int:
    """Open a file that is no link, has one name, and is no device or pipe: an `opener`, see `open`.

    Raises OSError, with ELOOP where it is another.
    """
    descriptor = os.open(
        path, flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600
    )
    if not is_plain(os.fstat(descriptor)):
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if flags & os.O_TRUNC:
        os.ftruncate(descriptor, 0)
    return descriptor


def is_plain(status: os.stat_result) -> bool:
    """Return True if an open file is a regular one, without a second hard link."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink <= 1


def resolve_own_links(path: Path) -> Path:
    """Return a file's real path, up to a link in a folder that another user may write to."""
    for _ in range(MAX_LINKS):
        path = Path(os.path.realpath(path.parent), path.name)
        if not os.path.islink(path) or is_writable_to_others(path.parent):  # noqa: PTH114 # no error where it is unreadable
            break
        path = path.parent / path.readlink()
    return path
