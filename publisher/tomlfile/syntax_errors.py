"""Why a text is not TOML, in our own codes: most often a full-width mark, or a quotation mark inside a text."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from parse_errors.source_map import locate_decode_error

from publisher.tomlfile.limits import QUOTED_OR_COMMENT, blank_quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntaxProblem:
    """What stopped the parser, and the position of the character to mend."""

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
"""How tomllib's messages begin, and our codes for them."""

_TIME_WITHOUT_SECONDS = re.compile(r"=\s*(?P<year>\d{4})-\d\d-\d\d[T ]\d\d:\d\d(?![\d:])")
_TIME_LIKE = re.compile(r"=\s*(?P<year>\d{4})\s?[-/.年]\s?\d")


def explain_syntax_error(error: ValueError | RecursionError, text: str) -> SyntaxProblem:
    """Find the character to mend and say why."""
    code = next((code for start, code in _CODES if str(error).startswith(start)), "toml_syntax")
    spot = locate_decode_error(error)
    start = _find_line_start(text, spot.line) if spot else text.rfind("\n") + 1
    column = spot.column if spot else len(text) - start
    line = text[start:].partition("\n")[0]
    return (
        _find_unclosed_block(text, code, is_at_end=spot is None)
        or _find_full_width(line, start, column)
        or _find_unclosed_text(line, start, column, code)
        or _find_bad_time(line, start, code)
        or _find_duplicate(text, start + column, code)
        or _find_non_ascii_key(line, start, column, code)
        or SyntaxProblem(
            code="value_missing" if code == "bad_value" and not line[column:].strip() else code,
            offset=start + column,
            facts={"word": _first_word(line[column:])},
        )
    )


def _find_unclosed_block(text: str, code: str, *, is_at_end: bool) -> SyntaxProblem | None:
    if not is_at_end or code != "unclosed_text":
        return None
    *_, last = [None, *QUOTED_OR_COMMENT.finditer(text)]
    if last is None or last.end() < len(text) or not last[0].startswith(('"""', "'''")):
        return None
    return SyntaxProblem(code="unclosed_text", offset=last.start())


def _find_full_width(line: str, start: int, column: int) -> SyntaxProblem | None:
    """Find a look-alike from the parser's halt to the end of the line, outside texts."""
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


def _find_unclosed_text(line: str, start: int, column: int, code: str) -> SyntaxProblem | None:
    if column < len(line) or code != "unclosed_text":
        return None
    ended = line.rstrip()
    if ended and ended[-1] in _QUOTES:
        return SyntaxProblem(code="fullwidth_quote", offset=start + len(ended) - 1, facts={"char": ended[-1]})
    *_, last = [None, *QUOTED_OR_COMMENT.finditer(line)]
    return SyntaxProblem(code="unclosed_text", offset=start + (last.start() if last else column))


def _find_bad_time(line: str, start: int, code: str) -> SyntaxProblem | None:
    if code not in {"text_after_value", "bad_value", "bad_time"}:
        return None
    for better, pattern in (("time_without_seconds", _TIME_WITHOUT_SECONDS), ("bad_time", _TIME_LIKE)):
        if found := pattern.search(line):
            return SyntaxProblem(code=better, offset=start + found.start("year"))
    return None


def _find_duplicate(text: str, offset: int, code: str) -> SyntaxProblem | None:
    """Point at the second of two keys, or of two headers, of the same name."""
    if code not in {"duplicate_key", "duplicate_table"}:
        return None
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


def _find_non_ascii_key(line: str, start: int, column: int, code: str) -> SyntaxProblem | None:
    word = _first_word(line[column:])
    if code not in {"bad_key", "no_equals"} or not word or word[0].isascii():
        return None
    return SyntaxProblem(code="key_not_ascii", offset=start + column, facts={"word": word})


def _first_word(rest: str) -> str:
    return re.split(r"[\s=]", rest, maxsplit=1)[0][:20]


def _find_line_start(text: str, line: int) -> int:
    position = 0
    for _ in range(line):
        position = text.index("\n", position) + 1
    return position
