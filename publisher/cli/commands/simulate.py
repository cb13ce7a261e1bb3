"""`simulate`: the three platforms, simulated on this machine."""

import asyncio
from pathlib import Path

import click

from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import command, host_port
from publisher.cli.terminal import Terminal, display_path
from publisher.cli.workspace import DemoWorkspace, read_regions
from publisher.runtime.clock import handle_stop_signals
from publisher.simulator import CertificateError, TlsListener, serve

DEFAULT_ADDRESS = "127.0.0.1:8710"
Address = tuple[str, int]


@command("simulate")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=DEFAULT_ADDRESS,
    type=host_port,
    help="opt_listen",
)
@click.option(
    "--tls-listen", metavar="HOST:PORT", type=host_port, help="opt_tls_listen"
)
@click.option(
    "--state", metavar="DIR", type=click.Path(path_type=Path), help="opt_state"
)
async def simulate(
    terminal: Terminal, listen: Address, tls_listen: Address | None, state: Path | None
) -> None:
    def on_ready(port: int) -> None:
        terminal.print_message(
            "simulator_started", address=_format_url("http", listen[0], port)
        )

    def on_tls_ready(port: int, certificate: Path) -> None:
        address = _format_url("https", tls_listen[0] if tls_listen else "", port)
        terminal.print_message(
            "simulator_tls_started",
            address=address,
            certificate=display_path(certificate),
        )

    if state is not None:
        state.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 # nothing else runs yet
    tls = (
        TlsListener(host=tls_listen[0], port=tls_listen[1], on_ready=on_tls_ready)
        if tls_listen
        else None
    )
    drill = DemoWorkspace(regions=read_regions(), simulator_url="")
    names = {
        (account.platform, account.identity): account.region.agency
        for account in drill.accounts
    }
    serving = asyncio.create_task(
        serve(*listen, state, on_ready, tls=tls, account_names=names)
    )
    handle_stop_signals(serving.cancel)
    await asyncio.wait([serving])
    try:
        if not serving.cancelled():
            serving.result()
    except CertificateError as error:
        raise CommandFailedError(f"certificate_{error.reason}") from error


def _format_url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
