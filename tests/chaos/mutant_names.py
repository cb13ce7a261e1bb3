"""The names of what can be broken, and what that breaks, without loading the program that is broken."""

import re
from pathlib import Path

PLANTED = Path(__file__).parent / "mutants"
BUGS = frozenset(file.stem for file in PLANTED.glob("*.py") if file.stem != "__init__")
SOUND = "nothing"
"""What a sweep calls a daemon without any mistake."""


def broken_by(name: str) -> frozenset[str]:
    """Give the invariants that a bug says it breaks."""
    reported = (PLANTED / f"{name}.py").read_text("utf-8").partition("Breaks ")[2].partition(":")[0]
    return frozenset(re.findall(r"\bI\d{1,2}\b", reported))
