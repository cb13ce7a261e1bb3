"""A simulator in a process of its own, and its control endpoints."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

STOP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class SimulatorProcess:
    """A running simulator.

    `client` speaks to it without a proxy; paths are as in docs/simulator.md.
    """

    client: httpx.Client

    @property
    def url(self) -> str:
        return str(self.client.base_url).rstrip("/")

    def get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        return self.client.post(path, json=body).raise_for_status().json()

    def delete(self, path: str) -> None:
        self.client.delete(path).raise_for_status()


@contextmanager
def run_simulator() -> Iterator[SimulatorProcess]:
    """Run a simulator on a free port; at the end it stops by a signal, with exit code 0."""
    command = [
        sys.executable,
        "-m",
        "publisher",
        "--lang",
        "en",
        "simulate",
        "--listen",
        "127.0.0.1:0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = next(
            word
            for word in process.stdout.readline().split()
            if word.startswith("http://")
        )
        try:
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                yield SimulatorProcess(client)
        finally:
            process.terminate()
        assert process.wait(STOP_SECONDS) == 0
