"""The planted bugs are what they say: each can be planted, names what it breaks, and changes the program."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).parents[1] / "chaos"
NAMES = sorted(file.stem for file in (CHAOS / "mutants").glob("*.py") if file.stem != "__init__")
FEWEST = 14


@pytest.fixture(scope="module")
def changes():
    """Give what planting each bug changes, seen in a process of its own."""
    command = [sys.executable, "-m", "tests.chaos.mutant_changes"]
    root = str(CHAOS.parents[1])
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env={"PYTHONPATH": root})
    return json.loads(done.stdout)


def test_every_module_is_a_bug(changes):
    """The folder's modules are the bugs by their names, and there are enough of them."""
    assert sorted(changes) == NAMES
    assert len(NAMES) >= FEWEST


@pytest.mark.parametrize("name", NAMES)
def test_a_bug_names_what_it_breaks(name):
    """A bug's docstring names an invariant, and the bug has `plant()`."""
    text = (CHAOS / "mutants" / f"{name}.py").read_text("utf-8")
    docstring = text.split('"""')[1]
    assert re.search(r"Breaks .*\bI\d{1,2}\b", docstring)
    assert "\ndef plant() -> None:\n" in text


@pytest.mark.parametrize("name", NAMES)
def test_planting_changes_the_program(changes, name):
    """Planting puts something else in the place of a function, a constant or a line of a table."""
    assert changes[name]
