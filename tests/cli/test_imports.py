"""Files in the working directory are data, and never run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from publisher.cli.drill import start_simulator, stop_process

NAMES = ("json", "asyncio", "click", "adapters", "sqlite3")
PLANTED = "import pathlib; pathlib.Path(__file__).with_name('ran').touch(); raise SystemExit(9)"


@pytest.fixture
def planted(workspace, monkeypatch):
    """Return a workspace, the working directory, with files named like modules that are used."""
    for name in NAMES:
        (workspace / f"{name}.py").write_text(PLANTED, "utf-8")
    monkeypatch.chdir(workspace)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    return workspace


@pytest.mark.parametrize(
    "program",
    [
        [sys.executable, "-m", "publisher"],
        [sys.executable, "-P", "-m", "publisher"],
        [str(Path(sys.executable).with_name("publisher"))],
    ],
    ids=["module", "safe path", "script"],
)
def test_i19_no_command_imports_from_the_working_directory(planted, program):
    """I19: a json.py in the workspace is not run, by any name of the started program."""
    asked = subprocess.run(
        [*program, "check"], capture_output=True, text=True, check=False
    )
    assert asked.returncode == 0, asked.stderr
    assert not (planted / "ran").exists()


async def test_i19_the_demonstrations_children_import_nothing_from_there(planted):
    """I19: the demo's simulator starts in a folder with a json.py, and does not run it."""
    process, address = await start_simulator(0)
    await stop_process(process, 5)
    assert address.startswith("http://127.0.0.1:")
    assert not (planted / "ran").exists()


def test_i19_processes_of_publisher_inherit_it(planted):
    """I19: a Python started by publisher has no working directory in its path."""
    code = (
        "from publisher.cli import harden_process as h; h(); import subprocess, sys; "
    )
    code += "subprocess.run([sys.executable, '-c', 'import json'], check=True)"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
    assert not (planted / "ran").exists()
    assert "PYTHONSAFEPATH" not in os.environ
