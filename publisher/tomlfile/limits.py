"""Limits checked before parsing: nesting, dotted keys and long words that would exhaust the parser."""

import re
from itertools import accumulate

QUOTED_OR_COMMENT = re.compile(
    r'"""[^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*+(?:"{3,5}|\Z)'
    r"|'''[^']*+(?:'(?!'')[^']*+)*+(?:'{3,5}|\Z)"
    r'|"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+(?:"|\\?$)'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL | re.MULTILINE,
)
"""Strings and comments, closed or not. Possessive, so that no input causes backtracking."""

_BRACKET_DEPTHS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - set(_BRACKET_DEPTHS))
_LETTER = "[A-Za-z0-9_+-]"


def blank_quoted(text: str) -> str:
    """Replace all strings and comments by spaces; every other character keeps its position."""
    return QUOTED_OR_COMMENT.sub(lambda quoted: re.sub(r"[^\n]", " ", quoted[0]), text)


def find_excess(text: str, *, max_depth: int, max_key_parts: int, max_word_chars: int) -> tuple[str, int] | None:
    """Return the code and position of the first excess over the limits; None if there is none. Linear time."""
    if _find_first_excess(QUOTED_OR_COMMENT.sub("", text), max_depth, max_key_parts, max_word_chars) is None:
        return None
    return _find_first_excess(blank_quoted(text), max_depth, max_key_parts, max_word_chars)


def _find_first_excess(bare: str, max_depth: int, max_key_parts: int, max_word_chars: int) -> tuple[str, int] | None:
    if dots := re.search(rf"\.(?:[^.=,\n\[\]{{}}]*+\.){{{max_key_parts - 1}}}", bare):
        return "key_too_long", dots.start()
    has_long = max(map(len, bare.split()), default=0) > max_word_chars
    if has_long and (long := re.search(rf"(?<!{_LETTER}){_LETTER}{{{max_word_chars + 1}}}", bare)):
        return "word_too_long", long.start()
    brackets = bare.encode(errors="replace").translate(None, _NO_BRACKETS)
    if max(accumulate(map(_BRACKET_DEPTHS.__getitem__, brackets)), default=0) > max_depth:
        depth = 0
        for bracket in re.finditer(r"[\[\]{}]", bare):
            depth += _BRACKET_DEPTHS[ord(bracket[0])]
            if depth > max_depth:
                return "too_deep", bracket.start()
    return None
