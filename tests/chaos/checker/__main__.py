"""`python -m tests.chaos.checker FOLDER [--json]`: exit 0 no violation, 1 violation, 2 usage."""

import argparse
import json
import sys
from pathlib import Path

from .verdict import RunVerdict, judge

MOST_SHOWN = 20
"""So many violations of one invariant are reported, the rest are counted."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="verdict", description="Judge a run by the artefacts that it left."
    )
    parser.add_argument(
        "folder", type=Path, help="the run's artefacts; see docs/checker.md"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    if not options.folder.is_dir():
        parser.error(f"no such folder: {options.folder}")
    try:
        verdict = judge(options.folder)
    except ValueError as error:
        parser.error(str(error))
    if not verdict.judged:
        parser.error(f"nothing in {options.folder} that could be judged")
    if options.json:
        json.dump(verdict.as_json(), sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
    else:
        _print(verdict)
    return int(not verdict.is_whole)


def _print(verdict: RunVerdict) -> None:
    lines = []
    for finding in verdict.findings:
        why = f": {finding.why_not}" if finding.why_not else ""
        lines.append(
            f"{finding.invariant.id:4} {finding.invariant.name:34} {finding.word}{why}"
        )
        lines += [
            f"     {one.subject}: {one.what} [{', '.join(one.evidence)}]"
            for one in finding.violations[:MOST_SHOWN]
        ]
        if len(finding.violations) > MOST_SHOWN:
            lines.append(f"     and {len(finding.violations) - MOST_SHOWN} more")
    kept = sum(finding.word == "kept" for finding in verdict.findings)
    violated = sum(finding.word == "violated" for finding in verdict.findings)
    lines.append(
        f"\n{kept} kept, {violated} violated, {len(verdict.findings) - verdict.judged} not judged"
    )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
