"""The words, as a whole."""

import re
import tomllib
from collections import Counter
from importlib.resources import files

import pytest

from publisher.messages import LANGS, catalogue

AREAS = sorted(path.name for path in files("publisher.messages").iterdir() if path.name.endswith(".toml"))


def test_no_code_stands_in_two_areas():
    """Each code has its words in one place only."""
    codes = Counter(
        code for area in AREAS for code in tomllib.loads(files("publisher.messages").joinpath(area).read_text("utf-8"))
    )
    assert [code for code, number in codes.items() if number > 1] == []


@pytest.mark.parametrize("code", sorted(catalogue()))
def test_both_languages_say_the_same_facts(code):
    """Every message and hint exists in both languages and has the same blanks in each."""
    entry = catalogue()[code]
    for words in (entry, *([entry["hint"]] if "hint" in entry else [])):
        blanks = [set(re.findall(r"{(\w+)}", words[lang])) for lang in LANGS]
        assert blanks[0] == blanks[1]
