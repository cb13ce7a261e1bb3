"""Ports for servers with an address that must be known before they run."""

import secrets
import socket
from pathlib import Path

EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST, FIRST_EPHEMERAL = 10_000, 32_768
MIN_PORTS = 1_000
"""Of fewer none is drawn: many tests may run at once."""


def free_port() -> int:
    """Return a free TCP port of this machine.

    No other caller of this function gets it before this process ends. It is below the ports that
    the kernel gives to sockets without one, so no such socket gets it either. Where there are too
    few below, it is one of the kernel's ports.
    """
    first = (
        int(EPHEMERAL_PORTS.read_text().split()[0])
        if EPHEMERAL_PORTS.exists()
        else FIRST_EPHEMERAL
    )
    ports = first - LOWEST
    while True:
        with (
            socket.socket() as place,
            socket.socket(type=socket.SOCK_DGRAM) as reservation,
        ):
            try:
                place.bind(
                    ("", LOWEST + secrets.randbelow(ports) if ports >= MIN_PORTS else 0)
                )
                port: int = place.getsockname()[1]
                reservation.bind(("", port))
            except OSError:
                continue
            reservation.detach()  # UDP, so in no server's way, and open until this process ends
            return port
