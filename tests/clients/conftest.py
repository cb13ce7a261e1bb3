"""Programs that others wrote, each in an environment of its own, against the simulator."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

CACHE = "PUBLISHER_CLIENTS_CACHE"
"""Names the folder in which environments are kept; without it, they are kept in pytest's own."""
PATIENCE = 600
Environment = Callable[[str, Sequence[str]], Path]


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Environment:
    """Give a function that installs a client and gives its Python; what cannot be installed skips the test."""
    kept = Path(os.environ.get(CACHE) or request.config.cache.mkdir("clients"))

    def installed(name: str, requirements: Sequence[str]) -> Path:
        named = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:12]
        folder = kept / f"{name}-{named}"
        python, whole = folder / "bin" / "python", folder / "whole"
        kept.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                _install(name, folder, [*requirements])
                whole.touch()
        return python

    return installed


@pytest.fixture
def simulator() -> Iterator[str]:
    """Give the address of a simulator that runs as a process of its own."""
    command = [sys.executable, "-m", "publisher", "--lang", "en", "simulate", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield next(word for word in process.stdout.readline().split() if word.startswith("http://"))
        process.terminate()
        assert process.wait(PATIENCE) == 0


def _install(name: str, folder: Path, requirements: list[str]) -> None:
    python, uv = str(folder / "bin" / "python"), shutil.which("uv")
    if uv:
        commands = [
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", python, *requirements],
        ]
    else:
        commands = [
            [sys.executable, "-m", "venv", str(folder)],
            [python, "-m", "pip", "install", "--quiet", *requirements],
        ]
    for command in commands:
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.CalledProcessError as error:
            said = error.stderr.strip().splitlines() or [""]
            pytest.skip(f"{name} cannot be installed here: {said[-1]}")
        except (OSError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"{name} cannot be installed here: {type(error).__name__}")
