"""Invisible characters that change the text seen by a reader or a terminal. Pure.

No text may contain one. They hide words, reverse their order, split a number such as 110, or
control a terminal. Line ends, tabs and the parts of emoji are allowed. The parts are a variation
selector after an emoji, and a zero-width joiner between two.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

ValuePath = tuple[str | int, ...]
"""The keys and indexes of a value."""

MAX_MARKS: Final = 30
"""Marks on one letter that count, as in Unicode's stream-safe text format. No language has more."""
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
"""U+0000, refused by PostgreSQL, and surrogates, such as half an emoji, refused by UTF-8."""
_REPLACEMENT: Final = "\ufffd"
_FORBIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\ufffc\U000e0000-\U000e0fff]"
)
"""Characters without a glyph.

They are fillers, selectors, the empty Braille pattern and the object replacement character.
"""
_EMOJI: Final = re.compile(
    "["
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3"
    "\u23f8-\u23fa\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u2604\u260e\u2611\u2614\u2615\u2618\u261d"
    "\u2620\u2622\u2623\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u2648-\u2653\u265f\u2660\u2663"
    "\u2665\u2666\u2668\u267b\u267e\u267f\u2692-\u2697\u2699\u269b\u269c\u26a0\u26a1\u26a7\u26aa\u26ab"
    "\u26b0\u26b1\u26bd\u26be\u26c4\u26c5\u26c8\u26ce\u26cf\u26d1\u26d3\u26d4\u26e9\u26ea\u26f0-\u26f5"
    "\u26f7-\u26fa\u26fd\u2702\u2705\u2708-\u270d\u270f\u2712\u2714\u2716\u271d\u2721\u2728\u2733\u2734\u2744"
    "\u2747\u274c\u274e\u2753-\u2755\u2757\u2763\u2764\u2795-\u2797\u27a1\u27b0\u27bf\u2934\u2935\u2b05-\u2b07"
    "\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299\U0001f004\U0001f0cf\U0001f170\U0001f171\U0001f17e\U0001f17f"
    "\U0001f18e\U0001f191-\U0001f19a\U0001f1e6-\U0001f1ff\U0001f201\U0001f202\U0001f21a\U0001f22f"
    "\U0001f232-\U0001f23a\U0001f250\U0001f251\U0001f300-\U0001f321\U0001f324-\U0001f393\U0001f396\U0001f397"
    "\U0001f399-\U0001f39b\U0001f39e-\U0001f3f0\U0001f3f3-\U0001f3f5\U0001f3f7-\U0001f4fd\U0001f4ff-\U0001f53d"
    "\U0001f549-\U0001f54e\U0001f550-\U0001f567\U0001f56f\U0001f570\U0001f573-\U0001f57a\U0001f587"
    "\U0001f58a-\U0001f58d\U0001f590\U0001f595\U0001f596\U0001f5a4\U0001f5a5\U0001f5a8\U0001f5b1\U0001f5b2"
    "\U0001f5bc\U0001f5c2-\U0001f5c4\U0001f5d1-\U0001f5d3\U0001f5dc-\U0001f5de\U0001f5e1\U0001f5e3\U0001f5e8"
    "\U0001f5ef\U0001f5f3\U0001f5fa-\U0001f64f\U0001f680-\U0001f6c5\U0001f6cb-\U0001f6d2\U0001f6d5-\U0001f6d7"
    "\U0001f6dc-\U0001f6e5\U0001f6e9\U0001f6eb\U0001f6ec\U0001f6f0\U0001f6f3-\U0001f6fc\U0001f7e0-\U0001f7eb"
    "\U0001f7f0\U0001f90c-\U0001f93a\U0001f93c-\U0001f945\U0001f947-\U0001f9ff\U0001fa70-\U0001fa7c"
    "\U0001fa80-\U0001fa88\U0001fa90-\U0001fabd\U0001fabf-\U0001fac5\U0001face-\U0001fadb\U0001fae0-\U0001fae8"
    "\U0001faf0-\U0001faf8"
    "]"
)
"""Unicode's property Emoji (15.0) without the ASCII digits."""
_JOINER: Final = "\u200d"
_SELECTORS: Final = frozenset("\ufe0e\ufe0f")
_JOINER_PREFIXES: Final = frozenset(
    "\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
)
"""Characters between an emoji and the joiner after it: a variation selector, or a skin tone."""
_KEYCAP: Final = "\u20e3"
_KEYCAP_BASES: Final = frozenset("0123456789#*")
_ALIASES: Final[Mapping[str, str]] = {
    "\0": "NULL", "\a": "BELL", "\b": "BACKSPACE", "\v": "LINE TABULATION", "\f": "FORM FEED",
    "\r": "CARRIAGE RETURN", "\x1b": "ESCAPE", "\x7f": "DELETE", "\x85": "NEXT LINE",
    "\x9b": "CONTROL SEQUENCE INTRODUCER",
}  # fmt: skip
_CATEGORY_LABELS: Final[Mapping[str, str]] = {
    "Cc": "<control>", "Cs": "<surrogate>", "Co": "<private use>", "Cn": "<not assigned>",
}  # fmt: skip


