"""The benchmark runs: a very small run of every figure, without goals."""

import json
import subprocess
import sys

import pytest

TIMEOUT_SECONDS = 300
SHORT = ("P1", "P3", "P4", "P9", "P10", "P14")
LONG = ("P2", "P5", "P6", "P7", "P8", "P11", "P12", "P13")
"""Daemons and workers are started for these."""


@pytest.mark.parametrize("names", [SHORT, pytest.param(LONG, marks=pytest.mark.long)], ids=["short", "long"])
def test_a_brief_run_measures_each_figure(tmp_path, names):
    """Each figure that is asked for is measured or, where this machine lacks something, skipped."""
    command = [sys.executable, "-m", "tests.bench.main", "--brief", "--json", tmp_path / "figures"]
    done = subprocess.run(
        [*command, "--only", ",".join(names)], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "figures").read_text("utf-8"))
    assert set(names) <= {figure["id"] for figure in figures}
    assert all(figure["parts"] or figure["skipped"] or figure["value"] for figure in figures)
