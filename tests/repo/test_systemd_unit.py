"""The systemd unit in docs/examples/, as systemd itself checks it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from publisher.rendering.child import MAX_MEMORY_BYTES

UNIT = Path(__file__).parents[2] / "docs" / "examples" / "publisher.service"
MOST_EXPOSED = 1.5
MOST_THREADS = 100
"""Measured: 15 on two processors; at most 32 more of Python's own on many, and one for each name that is resolved."""
ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def analyze(*arguments):
    return subprocess.run([str(ANALYZE), *arguments, str(UNIT)], capture_output=True, text=True, check=False)


def test_the_unit_has_a_low_exposure():
    """A compromised daemon is limited to its network and its own folder: an exposure of 1.5 of 10, or less."""
    judged = analyze("security", "--offline=true", "--no-pager")
    found = re.search(r"exposure level for publisher\.service: ([0-9.]+)", judged.stdout)
    assert found, judged.stderr
    assert float(found[1]) <= MOST_EXPOSED, judged.stdout


def test_the_unit_limits_resources_but_not_a_normal_run():
    """The renderer may use all of its own limit beside a daemon with many accounts; a runaway process is ended."""
    limits = dict(re.findall(r"^(MemoryMax|TasksMax)=(\d+)", UNIT.read_text("utf-8"), re.MULTILINE))
    assert int(limits["MemoryMax"]) * 2**30 >= MAX_MEMORY_BYTES + 512 * 2**20
    assert int(limits["TasksMax"]) >= MOST_THREADS


def test_the_unit_is_valid():
    """systemd knows every option of the unit and accepts every value."""
    judged = analyze("verify", "--man=no")
    assert (judged.returncode, judged.stderr) == (0, "")
