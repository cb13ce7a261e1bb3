"""The program on a host whose name server hangs for one name: `with_names.py HOST [run_mutant.py NAME] ARGUMENTS…`."""

import socket
import sys
import threading
from typing import Any

import wrapped


def hang(name: str) -> None:
    """Let whoever asks for that name wait for ever; all others are answered."""
    right = socket.getaddrinfo

    def getaddrinfo(host: Any, *more: Any, **facts: Any) -> Any:
        if host == name:
            threading.Event().wait()
        return right(host, *more, **facts)

    socket.getaddrinfo = getaddrinfo


if __name__ == "__main__":
    hang(sys.argv.pop(1))
    wrapped.run()
