"""Ports of the tests: no two get the same one, even if the machine gives it to other sockets.

The other sockets ask for no particular port.
"""

import socket
import subprocess
import sys
from itertools import chain, count

from tests import ports

PATIENCE = 90


def test_a_port_that_another_process_has_drawn_is_not_drawn_again(monkeypatch):
    """A port is kept for its process, though nothing listens there yet."""
    code = "from tests.ports import free_port; print(free_port(), flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    drawn = int(other.stdout.readline())
    numbers = chain([drawn - ports.LOWEST], count())
    monkeypatch.setattr(ports.secrets, "randbelow", lambda _ports: next(numbers))
    port = ports.free_port()
    other.communicate(b"\n", PATIENCE)
    assert port != drawn


def test_where_the_kernel_gives_nearly_all_ports_it_gives_ours_too(
    tmp_path, monkeypatch
):
    """If the kernel takes nearly all ports, one of its own is drawn. A server can listen on it."""
    monkeypatch.setattr(ports, "EPHEMERAL_PORTS", tmp_path / "range")
    ports.EPHEMERAL_PORTS.write_text(f"{ports.LOWEST + 5}\t65535\n")
    monkeypatch.setattr(ports.secrets, "randbelow", None)
    port = ports.free_port()
    with socket.create_server(("127.0.0.1", port)) as server:
        assert server.getsockname()[1] == port
