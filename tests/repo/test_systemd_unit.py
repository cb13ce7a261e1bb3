"""The systemd unit in docs/examples/, as systemd itself judges it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from publisher.rendering.child import MAX_MEMORY_BYTES

UNIT = Path(__file__).parents[2] / "docs" / "examples" / "publisher.service"
MOST_EXPOSED = 1.5
MOST_THREADS = 100
"""Measured: 15 on two processors; at most 32 more of Python's own on many, and one for each name that is looked up."""
ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def analyze(*arguments):
    return subprocess.run([str(ANALYZE), *arguments, str(UNIT)], capture_output=True, text=True, check=False)


def test_the_unit_is_hardly_exposed():
    """What a taken-over daemon could do beyond its network and its own folder is closed: 1.5 of 10, or less."""
    judged = analyze("security", "--offline=true", "--no-pager")
    found = re.search(r"exposure level for publisher\.service: ([0-9.]+)", judged.stdout)
    assert found, judged.stderr
    assert float(found[1]) <= MOST_EXPOSED, judged.stdout


def test_the_unit_bounds_what_it_may_use_but_not_an_honest_run():
    """The renderer may use all of its own limit beside a daemon with many accounts; one that runs wild is ended."""
    limits = dict(re.findall(r"^(MemoryMax|TasksMax)=(\d+)", UNIT.read_text("utf-8"), re.MULTILINE))
    assert int(limits["MemoryMax"]) * 2**30 >= MAX_MEMORY_BYTES + 512 * 2**20
    assert int(limits["TasksMax"]) >= MOST_THREADS


def test_the_unit_is_valid():
    """systemd knows every option of the unit and takes every value."""
    judged = analyze("verify", "--man=no")
    assert (judged.returncode, judged.stderr) == (0, "")