def normalize_compatible(text: str) -> str:
    """Return a text in the form NFKC, with at most MAX_MARKS marks in a row.

    Python sorts the marks of a letter in time that grows with the square of their number.
    """
    marks = "".join(filter(_is_mark, set(text)))
    if len(text) > MAX_MARKS and marks:
        in_class = f"[{re.escape(marks)}]"
        text = re.sub(f"({in_class}{{{MAX_MARKS}}}){in_class}+", r"\1", text)
    return unicodedata.normalize("NFKC", text)


def _is_mark(character: str) -> bool:
    """True if nothing of a character stands by itself."""
    return not character.isascii() and all(
        map(unicodedata.combining, unicodedata.normalize("NFKD", character))
    )


def is_storable(text: str) -> bool:
    """True if every database and file can store a text."""
    return _UNSTORABLE.search(text) is None


def replace_unstorable(text: str) -> str:
    """Replace each character that no database or file stores by U+FFFD."""
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def find_forbidden_characters(text: str) -> Iterator[int]:
    """Yield the position of each forbidden character. Linear, and fast if there is none."""
    suspects = "".join(filter(_is_suspect, set(text)))
    has_only_line_ends = suspects == "\r" and text.count("\r") == text.count("\r\n")
    if suspects and not has_only_line_ends:
        for found in re.finditer(f"[{re.escape(suspects)}]", text):
            if not _is_allowed_in_context(text, found.start()):
                yield found.start()


def remove_forbidden_characters(text: str) -> str:
    """Return a text without its forbidden characters."""
    forbidden = set(find_forbidden_characters(text))
    return "".join(
        character
        for position, character in enumerate(text)
        if position not in forbidden
    )


def describe_character(character: str) -> str:
    """Describe a character without showing it, as U+202E RIGHT-TO-LEFT OVERRIDE."""
    label = _CATEGORY_LABELS.get(unicodedata.category(character), "?")
    name = _ALIASES.get(character) or unicodedata.name(character, label)
    return f"U+{ord(character):04X} {name}"


def find_forbidden_in_value(
    value: object, path: ValuePath = ()
) -> Iterator[tuple[ValuePath, str]]:
    """Yield each forbidden character in nested tables and lists, with the path of its value.

    Both texts and keys are searched.
    """
    match value:
        case str():
            yield from (
                (path, value[position]) for position in find_forbidden_characters(value)
            )
        case Mapping():
            for key, item in value.items():
                yield from find_forbidden_in_value(key, (*path, key))
                yield from find_forbidden_in_value(item, (*path, key))
        case list() | tuple():
            for number, item in enumerate(value):
                yield from find_forbidden_in_value(item, (*path, number))


