"""The simulated platforms of a campaign: one process, steered and read through its control endpoints."""

import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx
from publisher_process import PUBLISHER
from workspace import Account

CREATING = {
    "weibo": "/2/statuses/share.json",
    "wechat": "/cgi-bin/freepublish/submit",
    "tieba": "/c/c/thread/add_pc",
}
LOST = (("drop_after", 0.5, {}), ("drop_before", 0.3, {}), ("act_late", 0.2, {"seconds": 1.5}))
"""How a creating call may lose its reply, and in which share: acted, not acted, acted a while after."""
LONG_AGO = 7200.0
START_SECONDS = 30.0


@dataclass(slots=True)
class Platforms:
    process: subprocess.Popen[bytes]
    client: httpx.Client

    @property
    def base_url(self) -> str:
        return str(self.client.base_url)

    def furnish(self, accounts: Iterable[Account], lost: float, dice: Random) -> None:
        """Give each account an older post made by hand, as an empty list never proves absence; then lose replies.

        The platforms' own guard against repetition is off: the campaign asks whether we need it.
        """
        self._post("settings", {"weibo_duplicates": "off"})
        self._post("clock", {"shift": -LONG_AGO})
        for account in accounts:
            words = {"text": "本账号由公安机关运营", "title": "欢迎关注本账号"}
            self._post("posts", {"platform": account.platform, "account": account.identity, "forum": "演练", **words})
        self._post("clock", {"shift": LONG_AGO})
        for platform, endpoint in CREATING.items():
            for kind, share, more in LOST:
                rule = {"probability": lost * share, "seed": dice.getrandbits(32), "fault": {"kind": kind, **more}}
                self._post("faults", {"platform": platform, "endpoint": endpoint, "nth": "every", **rule})

    def log(self) -> Sequence[dict[str, Any]]:
        return self._get("log")

    def posts(self) -> Sequence[dict[str, Any]]:
        return self._get("posts")

    def close(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait()

    def _get(self, what: str) -> Any:
        return self.client.get(f"/_sim/{what}").raise_for_status().json()

    def _post(self, what: str, body: dict[str, Any]) -> None:
        self.client.post(f"/_sim/{what}", json=body).raise_for_status()


def start_platforms(state: Path) -> Platforms:
    """Start the simulator on a free port and wait until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*PUBLISHER, "simulate", "--listen", f"127.0.0.1:{port}", "--state", str(state)]
    with (state.parent / "simulator.log").open("wb") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            client.get("/_sim/accounts").raise_for_status()
        except httpx.TransportError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return Platforms(process, client)
