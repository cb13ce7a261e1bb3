"""Explain why the parser rejects a text, and find the character to correct."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

QUOTED_OR_COMMENT = re.compile(
    r'"""[^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*+(?:"{3,5}|\Z)'
    r"|'''[^']*+(?:'(?!'')[^']*+)*+(?:'{3,5}|\Z)"
    r'|"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+(?:"|\\?$)'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL | re.MULTILINE,
)
"""Strings and comments, closed or not. Possessive, so that no input causes backtracking."""


def blank_quoted(text: str) -> str:
    """Replace all strings and comments by spaces; every other character keeps its position."""
    return QUOTED_OR_COMMENT.sub(lambda quoted: "\n".join(" " * len(line) for line in quoted[0].split("\n")), text)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntaxProblem:
    """Why the parser stopped, and the position of the character to correct."""

    code: str
    offset: int
    facts: Mapping[str, str] = field(default_factory=dict)


_QUOTES = frozenset("“”„‟‘’‚‛＂＇「」『』″′")
_LOOKALIKE_MARKS = {"【": "[", "】": "]", "〔": "[", "〕": "]", "、": ",", "。": ".", "—": "-", "–": "-", "−": "-"}

_CODES = (
    ("Cannot overwrite a value", "duplicate_key"),
    ("Duplicate inline table key", "duplicate_key"),
    ("Cannot declare", "duplicate_table"),
    ("Cannot mutate immutable namespace", "duplicate_table"),
    ("Unescaped", "stray_backslash"),
    ("Invalid hex value", "stray_backslash"),
    ("Escaped character", "stray_backslash"),
    ("Unclosed", "unclosed_list"),
    ("Expected ']", "bad_header"),
    ("Expected '='", "no_equals"),
    ("Expected newline", "text_after_value"),
    ("Unterminated string", "unclosed_text"),
    ("Expected", "unclosed_text"),
    ("Invalid date", "bad_time"),
    ("Invalid value", "bad_value"),
    ("Invalid initial character", "bad_key"),
    ("Invalid statement", "bad_key"),
    ("Illegal character", "unclosed_text"),
    ("Found invalid character", "unclosed_text"),
)
"""Prefixes of tomllib's messages, and our codes for them."""

_STOP = re.compile(r"\(at line (\d+), column (\d+)\)$")
"""The end of such a message, unless the parser stopped at the end of the text."""
_TIME_WITHOUT_SECONDS = re.compile(r"=\s*(?P<year>\d{4})-\d\d-\d\d[T ]\d\d:\d\d(?![\d:])")
_TIME_LIKE = re.compile(r"=\s*(?P<year>\d{4})\s?[-/.年]\s?\d")


def explain_syntax_error(error: ValueError | RecursionError, text: str) -> SyntaxProblem:
    """Find the character that a person must correct, and the code of the problem.

    The parser often stops far from the error, so the likely causes are tried in order.
    """
    code = next((code for prefix, code in _CODES if str(error).startswith(prefix)), "toml_syntax")
    stop = _STOP.search(str(error))
    start = sum(len(line) + 1 for line in text.split("\n")[: int(stop[1]) - 1]) if stop else text.rfind("\n") + 1
    column = int(stop[2]) - 1 if stop else len(text) - start
    line = text[start:].partition("\n")[0]
    if code == "unclosed_text" and column >= len(line):
        return _find_unclosed_text(text, start)
    if problem := _find_full_width(line, start, column):
        return problem
    if code in {"text_after_value", "bad_value", "bad_time"}:
        for better, pattern in (("time_without_seconds", _TIME_WITHOUT_SECONDS), ("bad_time", _TIME_LIKE)):
            if found := pattern.search(line):
                return SyntaxProblem(code=better, offset=start + found.start("year"))
    if code in {"duplicate_key", "duplicate_table"}:
        return _find_duplicate(text, start + column, code)
    word = re.split(r"[\s=]", line[column:], maxsplit=1)[0][:20]
    if code in {"bad_key", "no_equals"} and word and not word[0].isascii():
        code = "key_not_ascii"
    elif code == "bad_value" and not line[column:].strip():
        code = "value_missing"
    return SyntaxProblem(code=code, offset=start + column, facts={"word": word})


def _find_full_width(line: str, start: int, column: int) -> SyntaxProblem | None:
    """Find a full-width look-alike between the parser's stop and the end of the line, outside strings."""
    rest = blank_quoted(line[column:])
    for position, char in enumerate(rest, start=column):
        if char in _QUOTES:
            return SyntaxProblem(code="fullwidth_quote", offset=start + position, facts={"char": char})
        meant = _LOOKALIKE_MARKS.get(char) or unicodedata.normalize("NFKC", char)
        if not char.isascii() and meant == " ":
            return SyntaxProblem(code="fullwidth_space", offset=start + position)
        if not char.isascii() and len(meant) == 1 and meant.isascii():
            return SyntaxProblem(code="fullwidth_mark", offset=start + position, facts={"char": char, "meant": meant})
    return None


def _find_unclosed_text(text: str, start: int) -> SyntaxProblem:
    """Find what opens the text that is not closed in the line at `start`, or the mark that was meant to close it."""
    line = text[start:].partition("\n")[0]
    if start + len(line) == len(text):
        *_, last = [None, *QUOTED_OR_COMMENT.finditer(text)]
        if last is not None and last.end() == len(text) and last[0].startswith(('"""', "'''")):
            return SyntaxProblem(code="unclosed_text", offset=last.start())
    ended = line.rstrip()
    if ended and ended[-1] in _QUOTES:
        return SyntaxProblem(code="fullwidth_quote", offset=start + len(ended) - 1, facts={"char": ended[-1]})
    *_, last = [None, *QUOTED_OR_COMMENT.finditer(line)]
    return SyntaxProblem(code="unclosed_text", offset=start + (last.start() if last else len(line)))


def _find_duplicate(text: str, offset: int, code: str) -> SyntaxProblem:
    """Find the second of two keys, or of two headers, of the same name."""
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    if line.lstrip().startswith("["):
        key = line.strip("[] \t")
        if line.lstrip().startswith("[[") and (
            single := re.search(rf"^[ \t]*\[{re.escape(key)}\]", text, re.MULTILINE)
        ):
            return SyntaxProblem(code="single_brackets", offset=single.end() - len(key) - 2, facts={"key": key})
        return SyntaxProblem(code="duplicate_table", offset=offset - len(line.lstrip()), facts={"key": key})
    sign = max(blank_quoted(text[:offset]).rfind("="), 0)
    start = text.rfind("\n", 0, sign) + 1
    before = re.split(r"[{,]", text[start:sign])[-1]
    return SyntaxProblem(code=code, offset=sign - len(before.lstrip()), facts={"key": before.strip()})
