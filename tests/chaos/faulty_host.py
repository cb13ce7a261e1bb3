"""The program with a mutant or a host fault.

It is run as `python -m tests.chaos.faulty_host [OPTION…] -- ARGUMENT…`.
"""

import argparse
import socket
import sys
import threading
from datetime import datetime, timedelta
from typing import Any

from publisher.cli import main
from publisher.runtime.clock import Runtime
from tests.chaos import mutants


def set_ahead(ahead: timedelta) -> None:
    """Let the wall clock of this process be ahead, and let nobody vouch for it."""
    right = Runtime.now

    def now(runtime: Runtime) -> datetime:
        return right(runtime) + ahead

    Runtime.now = now
    # a clock that is kept right is right
    Runtime.is_kernel_clock_synchronized = lambda _runtime: False


def hang(name: str) -> None:
    """Let any look-up of that name wait for ever. All others are answered."""
    right = socket.getaddrinfo

    def getaddrinfo(host: Any, *more: Any, **facts: Any) -> Any:
        if host == name:
            threading.Event().wait()
        return right(host, *more, **facts)

    socket.getaddrinfo = getaddrinfo


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--mutant", choices=mutants.MODULES)
    parser.add_argument(
        "--ahead", type=float, help="seconds by which the host's clock is ahead"
    )
    parser.add_argument("--hang", help="the name for which the name server hangs")
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    if options.mutant:
        mutants.plant(options.mutant)
    if options.ahead:
        set_ahead(timedelta(seconds=options.ahead))
    if options.hang:
        hang(options.hang)
    sys.argv[1:] = options.arguments
    main()
