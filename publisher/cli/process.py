"""Restrictions that a process of publisher sets itself before it reads or writes anything."""

import os
import sys

_PR_SET_DUMPABLE = 4
"""From Linux's <sys/prctl.h>."""


def harden_process() -> None:
    """Create files for their owner only; write no core file, which would hold every secret, and no log of TLS keys."""
    os.umask(0o077)
    os.environ["PYTHONSAFEPATH"] = "1"  # no child imports from the working directory, which staff may write to
    os.environ.pop("SSLKEYLOGFILE", None)
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 # there is none on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 # only needed here

        # a core file piped to a program ignores the limit; and no other process of this user may read our memory
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