def escape_forbidden(text: str) -> str:
    r"""Return the text with each forbidden character as its JSON escape, such as \u001b.

    No terminal obeys the escape. Valid JSON stays valid and equal.
    """
    pieces: list[str] = []
    done = 0
    for position in find_forbidden_characters(text):
        pieces += (text[done:position], json.dumps(text[position])[1:-1])
        done = position + 1
    return "".join([*pieces, text[done:]])


@lru_cache(maxsize=20_000)
def _is_suspect(character: str) -> bool:
    """True if a character is forbidden everywhere or in most places."""
    if character in "\n\t":
        return False
    return (
        unicodedata.category(character) in _FORBIDDEN_CATEGORIES
        or _INVISIBLE.match(character) is not None
    )


def _is_allowed_in_context(text: str, position: int) -> bool:
    """True if a suspect character is part of a Windows line end or of an emoji."""
    character = text[position]
    before = text[max(position - 1, 0) : position]
    after = text[position + 1 : position + 2]
    if character == "\r":
        return after == "\n"
    if character in _SELECTORS:
        return _EMOJI.match(before) is not None or (
            before in _KEYCAP_BASES and after == _KEYCAP
        )
    if character != _JOINER:
        return False
    if before in _JOINER_PREFIXES:
        before = text[max(position - 2, 0) : position - 1]
    return _EMOJI.match(before) is not None and _EMOJI.match(after) is not None


_IGNORABLE = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800),
    (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Invisible characters: Default_Ignorable_Code_Point of Unicode, and the empty Braille pattern."""
_INVISIBLE_CATEGORIES = _FORBIDDEN_CATEGORIES | {"Zs"}
"""Categories of characters without a glyph, or without a defined one."""
_CAPITAL_LOOKALIKES = str.maketrans(
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹϺ" + "АВЕЅІЈКМНОРСТУХҮԌԚԜӀ",
    "ABEZHIKMNOPTYXCM" + "ABESIJKMHOPCTYXYGQWI",
)
_LETTER_LOOKALIKES = str.maketrans(
    "αβγεηικνορστυχωϲϳавгеѕіјкнопрстухԁһԛԝѵӏьүзчбıɩɡɑȷʙʜɪɴʀʟʏl|10エロニカタトハー",
    "abyenikvopotuxwcjabresijkhonpctyxdhqwviby346iigajbhinriyiiio工口二力夕卜八一",
)
_PAIR_LOOKALIKES = {"m": "rn", "м": "rn"}
"""Single letters that look like two."""


def is_same_name(one: str, other: str) -> bool:
    """True if two names look alike.

    They may also differ only in case, width, spaces and invisible characters.
    """
    return name_skeleton(one) == name_skeleton(other)


@lru_cache(maxsize=1024)
def name_skeleton(name: str) -> str:
    """Reduce a name to its visually distinct form.

    As in Unicode TR 39, over a table of the Latin, Greek and Cyrillic letters, digits and strokes
    that occur in names; case, width and spaces are dropped too.
    """
    text = "".join(
        letter
        for letter in normalize_compatible(name)
        if not _is_invisible(letter) and letter != " "
    )
    folded = normalize_compatible(text.translate(_CAPITAL_LOOKALIKES).casefold())
    return "".join(
        _PAIR_LOOKALIKES.get(letter, letter)
        for letter in folded.translate(_LETTER_LOOKALIKES)
    )


def find_invisible(name: str) -> tuple[int, str] | None:
    """Return the position, from 1, and the first control or invisible character, or None."""
    return next(
        (
            (position, letter)
            for position, letter in enumerate(name, 1)
            if _is_invisible(letter)
        ),
        None,
    )


def _is_invisible(letter: str) -> bool:
    is_ignorable = any(first <= ord(letter) <= last for first, last in _IGNORABLE)
    return is_ignorable or (
        unicodedata.category(letter) in _INVISIBLE_CATEGORIES and letter != " "
    )
