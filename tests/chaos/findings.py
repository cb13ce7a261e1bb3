"""The findings of a campaign: from the checker, and from the campaign's own expectations."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.chaos.publisher_process import module_command

NOT_RECORDED = frozenset({"I5", "I20", "I23", "I25"})
"""Invariants without an artefact in a campaign.

All others must be judged, or the run has proven nothing.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignFinding:
    """One thing that must not be: its finder, and the invariant that it breaks."""

    by: str
    invariant: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant:4} {self.by:8} {self.what}"


def check(
    artefacts: Path, *, needs_approval: bool = False
) -> Iterator[CampaignFinding]:
    """Have the checker judge the artefacts of a run, in a process of its own."""
    excused = NOT_RECORDED - {"I5"} if needs_approval else NOT_RECORDED
    command = module_command("checker", str(artefacts), "--json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1} or not done.stdout:
        yield CampaignFinding(
            by="checker",
            invariant="NONE",
            what=f"could not judge: {done.stderr[-500:]}",
        )
        return
    for invariant in json.loads(done.stdout)["invariants"]:
        if invariant["verdict"] == "not_judged" and invariant["id"] not in excused:
            what = f"{invariant['id']} was not judged: {invariant['why_not']}"
            yield CampaignFinding(by="checker", invariant="NONE", what=what)
        for one in invariant["violations"]:
            what = f"{one['subject']}: {one['what']} [{', '.join(one['evidence'])}]"
            yield CampaignFinding(by="checker", invariant=invariant["id"], what=what)


def write(file: Path, findings: Sequence[CampaignFinding]) -> None:
    file.write_text(
        json.dumps(
            [asdict(finding) for finding in findings], ensure_ascii=False, indent=1
        ),
        "utf-8",
    )


def read(file: Path) -> Sequence[CampaignFinding]:
    return (
        [CampaignFinding(**one) for one in json.loads(file.read_text("utf-8"))]
        if file.exists()
        else []
    )
