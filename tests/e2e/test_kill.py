"""A short kill campaign, and a planted bug that a campaign must catch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.restored import restore_unapproved

ROOT = Path(__file__).parents[2]


def campaign(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.chaos.campaign", *options]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT
    )


def judged(folder: Path, *options: str) -> dict[str, dict[str, object]]:
    """Run a campaign that must end well; return the judgement of each invariant.

    The campaign's folder is judged.
    """
    done = campaign("--artefacts", str(folder), *options)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    command = [sys.executable, "-m", "tests.chaos.checker", str(folder), "--json"]
    verdict = subprocess.run(command, capture_output=True, check=False, cwd=ROOT)
    assert verdict.returncode in {0, 1}, verdict.stderr
    return {one["id"]: one for one in json.loads(verdict.stdout)["invariants"]}


@pytest.mark.extra
@pytest.mark.long(seconds=55)
def test_every_post_goes_out_once_though_the_daemon_dies_again_and_again(tmp_path):
    """A daemon killed eight times while replies get lost doubles and loses no post (F13, F24).

    The log, the database, the journal and the audit agree (I1-I4, I6-I19, I21, I22).
    """
    found = judged(
        tmp_path / "run",
        "--seed",
        "3",
        "--deliveries",
        "60",
        "--kills",
        "8",
        "--lost",
        "0.1",
    )
    assert {
        name: one["violations"]
        for name, one in found.items()
        if one["verdict"] == "violated"
    } == {}


@pytest.mark.extra
def test_a_campaign_catches_a_daemon_that_writes_its_intents_too_late(tmp_path):
    """A small campaign catches a daemon that writes its intent after the call (I1, I3).

    Such a daemon makes posts twice.
    """
    small = (
        "--seed",
        "3",
        "--deliveries",
        "40",
        "--kills",
        "8",
        "--at",
        "http.after_reply",
    )
    found = judged(
        tmp_path / "run", *small, "--bug", "intent_after_call", "--expect-violation"
    )
    assert found["I1"]["violations"]
    assert found["I3"]["violations"]


@pytest.mark.long(seconds=30)
def test_i5_f85_what_was_unapproved_is_not_sent_after_a_restore(tmp_path):
    """A post that was unapproved waits after a restore of its approval, by commands.

    The steps are approval, backup, end of approval and restore. A post that is approved again goes
    out.
    """
    assert restore_unapproved(tmp_path / "restored") == []


@pytest.mark.extra
def test_i5_a_campaign_catches_a_restore_that_keeps_approvals(tmp_path):
    """With the planted mistake the post is sent, and the checker reports ended approvals (I5)."""
    found = restore_unapproved(tmp_path / "restored", "restored_approval_honoured")
    assert any(
        one.invariant == "I5" and "sent after its approvals were ended" in one.what
        for one in found
    )


@pytest.mark.parametrize(
    "options", [("--workers", "2"), ("--bug", "none"), ("--kills", "few")]
)
def test_a_campaign_that_cannot_be_run_says_so(options):
    """An unavailable option, or none at all, ends with 2 before anything is started."""
    assert campaign(*options).returncode == 2
