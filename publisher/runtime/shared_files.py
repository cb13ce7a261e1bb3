"""Files of a folder that two system users share, such as those of the daemon and of the dashboard."""

import os
import stat
from pathlib import Path


def share(path: Path) -> None:
    """Give the group of a file or folder of ours the rights that it has on the folder around it.

    Where that folder is not shared, or another user owns the path, nothing changes. Raises OSError.
    """
    around, own = path.parent.stat(), path.stat()
    if not is_shared(path.parent) or own.st_uid != os.geteuid():
        return
    rights = stat.S_IRWXG if stat.S_ISDIR(own.st_mode) else stat.S_IRGRP | stat.S_IWGRP
    before = stat.S_IMODE(own.st_mode)
    if before != (shared := before | around.st_mode & rights):
        path.chmod(shared)


def is_shared(folder: Path) -> bool:
    """Return True if a folder has the setgid bit: what is made in it is its group's, and for its group."""
    return bool(folder.stat().st_mode & stat.S_ISGID)
