"""Each fault of the failure model has a test with its number.

scripts/make_docs.py lists them in faults.md.
"""

import re
from pathlib import Path

import pytest

from scripts.make_docs import faults_by_test, faults_named

DOCS = Path(__file__).parents[2] / "docs"
STATUS = dict(
    re.findall(
        r"^\| (F\d{2,3}) \|.*\| ([^|]+) \|$",
        (DOCS / "failure-model.md").read_text("utf-8"),
        re.MULTILINE,
    )
)
LISTED = dict(
    re.findall(
        r"^\| (F\d{2,3}) \| [^|]+ \| ([^|]*) \|$",
        (DOCS / "faults.md").read_text("utf-8"),
        re.MULTILINE,
    )
)


def test_each_fault_has_a_test():
    """Only a fault marked `later` may have no test that names it."""
    untested = {number for number, tests in LISTED.items() if "`test_" not in tests}
    assert set(LISTED) == set(STATUS)
    assert {
        number for number in untested if not STATUS[number].startswith("later")
    } == set()


@pytest.mark.parametrize(
    ("function", "words", "found"),
    [
        ("test_f07_steps", "", {"F07"}),
        ("test_steps_f07", "", {"F07"}),
        ("test_steps_f18_f19", "It holds.", {"F18", "F19"}),
        ("test_steps", "F09 to F11: it holds.", {"F09", "F10", "F11"}),
        ("test_steps", "It holds (F01-F03, F13).", {"F01", "F02", "F03", "F13"}),
        ("test_f105_preview", "It holds, F100.", {"F100", "F105"}),
        ("test_buf07_x", "No number: 0f12, F1234.", set()),
    ],
)
def test_numbers_are_read_from_names_and_words(function, words, found):
    """A number counts as a word of its own, alone or within a range."""
    assert faults_named(function, words) == found


SOURCE = '''
CASES = [param(1, id="F22-closed"), param(2, id="F23")]

@parametrize("case", CASES)
@parametrize("other", [param(3, id="F24-half"), param("F25")])
async def test_steps(case):
    """F29 to F31: it holds."""

class TestKit:
    def test_part_f40(self): ...
    def helper_f41(self): ...

def test_whole():
    """F30: it holds.

    Unlike F31.
    """
'''


def test_cases_names_and_first_lines_are_read_without_running():
    """The ids of cases count first, also in a constant, then names and first lines, and no more.

    Later lines and helpers do not count.
    """
    assert dict(faults_by_test(SOURCE)) == {
        "test_steps": {"F22", "F23", "F24"},
        "test_part_f40": {"F40"},
        "test_whole": {"F30"},
    }
