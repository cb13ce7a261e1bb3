"""`simulate`: the three platforms on this machine."""

import asyncio
import signal
from pathlib import Path

import click

from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import HostPort, command
from publisher.cli.terminal import Terminal, display_path
from publisher.simulator import CertificateError, TlsListener, serve

DEFAULT_ADDRESS = "127.0.0.1:8710"
Address = tuple[str, int]


@command("simulate")
@click.option("--listen", metavar="HOST:PORT", default=DEFAULT_ADDRESS, type=HostPort(), help="opt_listen")
@click.option("--tls-listen", metavar="HOST:PORT", type=HostPort(), help="opt_tls_listen")
@click.option("--state", metavar="DIR", type=click.Path(path_type=Path), help="opt_state")
def simulate(terminal: Terminal, listen: Address, tls_listen: Address | None, state: Path | None) -> int:
    if state is not None:
        state.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(_simulate(terminal, listen, tls_listen, state))
    except CertificateError as error:
        raise CommandFailedError(f"certificate_{error.reason}") from error
    return 0


async def _simulate(terminal: Terminal, listen: Address, tls_listen: Address | None, state: Path | None) -> None:
    host, port = listen

    def on_ready(taken: int) -> None:
        terminal.print_message("simulator_started", address=f"http://{_format_host(host)}:{taken}")

    serving = asyncio.create_task(serve(host, port, state, on_ready, tls=_tls_listener(terminal, tls_listen)))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()


def _tls_listener(terminal: Terminal, address: Address | None) -> TlsListener | None:
    if address is None:
        return None
    host, port = address

    def on_ready(taken: int, certificate: Path) -> None:
        shown = display_path(certificate)
        terminal.print_message(
            "simulator_tls_started", address=f"https://{_format_host(host)}:{taken}", certificate=shown
        )

    return TlsListener(host=host, port=port, on_ready=on_ready)


def _format_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
