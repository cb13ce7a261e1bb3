"""Open files of the workspace without following symbolic links."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_NOFOLLOW_FLAG = getattr(os, "O_NOFOLLOW", 0)
_FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NOFOLLOW_FLAG
_FILE_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | _NOFOLLOW_FLAG


def open_without_symlinks(path: Path, trusted_root: Path) -> BinaryIO:
    """Open a regular file for reading. Links are allowed on the path to `trusted_root` and not below it.

    Raises OSError: ELOOP if a step below is a link, EINVAL if the file is not a regular one.
    """
    steps = path.relative_to(trusted_root).parts
    if any(trusted_root.joinpath(*steps[:depth]).is_symlink() for depth in range(1, len(steps) + 1)):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if os.open in os.supports_dir_fd:
        # Each step is opened inside the one before, so that a folder renamed meanwhile leads nowhere else.
        descriptor = os.open(trusted_root, os.O_RDONLY)
        for depth, step in enumerate(steps, start=1):
            try:
                deeper = os.open(step, _FILE_FLAGS if depth == len(steps) else _FOLDER_FLAGS, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = deeper
    else:
        descriptor = os.open(path, _FILE_FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
    return os.fdopen(descriptor, "rb")
