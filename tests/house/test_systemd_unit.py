"""The systemd unit in docs/examples/, as systemd itself judges it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "docs" / "examples" / "publisher.service"
MOST_EXPOSED = 1.5
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


def test_the_unit_is_valid():
    """systemd knows every option of the unit and takes every value."""
    judged = analyze("verify", "--man=no")
    assert (judged.returncode, judged.stderr) == (0, "")
