"""The systemd units in docs/examples/, as systemd itself checks them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from publisher.rendering.child import MAX_MEMORY_BYTES

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
UNIT, WEB_UNIT = EXAMPLES / "publisher.service", EXAMPLES / "publisher-web.service"
WATCHDOG = EXAMPLES / "publisher-watchdog.service"
BACKUP = EXAMPLES / "publisher-backup.service"
MOST_EXPOSED = {UNIT: 1.7, WEB_UNIT: 1.4, WATCHDOG: 1.5, BACKUP: 1.5}
TIMERS = [unit.with_suffix(".timer") for unit in (WATCHDOG, BACKUP)]
"""The daemon asks the kernel about the clock and sees the schedule's owner: 0.2 each."""
MOST_THREADS = 100
"""Measured: 15 on two processors.

Add at most 32 more of Python's own on many processors, and one for each name that is resolved.
"""
ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.skipif(
    ANALYZE is None, reason="systemd-analyze is not installed"
)


def analyze(*arguments, unit):
    return subprocess.run(
        [str(ANALYZE), *arguments, str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("unit", MOST_EXPOSED, ids=lambda unit: unit.stem)
def test_the_unit_has_a_low_exposure(unit):
    """A compromised process has only its network and folder: an exposure of at most 1.7 of 10."""
    judged = analyze("security", "--offline=true", "--no-pager", unit=unit)
    found = re.search(
        rf"exposure level for {unit.stem}\.service: ([0-9.]+)", judged.stdout
    )
    assert found, judged.stderr
    assert float(found[1]) <= MOST_EXPOSED[unit], judged.stdout


@pytest.mark.parametrize("unit", [UNIT, WEB_UNIT], ids=lambda unit: unit.stem)
def test_the_unit_limits_resources_but_not_a_normal_run(unit):
    """The renderer may use all of its limit beside a large daemon. A runaway process is ended.

    A large daemon has many accounts.
    """
    limits = dict(
        re.findall(
            r"^(MemoryMax|TasksMax)=(\d+)", unit.read_text("utf-8"), re.MULTILINE
        )
    )
    assert int(limits["MemoryMax"]) * 2**30 >= MAX_MEMORY_BYTES + 512 * 2**20
    assert int(limits["TasksMax"]) >= MOST_THREADS


@pytest.mark.parametrize("unit", [*MOST_EXPOSED, *TIMERS], ids=lambda unit: unit.name)
def test_the_unit_is_valid(unit):
    """systemd knows every option of the unit and accepts every value."""
    judged = analyze("verify", "--man=no", unit=unit)
    assert (judged.returncode, judged.stderr) == (0, "")
