"""A short kill campaign, a mutant that a campaign must catch, and a judge that must see what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).parents[1] / "chaos"


def campaign(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHAOS / "campaign.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_post_goes_out_once_though_the_daemon_dies_again_and_again():
    """A daemon killed twelve times while replies get lost makes no post twice and loses none (F01-F11, F13, F24)."""
    done = campaign("--seed", "3", "--deliveries", "100", "--kills", "12")
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]


def test_a_campaign_catches_a_daemon_that_announces_its_calls_too_late():
    """A daemon that writes its intent after the call makes posts twice, and a small campaign sees it."""
    done = campaign(
        "--seed", "3", "--deliveries", "40", "--kills", "5", "--mutant", "intent-after-call", "--expect-violation"
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]


@pytest.mark.parametrize("options", [("--database", "postgres"), ("--mutant", "none"), ("--kills", "few")])
def test_a_campaign_that_cannot_be_run_says_so(options):
    """What is not available, or no option at all, ends with 2 before anything is started."""
    assert campaign(*options).returncode == 2
