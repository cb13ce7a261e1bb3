"""Files in the working directory are data, and never run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from publisher.cli.drill import start_simulator, stop_process
from publisher.i18n import LANGUAGES

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


WITHOUT_UNIX = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "{name}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.modules.pop("{name}", None)
sys.meta_path.insert(0, Missing())
sys.argv = ["publisher", "run"]
from publisher.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["fcntl", "resource", "termios"])
def test_on_windows_the_command_says_what_it_needs(name):
    """Where a module of Unix is missing, a sentence in both languages names WSL 2."""
    asked = subprocess.run(
        [sys.executable, "-c", WITHOUT_UNIX.format(name=name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (asked.returncode, asked.stderr.count("WSL 2")) == (1, len(LANGUAGES))
    assert "Traceback" not in asked.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("run",), 1), (("web",), 1), (("status",), 1), (("check",), 0)],
)
def test_elsewhere_than_on_linux_servers_are_refused_in_a_sentence(
    run, workspace, monkeypatch, arguments, code
):
    """On macOS posts can be checked; what sends, serves or reads the database needs Linux."""
    monkeypatch.setattr("sys.platform", "darwin")
    asked = run("-C", workspace, "--lang", "en", *arguments)
    assert asked.code == code
    assert ("runs on Linux only" in asked.err) is bool(code)


@pytest.mark.long
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
