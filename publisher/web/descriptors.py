"""How many files and sockets this process may still open: sending needs them before anybody is listened to."""

import os
import resource

from publisher.runtime.logs import log

MAX_DESCRIPTORS = 65_536
"""Far more than calls, reads and callers together ever hold; some systems refuse a limit without end."""


def raise_descriptor_limit() -> None:
    """Raise the soft limit, 1024 by default under systemd, to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.warning("descriptor_limit_unchanged", soft=soft, hard=hard, error=type(error).__name__)


def descriptor_limit() -> int:
    """Return how many descriptors this process may have."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def free_descriptors() -> int:
    """Return how many more this process may open; 0 where even counting them finds no room."""
    try:
        return descriptor_limit() - len(os.listdir("/dev/fd"))  # noqa: PTH208 # a count of names, ten times cheaper
    except OSError:
        return 0
