"""The program where a name server hangs for one name: `python -m tests.chaos.with_names HOST [MUTANT] ARGUMENTS…`."""

import socket
import sys
import threading
from typing import Any

from tests.chaos import wrapped


def hang(name: str) -> None:
    """Let anyone who asks for that name wait for ever; all others are answered."""
    right = socket.getaddrinfo

    def getaddrinfo(host: Any, *more: Any, **facts: Any) -> Any:
        if host == name:
            threading.Event().wait()
        return right(host, *more, **facts)

    socket.getaddrinfo = getaddrinfo


if __name__ == "__main__":
    hang(sys.argv.pop(1))
    wrapped.run()
