"""The names of what can be broken, without loading the program that is broken."""

from pathlib import Path

BUGS = frozenset(file.stem for file in (Path(__file__).parent / "planted").glob("*.py") if file.stem != "__init__")
MUTANTS = frozenset({"intent-after-call", "lapsed-is-due", "one-look"})
SOUND = "nothing"
"""What a sweep calls a daemon without any mistake."""
