"""What is refused before the parser sees it: nesting, dotted keys and numbers that only serve to exhaust it."""

import re
from itertools import accumulate

QUOTED = re.compile(
    r'"""[^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*+(?:"{3,5}|\Z)'
    r"|'''[^']*+(?:'(?!'')[^']*+)*+(?:'{3,5}|\Z)"
    r'|"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+(?:"|\\?$)'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL | re.MULTILINE,
)
"""Texts and comments, closed or not. Never goes back over what it has read, so that no input makes it slow."""

_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - set(_STEPS))
_LETTER = "[A-Za-z0-9_+-]"


def blank(text: str) -> str:
    """Put spaces in place of all texts and comments; every other character keeps its position."""
    return QUOTED.sub(lambda quoted: re.sub(r"[^\n]", " ", quoted[0]), text)


def find_excess(text: str, *, depth: int, key_parts: int, word: int) -> tuple[str, int] | None:
    """Give the code and position of the first thing beyond the limits, in time linear in the text."""
    if _first_excess(QUOTED.sub("", text), depth, key_parts, word) is None:
        return None
    return _first_excess(blank(text), depth, key_parts, word)


def _first_excess(bare: str, depth: int, key_parts: int, word: int) -> tuple[str, int] | None:
    if dots := re.search(rf"\.(?:[^.=,\n\[\]{{}}]*+\.){{{key_parts - 1}}}", bare):
        return "key_too_long", dots.start()
    has_long = max(map(len, bare.split()), default=0) > word
    if has_long and (long := re.search(rf"(?<!{_LETTER}){_LETTER}{{{word + 1}}}", bare)):
        return "word_too_long", long.start()
    brackets = bare.encode(errors="replace").translate(None, _NO_BRACKETS)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > depth:
        return "too_deep", _depth_position(bare, depth)
    return None


def _depth_position(bare: str, depth: int) -> int:
    level = 0
    for bracket in re.finditer(r"[\[\]{}]", bare):
        level += _STEPS[ord(bracket[0])]
        if level > depth:
            return bracket.start()
    return 0
