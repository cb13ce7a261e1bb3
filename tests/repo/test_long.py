"""Every test is in some script: scripts/test and test-long in CI, scripts/test-extra apart."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNS = {"scripts/check", "scripts/test", "scripts/test-long", "scripts/chaos --brief"}
FOLDER = "tests/interop"
"""All tests in it are long."""


def test_ci_runs_the_long_tests_too():
    """CI runs both scripts. Each script for tests that the other omits selects them by mark."""
    lines = ROOT.joinpath(".ci", "run").read_text("utf-8").splitlines()
    assert {line.partition(" >")[0] for line in lines} >= RUNS
    for script, marked in {
        "test-long": '"long and not extra"',
        "test-extra": "extra",
    }.items():
        assert f"pytest -m {marked} " in ROOT.joinpath("scripts", script).read_text(
            "utf-8"
        )


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([], pytest.ExitCode.NO_TESTS_COLLECTED),
        pytest.param(
            [f"{FOLDER}/test_installing.py"],
            pytest.ExitCode.OK,
            marks=pytest.mark.extra,
        ),
    ],
    ids=["nothing named", "a file"],
)
def test_long_tests_are_left_out_where_nothing_is_named(arguments, status):
    """A plain run has none of them; a run of one file has its own."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-qq",
        "-o",
        f"testpaths={FOLDER}",
        *arguments,
    ]
    assert (
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode
        == status
    )
