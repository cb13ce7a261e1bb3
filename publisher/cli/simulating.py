"""`simulate`: the three platforms on this machine."""

import asyncio
import signal
from pathlib import Path

import click

from publisher.cli.shape import HostPort, command
from publisher.cli.terminal import Terminal
from publisher.simulator import serve

DEFAULT = "127.0.0.1:8710"


@command("simulate")
@click.option("--listen", metavar="HOST:PORT", default=DEFAULT, type=HostPort(), help="opt_listen")
@click.option("--state", metavar="DIR", type=click.Path(path_type=Path), help="opt_state")
def simulate(terminal: Terminal, listen: tuple[str, int], state: Path | None) -> int:
    if state is not None:
        state.mkdir(parents=True, exist_ok=True)
    asyncio.run(_simulate(terminal, listen, state))
    return 0


async def _simulate(terminal: Terminal, listen: tuple[str, int], state: Path | None) -> None:
    host, port = listen

    def ready(taken: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        terminal.say("simulator_started", address=f"http://{shown}:{taken}")

    serving = asyncio.create_task(serve(host, port, state, ready))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()
