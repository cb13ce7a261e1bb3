"""Explain why the parser rejects a text, and find the character to correct."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

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
    return QUOTED_OR_COMMENT.sub(
        lambda quoted: "\n".join(" " * len(line) for line in quoted[0].split("\n")),
        text,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntaxProblem:
    """Why the parser stopped, and the position of the character to correct."""

    code: str
    offset: int
    facts: Mapping[str, str] = field(default_factory=dict)


EXAMPLE_TIME = "2026-11-25T09:00:00"
_NUMBERS = re.compile(
    r"\s*(?P<year>\d{4})[-/.年\s]+(?P<month>\d{1,2})[-/.月\s]+(?P<day>\d{1,2})"
    r"(?:[日T,\s]+(?P<hour>\d{1,2})[:点时：]?(?P<minute>\d{1,2})?(?:[:分：](?P<second>\d{1,2}))?)?",
    re.IGNORECASE,
)


def suggest_time(text: str) -> str:
    """Return a time that people wrote, such as `2026/11/5 9:00`, as TOML takes it.

    Return an example if it is no time.
    """
    found = _NUMBERS.match(text)
    if found is None:
        return EXAMPLE_TIME
    hour = found["hour"] or "9"
    clock = ":".join(
        part.zfill(2) for part in (hour, found["minute"] or "0", found["second"] or "0")
    )
    suggested = (
        f"{found['year']}-{found['month'].zfill(2)}-{found['day'].zfill(2)}T{clock}"
    )
    try:
        datetime.fromisoformat(suggested)
    except ValueError:
        return EXAMPLE_TIME
    return suggested


_QUOTES = frozenset("“”„‟‘’‚‛＂＇「」『』″′")
_LOOKALIKE_MARKS = {
    "【": "[",
    "】": "]",
    "〔": "[",
    "〕": "]",
    "、": ",",
    "。": ".",
    "—": "-",
    "–": "-",
    "−": "-",
}

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
_TIME_WITHOUT_SECONDS = re.compile(
    r"=\s*(?P<year>\d{4})-\d\d-\d\d[T ]\d\d:\d\d(?![\d:])"
)
_TIME_LIKE = re.compile(r"=\s*(?P<year>\d{4})\s?[-/.年]\s?\d")
_CLOCK = re.compile(r"[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?")
_ODD_OFFSET = re.compile(
    r"=\s*\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?\s*(?P<offset>[+-]\d[\d:]*|[A-Za-z]+)"
)
_KEY_BEFORE_COLON = re.compile(r"[ \t]*[\w-]+[ \t]*[:：]")
_MEDIA_PATH = re.compile(r'"(media\\[^"]*)"')
_NEXT_ENTRY = re.compile(r"[ \t]*(?:[\w-]+[ \t]*=|\[|\Z)")


def explain_syntax_error(
    error: ValueError | RecursionError, text: str
) -> SyntaxProblem:
    """Find the character that a person must correct, and the code of the problem.

    The parser often stops far from the error, so the likely causes are tried in order.
    """
    code = next(
        (code for prefix, code in _CODES if str(error).startswith(prefix)),
        "toml_syntax",
    )
    stop = _STOP.search(str(error))
    start = (
        sum(len(line) + 1 for line in text.split("\n")[: int(stop[1]) - 1])
        if stop
        else text.rfind("\n") + 1
    )
    column = int(stop[2]) - 1 if stop else len(text) - start
    line = text[start:].partition("\n")[0]
    if code == "unclosed_text" and column >= len(line):
        return _find_unclosed_text(text, start)
    if problem := _find_full_width(line, start, column):
        return problem
    if code in {"text_after_value", "bad_value", "bad_time"} and (
        problem := explain_time(line, start)
    ):
        return problem
    if code in {"duplicate_key", "duplicate_table"}:
        return _find_duplicate(text, start + column, code)
    if code in {"unclosed_list", "bad_key", "no_equals", "text_after_value"} and (
        problem := explain_punctuation(text, start, column)
    ):
        return problem
    if code == "stray_backslash" and (path := _MEDIA_PATH.search(line)):
        return SyntaxProblem(
            code="backslash_in_path",
            offset=start + path.start(),
            facts={"example": path[1].replace("\\", "/")},
        )
    word = re.split(r"[\s=,\]}]", line[column:], maxsplit=1)[0][:20]
    if code in {"bad_key", "no_equals"} and word and not word[0].isascii():
        code = "key_not_ascii"
    elif code == "bad_value" and not line[column:].strip():
        code = "value_missing"
    return SyntaxProblem(code=code, offset=start + column, facts={"word": word})


def explain_time(line: str, start: int) -> SyntaxProblem | None:
    """Explain a time that the parser cannot read; None if the line has none."""
    if not (found := _TIME_LIKE.search(line)):
        return None
    offset, written = start + found.start("year"), line[found.start("year") :]
    facts = {"example": suggest_time(written)}
    if odd := _ODD_OFFSET.search(line):
        facts["offset"] = odd["offset"]
        return SyntaxProblem(
            code="bad_offset", offset=start + odd.start("offset"), facts=facts
        )
    clock = _CLOCK.search(written)
    if clock and (
        int(clock["hour"]) > 23
        or int(clock["minute"]) > 59
        or int(clock["second"] or 0) > 59
    ):
        facts["clock"] = clock[0].strip("T ")
        return SyntaxProblem(
            code="no_such_clock_time", offset=offset + clock.start("hour"), facts=facts
        )
    code = "time_without_seconds" if _TIME_WITHOUT_SECONDS.search(line) else "bad_time"
    return SyntaxProblem(code=code, offset=offset, facts=facts)


def explain_punctuation(text: str, start: int, column: int) -> SyntaxProblem | None:
    """Explain a comma, colon, bracket or comment sign missing or surplus at the parser's stop."""
    offset, line = start + column, text[start:].partition("\n")[0]
    before = blank_quoted(text[:offset])
    opening = find_open_bracket(before)
    if line.lstrip().startswith("//"):
        return SyntaxProblem(code="slash_comment", offset=start + line.index("//"))
    if opening is None:
        if line[column:].lstrip().startswith(","):
            return SyntaxProblem(
                code="comma_after_value", offset=start + line.index(",", column)
            )
        if found := _KEY_BEFORE_COLON.match(line):
            return SyntaxProblem(
                code="colon_for_equals", offset=start + found.end() - 1
            )
        return None
    if before[opening] == "{" and not line[column:].strip():
        return SyntaxProblem(code="table_over_lines", offset=opening)
    if line[column : column + 1] == "}":
        return SyntaxProblem(
            code="comma_before_brace",
            offset=before.rindex(",") if "," in before else offset,
        )
    if "\n" in text[opening:offset] and _NEXT_ENTRY.match(line):
        return SyntaxProblem(
            code="bracket_not_closed", offset=opening, facts={"char": before[opening]}
        )
    return None


