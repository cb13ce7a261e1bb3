"""The message catalogue as a whole."""

import re
import tomllib
from collections import Counter
from importlib.resources import files

from publisher.i18n import LANGUAGES, load_catalogue

AREAS = sorted(path.name for path in files("publisher.i18n").iterdir() if path.name.endswith(".toml"))


def test_no_code_is_in_two_areas():
    """Each code has its texts in one place only."""
    codes = Counter(
        code for area in AREAS for code in tomllib.loads(files("publisher.i18n").joinpath(area).read_text("utf-8"))
    )
    assert [code for code, number in codes.items() if number > 1] == []


def differing(entry):
    """Return the placeholders of a message and of its hint in which the languages differ."""
    reported = [entry, *([entry["hint"]] if "hint" in entry else [])]
    blanks = [[set(re.findall(r"{(\w+)}", words[lang])) for lang in LANGUAGES] for words in reported]
    return [pair for pair in blanks if pair[0] != pair[1]]


def test_both_languages_say_the_same_facts():
    """Every message and hint exists in both languages and has the same placeholders in each."""
    assert {code: found for code, entry in load_catalogue().items() if (found := differing(entry))} == {}


def test_a_placeholder_that_one_language_lacks_is_found():
    """A message or a hint with a fact in one language only is reported."""
    whole, half = {"zh_CN": "{a}", "en": "{a}"}, {"zh_CN": "{a}", "en": "a"}
    assert differing({**whole, "hint": whole}) == []
    assert differing(half) == differing({**whole, "hint": half}) == [[{"a"}, set()]]
