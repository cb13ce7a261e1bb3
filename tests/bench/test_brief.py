"""The benchmark runs: a small run of the figures that open the database and deliver."""

import json
import subprocess
import sys

PATIENCE = 120


def test_a_small_run_measures_p1_and_p4(tmp_path):
    """P1 delivers more than one round makes due, P4 announces on top of a past: both end, and give figures."""
    command = [sys.executable, "-m", "tests.bench.main", "--brief", "--json", str(tmp_path / "figures")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures").read_text("utf-8"))
    assert [figure["id"] for figure in figures] == ["P1", "P4"]
    assert all(figure["value"] > 0 for figure in figures)
