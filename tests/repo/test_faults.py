"""Each fault of the failure model has tests that carry its number, and the page that lists them is true."""

import re
from functools import cache

import pytest

from tests.faults import PAGE, ROOT, faults, numbers_in

KIT = ROOT / "publisher" / "testing" / "conformance"


@cache
def text_of(path):
    return path.read_text("utf-8")


@cache
def listed():
    """Return the page's rows by number: the tests, as file and function, and their result."""
    rows = {}
    for line in text_of(PAGE).splitlines():
        if re.match(r"\| F\d\d \|", line):
            number, _wrong, tests, result = (cell.strip() for cell in line.strip("|").split("|"))
            files = [file.partition(": ") for file in tests.split("<br>") if file]
            rows[number] = (
                [(file, test) for file, _, names in files for test in re.findall(r"`([^`]+)`", names)],
                result,
            )
    return rows


def names(text, number):
    """Return True if a file names a fault, as F07, f07 or within `F01-F11`."""
    ranges = re.findall(r"\bF(\d\d)(?:-| to )F(\d\d)\b", text)
    return bool(re.search(rf"(?<![a-z0-9]){number}(?![0-9])", text, re.IGNORECASE)) or any(
        int(first) <= int(number[1:]) <= int(last) for first, last in ranges
    )


def exists(file, test, number):
    """Return True if a test is in its file, or in the kit that the file runs, and names the fault there."""
    path = ROOT / "tests" / file
    texts = [text_of(path)] if path.is_file() else []
    texts += [text_of(part) for part in KIT.glob("*.py")] if "onformance" in file else []
    function = test.rpartition("::")[2]
    return any(re.search(rf"\bdef {function}\(", text) and names(text, number) for text in texts)


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.number)
def test_each_fault_has_tests_that_exist(fault):
    """Only a fault marked `later` may have no test; each listed test exists, and no test of a `done` fault failed."""
    tests, result = listed()[fault.number]
    assert tests or fault.now.startswith("later"), "no test: name one, then scripts/test --faults"
    assert [test for test in tests if not exists(*test, fault.number)] == []
    assert "failed" not in result or fault.now != "done"


@pytest.mark.parametrize(
    ("name", "docstring", "found"),
    [
        ("test_f07_steps", None, {"F07"}),
        ("test_steps_f07", None, {"F07"}),
        ("test_steps_f18_f19[a]", "It holds.", {"F18", "F19"}),
        ("test_steps", "F09 to F11: it holds.\n\nUnlike F30.", {"F09", "F10", "F11"}),
        ("test_steps", "It holds (F01-F03, F13).", {"F01", "F02", "F03", "F13"}),
        ("test_steps[F22-closed]", "F18 to F30: it holds.", {"F22"}),
        ("test_steps[sqlite-F60-back]", None, {"F60"}),
        ("test_buf07_x[0f12]", "No number.", set()),
    ],
)
def test_numbers_are_read_from_names_first_lines_and_cases(name, docstring, found):
    """A case that names faults overrides its test; anything else is no number."""
    assert numbers_in(name, docstring) == found
