"""Real runs: what a campaign of kills leaves is judged, whole where publisher is and violated where it is broken."""

import json
import subprocess
import sys
from pathlib import Path

CHAOS = Path(__file__).parents[1] / "chaos"
NOT_RECORDED = {"I5", "I20", "I23", "I24", "I25"}
"""What a campaign has no artefact for."""


def judged(folder: Path, *options: str) -> dict[str, dict[str, object]]:
    """Run a campaign, have its folder judged, and give what was said of each invariant."""
    command = [sys.executable, str(CHAOS / "campaign.py"), "--deliveries", "40", "--artefacts", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    verdict = subprocess.run(
        [sys.executable, str(CHAOS / "checker"), str(folder), "--json"], capture_output=True, check=False
    )
    assert verdict.returncode in {0, 1}, verdict.stderr
    return {one["id"]: one for one in json.loads(verdict.stdout)["invariants"]}


def test_a_campaign_of_kills_keeps_every_invariant_that_it_can_show(tmp_path):
    """After deaths and lost replies the log, books, journal and audit agree (I1-I4, I6-I19, I21, I22)."""
    found = judged(tmp_path / "run", "--seed", "5", "--kills", "6", "--lost", "0.1")
    assert {name: one["violations"] for name, one in found.items() if one["verdict"] == "violated"} == {}
    assert {name for name, one in found.items() if one["verdict"] == "not_judged"} == NOT_RECORDED


def test_a_daemon_that_announces_too_late_is_found_out(tmp_path):
    """A daemon that writes its intent after the call breaks I1 and I3, by the artefacts alone."""
    broken = ("--at", "http.after_reply", "--mutant", "intent-after-call", "--expect-violation")
    found = judged(tmp_path / "run", "--seed", "3", "--kills", "8", *broken)
    assert found["I1"]["violations"]
    assert found["I3"]["violations"]
