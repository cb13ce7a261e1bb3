"""Characters that no text may contain, their names, and how a text with them is shown."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.characters import (
    describe_character,
    escape_forbidden,
    find_forbidden_characters,
    find_forbidden_in_value,
    normalize_compatible,
)

ODD = [
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2060, 0x2070)),
    *"\u200b\u200c\u200d\u200e\u200f\u061c\ufeff\u00ad\u034f\u2028\u2029",
    *"\ufff9\ufffa\ufffb\ufffc\u115f\u1160\u3164\uffa0\u2800\u180b\u180e\u17b4",
    *"\0\a\b\v\f\r\x1b\x7f\x80\x85\x9b\x9f",
    *"\U000e0001\U000e0041\U000e007f\U000e0100\ufe00\ufe0f",
    *"\ue000\U000f0000\ufdd0\ufffe\U0001ffff\u0378\ud800",
]
LEGITIMATE = [
    "警惕“退款客服”诈骗，请拨 110 或 96110……\u3000（12377）",
    "一\r\n二\n\t三\u00a0四",
    "👨‍👩‍👧 👩🏽‍🚒 🏳️‍🌈 🤷🏻‍♂️ ❤️‍🔥",
    "⚠️ ☎︎ ©️ 1️⃣1️⃣0️⃣ #️⃣ 🇨🇳",
    "ئۇيغۇر བོད་ 한국어",
]
MISPLACED = [
    "1\u200d10",
    "👨\u200d10",
    "1\u200d👨",
    "👩\u200d\u200d👩",
    "1\ufe0f10",
    "警\ufe0f",
    "❤\ufe0f\ufe0f",
    "\u200d👩",
]


@pytest.mark.parametrize("odd", ODD, ids=[f"U+{ord(each):04X}" for each in ODD])
def test_invisible_characters_are_found_at_every_position(odd):
    """Inside a number, at the start and at the end of a text."""
    assert list(find_forbidden_characters(f"请拨 1{odd}10")) == [4]
    assert list(find_forbidden_characters(f"{odd}110")) == [0]
    assert list(find_forbidden_characters(f"110{odd}")) == [3]


@pytest.mark.parametrize("text", LEGITIMATE)
def test_ordinary_text_is_accepted(text):
    """Chinese punctuation, line ends, emoji with their joiners and selectors, other scripts."""
    assert list(find_forbidden_characters(text)) == []
    assert escape_forbidden(text) == text


@pytest.mark.parametrize("text", MISPLACED, ids=ascii)
def test_joiners_and_selectors_stand_by_emoji_only(text):
    """Joiners and selectors away from emoji are found, as they hide the text's meaning."""
    assert list(find_forbidden_characters(text))


def test_a_character_is_named_without_showing_it():
    """Code point and name, and a replacement where Unicode gives no name."""
    assert describe_character("\u202e") == "U+202E RIGHT-TO-LEFT OVERRIDE"
    assert describe_character("\x1b") == "U+001B ESCAPE"
    assert describe_character("\x01") == "U+0001 <control>"
    assert describe_character("\U000e0041") == "U+E0041 TAG LATIN CAPITAL LETTER A"
    assert describe_character("\ue000") == "U+E000 <private use>"
    assert all(
        describe_character(odd).isascii() and describe_character(odd).isprintable()
        for odd in ODD
    )


def test_odd_characters_of_a_table_are_found_in_keys_and_values():
    """At any depth; the path leads to the value."""
    table = {
        "post": [{"title": "ok", "data": {"tips": ["a", "b\u200b"], "k\u202e": 1}}]
    }
    assert list(find_forbidden_in_value(table)) == [
        (("post", 0, "data", "tips", 1), "\u200b"),
        (("post", 0, "data", "k\u202e"), "\u202e"),
    ]


@given(
    st.text(
        alphabet=st.one_of(
            st.characters(), st.sampled_from(ODD), st.sampled_from("👨1\n\t")
        )
    )
)
def test_no_text_is_shown_with_a_control_character(text):
    """Every such character is escaped, and nothing else of the text changes."""
    shown = escape_forbidden(text)
    assert list(find_forbidden_characters(shown)) == []
    assert all(
        letter in "\r\n\t" or unicodedata.category(letter) != "Cc" for letter in shown
    )
    assert escape_forbidden(shown) == shown


@pytest.mark.long
@given(
    st.recursive(st.text(st.one_of(st.characters(), st.sampled_from(ODD))), st.lists)
)
def test_json_stays_the_same_json(value):
    """An escape is the same character to a program that parses the document."""
    assert (
        json.loads(escape_forbidden(json.dumps(value, ensure_ascii=False, indent=2)))
        == value
    )


@pytest.mark.parametrize("mark", ["\u0301", "\u0f75", "\u0345\u0334"])
def test_f90_marks_beyond_what_a_letter_can_have_are_not_sorted(mark):
    """A hundred thousand marks on one letter cost no more than thirty.

    Marks on other letters stay.
    """
    text = f"警e\u0301{'a' + mark * 50_000}Ａ\u030a"
    assert normalize_compatible(text) == normalize_compatible(
        f"警e\u0301{'a' + (mark * 30)[:30]}Ａ\u030a"
    )


@given(st.text(max_size=30))
def test_other_texts_are_in_the_usual_form(text):
    assert normalize_compatible(text) == unicodedata.normalize("NFKC", text)


@pytest.mark.parametrize("text", LEGITIMATE)
def test_texts_of_a_language_are_in_the_usual_form(text):
    assert normalize_compatible(text * 9) == unicodedata.normalize("NFKC", text * 9)
