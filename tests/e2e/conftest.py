"""Fixtures for the whole of publisher in a workspace.

The simulator runs in its own process.
"""

import io
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import tomlkit

from publisher.cli import run_command
from publisher.cli.workspace import (
    PLATFORMS,
    DemoAccount,
    DemoWorkspace,
    create_workspace,
    demo_files,
    read_regions,
)
from tests import wait
from tests.simulator_process import SimulatorProcess

FAILPOINTS = "PUBLISHER_FAILPOINTS"
LIMITS = {
    "min_interval": "0.05s",
    "per_hour": 1000,
    "per_day": 10000,
    "request_timeout": "1.5s",
    "lease_timeout": "2s",
    "visibility_window": "3s",
    "first_check_after": "0.4s",
    "retry_first": "0.2s",
    "platform_clock_tolerance": "1s",
}

REVIEW_WINDOW = "4s"
"""The review window of Weibo: its lists show no post under review."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all end-to-end tests as long, except the tests that belong to every run."""
    for item in items:
        if item.path.parent == Path(__file__).parent and not item.get_closest_marker(
            "smoke"
        ):
            item.add_marker("long")


class TwoCities(DemoWorkspace):
    """The drill of two cities on all platforms; the identity of an account is its id."""

    def __init__(self, simulator_url: str) -> None:
        regions = [
            replace(each, agency=f"{each.name}市公安局", tip_line="12377")
            for each in read_regions()[:2]
        ]
        super().__init__(regions=regions, simulator_url=simulator_url)

    @property
    def accounts(self) -> Sequence[DemoAccount]:
        return [replace(account, identity=account.id) for account in super().accounts]


@dataclass(slots=True)
class CityWorkspace:
    """A workspace of two cities on three platforms, and the processes that run in it."""

    folder: Path
    simulator: SimulatorProcess
    environment: dict[str, str] = field(default_factory=dict)
    daemons: list[subprocess.Popen] = field(default_factory=list)

    def create(self) -> None:
        """Write publisher.toml and the secrets of all accounts; there is no schedule yet."""
        files = demo_files(TwoCities(self.simulator.url))
        settings = tomllib.loads(files["publisher.toml"].decode()) | {
            "limits": {
                **dict.fromkeys(PLATFORMS, LIMITS),
                "weibo": {**LIMITS, "review_window": REVIEW_WINDOW},
            },
            "dashboard": {"enabled": False},
        }
        secrets = {
            name: content
            for name, content in files.items()
            if name.startswith("secrets/")
        }
        create_workspace(
            self.folder, {**secrets, "publisher.toml": tomlkit.dumps(settings).encode()}
        )

    def write_schedule(self, text: str) -> None:
        """Replace the schedule atomically, as an editor does."""
        fresh = self.folder / "schedule.toml.new"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.folder / "schedule.toml")

    def publisher(self, *arguments: str, check: int | None = 0) -> str:
        """Run a command; its exit code must equal `check` unless that is None."""
        code, out, err = self.run(*arguments)
        assert check is None or code == check, out + err
        return out

    def run(self, *arguments: str, given: str = "") -> tuple[int, str, str]:
        """Run a command; return its exit code, its stdout and its stderr.

        It runs in this process, at a tenth of the time. A daemon runs in its own, as it may be
        killed.
        """
        command = ["-C", str(self.folder), *arguments]
        is_apart = "run" in arguments or FAILPOINTS in self.environment
        return (
            self._run_apart(command, given)
            if is_apart
            else self._run_here(command, given)
        )

    def _run_here(self, command: list[str], given: str) -> tuple[int, str, str]:
        out, err = (
            io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
            for _ in range(2)
        )
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(sys, "stdin", io.StringIO(given))
            for name, value in self.environment.items():
                patch.setenv(name, value)
            code = run_command(command)
        return code, *(stream.buffer.getvalue().decode() for stream in (out, err))

    def _run_apart(self, command: list[str], given: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "publisher", *command],
            input=given,
            capture_output=True,
            text=True,
            timeout=wait.PATIENCE_SECONDS,
            check=False,
            env={**os.environ, **self.environment},
        )
        return done.returncode, done.stdout, done.stderr

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        """Start the daemon."""
        with (self.folder / "log.jsonl").open("a") as log:
            daemon = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "publisher",
                    "-C",
                    str(self.folder),
                    "run",
                    *arguments,
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment, **environment},
            )
        self.daemons.append(daemon)
        return daemon

    def status(self, *arguments: str) -> dict:
        return json.loads(self.publisher("status", "--json", *arguments))

    def states(self) -> dict[str, str]:
        return {
            f"{item['post']}@{item['account']}": item["state"]
            for item in self.status()["deliveries"]
        }

    def log(self) -> str:
        return (self.folder / "log.jsonl").read_text(encoding="utf-8")


@pytest.fixture
def workspace(tmp_path: Path, simulator: SimulatorProcess) -> Iterator[CityWorkspace]:
    """Yield a workspace with the simulator as its platforms."""
    made = CityWorkspace(tmp_path / "workspace", simulator)
    made.create()
    yield made
    for daemon in made.daemons:
        daemon.kill()
        daemon.wait()


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Return a function that polls a condition until it holds.

    It fails after the given seconds.
    """
    return wait.wait_until
