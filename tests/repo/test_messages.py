"""The message catalogue as a whole."""

import re
import tomllib
from collections import Counter
from importlib.resources import files

import pytest

from adapters import BUILT_IN_ADAPTERS
from publisher.i18n import LANGUAGES, Messages, is_platform_code, load_catalogue

AREAS = [
    *sorted(
        path
        for path in files("publisher.i18n").iterdir()
        if path.name.endswith(".toml")
    )
]
PLATFORM_AREAS = {
    name: files("adapters").joinpath(name, "messages.toml")
    for name in sorted(BUILT_IN_ADAPTERS)
}


def test_no_code_is_in_two_areas():
    """Each code has its texts in one place only."""
    areas = [*AREAS, *PLATFORM_AREAS.values()]
    codes = Counter(
        code for area in areas for code in tomllib.loads(area.read_text("utf-8"))
    )
    assert [code for code, number in codes.items() if number > 1] == []


def differing(entry):
    """Return the placeholders that differ between the languages of a message or of its hint."""
    parts = ("hint", "page", "page_hint")
    reported = [entry, *(entry[part] for part in parts if part in entry)]
    blanks = [
        [set(re.findall(r"{(\w+)}", words[lang])) for lang in LANGUAGES]
        for words in reported
    ]
    return [pair for pair in blanks if pair[0] != pair[1]]


def test_both_languages_say_the_same_facts():
    """Every message and hint exists in both languages and has the same placeholders in each."""
    assert {
        code: found
        for code, entry in load_catalogue().items()
        if (found := differing(entry))
    } == {}


@pytest.mark.parametrize("platform", PLATFORM_AREAS)
def test_an_adapter_brings_texts_for_its_own_codes_only(platform):
    """The checks of a package at its loading hold for the built-in adapters too."""
    entries = tomllib.loads(PLATFORM_AREAS[platform].read_text("utf-8"))
    assert [code for code in entries if not is_platform_code(platform, code)] == []
    assert Messages("en").translate(f"platform_{platform}") != f"platform_{platform}"


def test_a_placeholder_that_one_language_lacks_is_found():
    """A message or a hint with a fact in one language only is reported."""
    whole, half = {"zh_CN": "{a}", "en": "{a}"}, {"zh_CN": "{a}", "en": "a"}
    assert differing({**whole, "hint": whole}) == []
    assert differing(half) == differing({**whole, "hint": half}) == [[{"a"}, set()]]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_advice_on_a_post_names_a_platform_as_people_do(lang):
    """Not by the code that stands in the settings."""
    messages = Messages(lang)
    facts = {"post": "p", "platform": "wechat", "number": 2, "shown": 1}
    said = [
        messages.translate(code, **facts)
        for code in ("urgent_without_notification", "images_left_out")
    ]
    assert all(
        messages.platform_name("wechat") in text and "wechat" not in text
        for text in said
    )


def test_ids_in_a_list_are_separated_as_the_language_does():
    """Ids are listed once, also in stored texts. A title keeps its own marks."""
    facts = {"post": "甲、乙", "accounts": "a、b"}
    assert "到时间之后才加上的账号没有收到它：a、b" in Messages("zh_CN").translate(
        "accounts_added_late", **facts
    )
    said = Messages("en").translate("accounts_added_late", **facts)
    assert said.startswith("甲、乙 was due")
    assert "did not get it: a, b." in said