def find_open_bracket(bare: str) -> int | None:
    """Return the offset of the innermost open bracket at the end of a text without strings."""
    depth = 0
    for found in re.finditer(r"[\[\]{}]", bare[::-1]):
        depth += 1 if found[0] in "]}" else -1
        if depth < 0:
            return len(bare) - found.start() - 1
    return None


def _find_full_width(line: str, start: int, column: int) -> SyntaxProblem | None:
    """Find a full-width look-alike from the parser's stop to the end of the line.

    Strings are skipped.
    """
    rest = blank_quoted(line[column:])
    for position, char in enumerate(rest, start=column):
        if char in _QUOTES:
            return SyntaxProblem(
                code="fullwidth_quote", offset=start + position, facts={"char": char}
            )
        meant = _LOOKALIKE_MARKS.get(char) or unicodedata.normalize("NFKC", char)
        if not char.isascii() and meant == " ":
            return SyntaxProblem(code="fullwidth_space", offset=start + position)
        if not char.isascii() and len(meant) == 1 and meant.isascii():
            return SyntaxProblem(
                code="fullwidth_mark",
                offset=start + position,
                facts={"char": char, "meant": meant},
            )
    return None


def _find_unclosed_text(text: str, start: int) -> SyntaxProblem:
    """Find the mark that opens the unclosed text in the line at `start`.

    It may instead be the mark that was meant to close the text.
    """
    line = text[start:].partition("\n")[0]
    if start + len(line) == len(text):
        *_, last = [None, *QUOTED_OR_COMMENT.finditer(text)]
        if (
            last is not None
            and last.end() == len(text)
            and last[0].startswith(('"""', "'''"))
        ):
            return SyntaxProblem(code="unclosed_text", offset=last.start())
    ended = line.rstrip()
    if ended and ended[-1] in _QUOTES:
        return SyntaxProblem(
            code="fullwidth_quote",
            offset=start + len(ended) - 1,
            facts={"char": ended[-1]},
        )
    *_, last = [None, *QUOTED_OR_COMMENT.finditer(line)]
    return SyntaxProblem(
        code="unclosed_text", offset=start + (last.start() if last else len(line))
    )


def _find_duplicate(text: str, offset: int, code: str) -> SyntaxProblem:
    """Find the second of two keys, or of two headers, of the same name."""
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    if line.lstrip().startswith("["):
        key = line.strip("[] \t")
        if line.lstrip().startswith("[[") and (
            single := re.search(rf"^[ \t]*\[{re.escape(key)}\]", text, re.MULTILINE)
        ):
            return SyntaxProblem(
                code="single_brackets",
                offset=single.end() - len(key) - 2,
                facts={"key": key},
            )
        place = offset - len(line.lstrip())
        if re.match(r"\s*\[+[^\]\n]*\S[ \t]+[^\]\s]", text[place:].partition("\n")[0]):
            return SyntaxProblem(code="bad_header", offset=place)
        if not line.lstrip().startswith("[[") and re.search(
            rf"^[ \t]*\[\[{re.escape(key)}\]\]", text, re.MULTILINE
        ):
            return SyntaxProblem(
                code="single_brackets", offset=place, facts={"key": key}
            )
        return SyntaxProblem(code="duplicate_table", offset=place, facts={"key": key})
    sign = max(blank_quoted(text[:offset]).rfind("="), 0)
    start = text.rfind("\n", 0, sign) + 1
    before = re.split(r"[{,]", text[start:sign])[-1]
    return SyntaxProblem(
        code=code, offset=sign - len(before.lstrip()), facts={"key": before.strip()}
    )
