"""Fixtures for the whole of publisher in a workspace, against the simulator, both in separate processes or threads."""

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from publisher.cli import run_command
from publisher.simulator import serve

FAILPOINTS = "PUBLISHER_FAILPOINTS"
PLATFORMS = ("weibo", "wechat", "tieba")
LIMITS = """
[limits.{platform}]
min_interval = "0.05s"
per_hour = 1000
per_day = 10000
request_timeout = "1.5s"
lease_timeout = "2s"
visibility_window = "3s"
first_check_after = "0.4s"
retry_first = "0.2s"
platform_clock_tolerance = "1s"
"""
ACCOUNT = """
[[account]]
id = "{city}-{platform}"
platform = "{platform}"
identity = "{city}-{platform}"
region = "{code}"
secret = "{city}-{platform}"
base_url = "{url}"
"""
EXTRA = {
    "weibo": 'link_template = "https://example.gov.cn/n/{marker}"\n',
    "wechat": "",
    "tieba": 'forum = "示例"\naccept_risk = true\n',
}
REGION = """
[region.{code}]
name = "{name}"
police = "{name}市公安局"
hotline = "110"
tip_line = "12377"
tip_link = "https://example.gov.cn/tips/{city}"
"""
CITIES = {"110000": ("beijing", "北京"), "310000": ("shanghai", "上海")}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all end-to-end tests as long, except those that belong to every run."""
    for item in items:
        if item.path.parent == Path(__file__).parent and not item.get_closest_marker("smoke"):
            item.add_marker("long")


def secret_of(platform: str, identity: str) -> dict[str, str]:
    """Return credentials that the simulator accepts for the identity."""
    return {
        "weibo": {"app_key": "1000000000", "app_secret": "2", "access_token": identity},
        "wechat": {"app_id": identity, "app_secret": "2"},
        "tieba": {"BDUSS": identity, "STOKEN": "2"},
    }[platform]


@dataclass(slots=True)
class Simulator:
    """A running simulator and its control endpoints."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> list[dict]:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as reply:  # noqa: S310 # loopback
            return json.load(reply)

    def post(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(  # noqa: S310 # loopback
            f"{self.url}{path}", data=json.dumps(body).encode(), headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 # loopback
            return json.load(reply)

    def delete(self, path: str) -> None:
        request = urllib.request.Request(f"{self.url}{path}", method="DELETE")  # noqa: S310 # loopback
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310 # loopback
            pass


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Run a simulator on a free port, in a thread with its own event loop."""
    ready, ports = threading.Event(), []
    loop = asyncio.new_event_loop()

    def announce(port: int) -> None:
        ports.append(port)
        ready.set()

    task = loop.create_task(serve("127.0.0.1", 0, None, on_ready=announce))

    def run() -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(20)
    yield Simulator(ports[0])
    loop.call_soon_threadsafe(task.cancel)
    thread.join(20)


@dataclass(slots=True)
class Workspace:
    """A workspace of two cities on three platforms, and the processes that run in it."""

    folder: Path
    simulator: Simulator
    environment: dict[str, str] = field(default_factory=dict)
    daemons: list[subprocess.Popen] = field(default_factory=list)

    def write_settings(self) -> None:
        """Write publisher.toml and the secrets of all accounts."""
        parts = ['environment = "drill"\nsecrets_dir = "secrets"\n']
        parts += [LIMITS.format(platform=platform) for platform in PLATFORMS]
        (self.folder / "secrets").mkdir()
        (self.folder / "media").mkdir()
        for code, (city, name) in CITIES.items():
            parts.append(REGION.format(code=code, city=city, name=name))
            for platform in PLATFORMS:
                identity = f"{city}-{platform}"
                facts = {"city": city, "platform": platform, "code": code, "url": self.simulator.url}
                parts.append(ACCOUNT.format(**facts) + EXTRA[platform])
                (self.folder / "secrets" / identity).write_text(json.dumps(secret_of(platform, identity)))
        (self.folder / "publisher.toml").write_text("".join(parts), encoding="utf-8")

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

        It runs in this process, which takes a tenth of the time; a daemon runs in its own, as it may be killed.
        """
        command = ["-C", str(self.folder), *arguments]
        is_apart = "run" in arguments or FAILPOINTS in self.environment
        return self._run_apart(command, given) if is_apart else self._run_here(command, given)

    def _run_here(self, command: list[str], given: str) -> tuple[int, str, str]:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
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
            timeout=60,
            check=False,
            env={**os.environ, **self.environment},
        )
        return done.returncode, done.stdout, done.stderr

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        """Start the daemon."""
        with (self.folder / "log.jsonl").open("a") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "publisher", "-C", str(self.folder), "run", *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment, **environment},
            )
        self.daemons.append(daemon)
        return daemon

    def status(self, *arguments: str) -> dict:
        return json.loads(self.publisher("status", "--json", *arguments))

    def states(self) -> dict[str, str]:
        return {f"{item['post']}@{item['account']}": item["state"] for item in self.status()["deliveries"]}

    def log(self) -> str:
        return (self.folder / "log.jsonl").read_text(encoding="utf-8")


@pytest.fixture
def workspace(tmp_path: Path, simulator: Simulator) -> Iterator[Workspace]:
    """Yield a workspace whose platforms are the simulator."""
    made = Workspace(tmp_path / "workspace", simulator)
    made.folder.mkdir()
    made.write_settings()
    yield made
    for daemon in made.daemons:
        daemon.kill()
        daemon.wait()


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Return a function that polls a condition until it holds, and fails after the given seconds."""

    def wait(condition: Callable[[], object], seconds: float = 180) -> None:
        pause, latest = threading.Event(), time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < latest, "it did not come to pass in time"
            pause.wait(0.1)

    return wait
