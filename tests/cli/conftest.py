"""Workspaces for the tests of the command line."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from publisher.cli import run_command
from publisher.cli.workspace import DemoWorkspace, create_workspace, demo_files, new_workspace_files, read_regions
from publisher.rendering.child import RenderWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _renders_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render in this process: a child process for each of a thousand commands would take too long."""
    monkeypatch.setattr("publisher.app.offline.RenderProcess", RenderWorker)
    monkeypatch.setattr("publisher.cli.commands.templates.RenderProcess", RenderWorker)


Run = Callable[..., Result]
PUBLIC_IP = 'public_ip = "211.156.0.1"'


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command in this process."""
    monkeypatch.delenv("PUBLISHER_LANG", raising=False)

    def running(*arguments: str | Path) -> Result:
        capsys.readouterr()
        code = run_command([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code=code, out=captured.out, err=captured.err)

    return running


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a new live workspace as `init` makes it, with the machine's address filled in."""
    create_workspace(tmp_path / "workspace", new_workspace_files())
    settings = tmp_path / "workspace" / "publisher.toml"
    settings.write_text(settings.read_text("utf-8").replace('# public_ip = "203.0.113.10"', PUBLIC_IP), "utf-8")
    return tmp_path / "workspace"


def make_drill(folder: Path, address: str) -> Path:
    """Create a drill workspace of one region, with an empty schedule and no pause between two posts."""
    files = {**new_workspace_files(), **demo_files(DemoWorkspace(regions=read_regions()[:1], simulator_url=address))}
    settings = re.sub(rb'min_interval = "\w+"', b'min_interval = "0s"', files["publisher.toml"])
    create_workspace(folder, {**files, "publisher.toml": settings, "schedule.toml": b"post = []\n"})
    return folder


@pytest.fixture
def drill(tmp_path: Path) -> Path:
    """Return a drill workspace whose platforms nobody serves."""
    return make_drill(tmp_path / "drill", "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    """Yield the address of a simulator that runs for this file's tests."""
    command = [sys.executable, "-m", "publisher", "--lang", "en", "simulate", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield next(word for word in process.stdout.readline().split() if word.startswith("http://"))
        process.terminate()
        assert process.wait(10) == 0
