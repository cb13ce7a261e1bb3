"""Ports for servers whose address has to be known before they run."""

import secrets
import socket
from pathlib import Path

EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST, FIRST_EPHEMERAL = 10_000, 32_768


def free_port() -> int:
    """Return a port of this machine on which nothing listens.

    It is below those that the kernel gives to sockets without a port: no other connection or server gets it meanwhile.
    """
    first = int(EPHEMERAL_PORTS.read_text().split()[0]) if EPHEMERAL_PORTS.exists() else FIRST_EPHEMERAL
    while True:
        port = LOWEST + secrets.randbelow(max(first - LOWEST, LOWEST))
        with socket.socket() as place:
            try:
                place.bind(("", port))
            except OSError:
                continue
            return port
