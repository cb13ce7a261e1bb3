"""`simulate`: the three platforms on this machine."""

import asyncio
import signal
from pathlib import Path

import click

from publisher.cli.shape import HostPort, command
from publisher.cli.terminal import Terminal, shown_path
from publisher.cli.trouble import FailedError
from publisher.simulator import CertificateError, TlsDoor, serve

DEFAULT = "127.0.0.1:8710"
Address = tuple[str, int]


@command("simulate")
@click.option("--listen", metavar="HOST:PORT", default=DEFAULT, type=HostPort(), help="opt_listen")
@click.option("--tls-listen", metavar="HOST:PORT", type=HostPort(), help="opt_tls_listen")
@click.option("--state", metavar="DIR", type=click.Path(path_type=Path), help="opt_state")
def simulate(terminal: Terminal, listen: Address, tls_listen: Address | None, state: Path | None) -> int:
    if state is not None:
        state.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(_simulate(terminal, listen, tls_listen, state))
    except CertificateError as error:
        raise FailedError(f"certificate_{error.reason}") from error
    return 0


async def _simulate(terminal: Terminal, listen: Address, tls_listen: Address | None, state: Path | None) -> None:
    host, port = listen

    def ready(taken: int) -> None:
        terminal.say("simulator_started", address=f"http://{_shown(host)}:{taken}")

    serving = asyncio.create_task(serve(host, port, state, ready, tls=_door(terminal, tls_listen)))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()


def _door(terminal: Terminal, address: Address | None) -> TlsDoor | None:
    if address is None:
        return None
    host, port = address

    def ready(taken: int, certificate: Path) -> None:
        shown = shown_path(certificate)
        terminal.say("simulator_tls_started", address=f"https://{_shown(host)}:{taken}", certificate=shown)

    return TlsDoor(host=host, port=port, on_ready=ready)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
