"""Independent clients, each in an environment of its own, against the simulator."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

CACHE = "PUBLISHER_CLIENTS_CACHE"
"""The variable that names the folder of the kept environments.

Without it, they are kept in pytest's own.
"""
PATIENCE = 600
KNOWN = "wheel"
"""A small package that every index has."""
Environment = Callable[[str, Sequence[str]], Path]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder as long: they install packages from the network."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker("long")


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Environment:
    """Return a function that installs a client and returns its Python.

    Without a package index the test is skipped. Any other failure fails the test: a package that
    was removed or does not build would otherwise go unnoticed.
    """
    kept = Path(os.environ.get(CACHE) or request.config.cache.mkdir("clients"))

    def installed(name: str, requirements: Sequence[str]) -> Path:
        named = hashlib.sha256(
            "\n".join([sys.version, *requirements]).encode()
        ).hexdigest()[:12]
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


def _install(name: str, folder: Path, requirements: list[str]) -> None:
    make, install, fresh = _commands(folder)
    _run(make)
    done = _run([*install, *requirements], check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [""])[-1]
        if not reaches_an_index([*install, *fresh]):
            pytest.skip(f"{name} cannot be installed without a network: {said}")
        pytest.fail(
            f"{name} cannot be installed, though the package index can be reached: {said}"
        )


def _commands(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Return the commands for a new environment and for its installation.

    The options that bypass the cache are returned as well.
    """
    python, uv = str(folder / "bin" / "python"), shutil.which("uv")
    if uv:
        make = [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
        return (
            make,
            [uv, "pip", "install", "--quiet", "--python", python],
            ["--no-cache", "--reinstall"],
        )
    make = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    return make, install, ["--no-cache-dir", "--force-reinstall"]


def reaches_an_index(install: Sequence[str]) -> bool:
    """True if a package that surely exists can be installed from the configured index."""
    return _run([*install, KNOWN], check=False).returncode == 0


def _run(
    command: Sequence[str], *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=check, capture_output=True, text=True, timeout=PATIENCE
    )
