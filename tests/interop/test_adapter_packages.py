"""Adapters in their own packages pass their own tests.

They are installed beside publisher as anybody would install them.
"""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.interop import conftest

ROOT = Path(__file__).parents[2]
MASTODON = ROOT / "docs" / "examples" / "publisher-mastodon"
TIMEOUT_SECONDS = 900


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Install this publisher, as a wheel, into its own environment; return its folder.

    Its dependencies are found where the tests have them: installing them once more shows nothing of
    an adapter.
    """
    folder = tmp_path_factory.mktemp("packages") / "environment"
    make, _, _ = conftest._commands(folder)
    conftest._run(make)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(
        f"{sysconfig.get_path('purelib')}\n", "utf-8"
    )
    install(folder, ROOT)
    return folder


def install(environment: Path, package: Path) -> None:
    _, command, _ = conftest._commands(environment)
    conftest._run([*command, "--no-deps", "--no-build-isolation", str(package)])


def run_tests(environment: Path, package: Path) -> subprocess.CompletedProcess[str]:
    """Run a package's own tests in its folder; they wait more than they compute."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST"))
    }
    command = [
        str(environment / "bin" / "python"),
        "-m",
        "pytest",
        "-rs",
        "--numprocesses",
        "4",
    ]
    return subprocess.run(
        command,
        cwd=package,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )


@pytest.mark.extra
@pytest.mark.long(seconds=100)
def test_the_mastodon_example_passes_its_own_tests(environment, tmp_path):
    """The example works against its double and, if installed, against snac.

    snac is a server by other authors.
    """
    package = shutil.copytree(MASTODON, tmp_path / "publisher-mastodon")
    install(environment, package)
    done = run_tests(environment, package)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    if shutil.which("snac") is None:
        pytest.skip(
            "NO SNAC: the Mastodon example ran against its double only; apt-get install snac2"
        )
    assert "NO SNAC" not in done.stdout


@pytest.mark.extra
def test_a_generated_package_passes_its_own_tests(environment, tmp_path):
    """The output of `publisher new-adapter` works before anybody has changed a line."""
    conftest._run(
        [
            str(environment / "bin" / "publisher"),
            "new-adapter",
            "cityboard",
            "-C",
            str(tmp_path),
        ]
    )
    package = tmp_path / "publisher-cityboard"
    install(environment, package)
    done = run_tests(environment, package)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert "passed" in done.stdout
