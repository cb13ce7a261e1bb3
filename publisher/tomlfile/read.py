"""From a path or a text to plain data, or to the one reason why not."""

import codecs
import errno
import os
import re
import stat
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from parse_errors.source_map import locate_decode_error

from publisher.domain.characters import describe_character, find_forbidden_characters, find_forbidden_in_value
from publisher.domain.errors import InputError, Location, Problem
from publisher.tomlfile.limits import QUOTED_OR_COMMENT, blank_quoted, find_excess
from publisher.tomlfile.positions import PositionFinder, format_path, to_line_and_column
from publisher.tomlfile.validate import KeyPath, UnlocatedProblem


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


MAX_PROBLEMS = 200
"""More would not help anyone who mends a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """How much is taken from a file: `size` in bytes; levels of nesting; parts of a dotted key; letters of a number."""

    max_bytes: int
    max_depth: int = 16
    max_key_parts: int = 16
    max_word_chars: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TomlDocument:
    """A file that was read. `text` has neither byte-order mark nor CRLF."""

    file: str
    text: str
    data: Mapping[str, Any]

    def locate_problems(self, problems: Iterable[UnlocatedProblem]) -> tuple[Problem, ...]:
        """Give each flaw its line and column, in the file's order; beyond the first 200 only their number."""
        problems = list(problems)
        locator = PositionFinder(self.text)
        found = [self._locate_problem(flaw, locator) for flaw in problems[:MAX_PROBLEMS]]
        found.sort(key=lambda problem: (problem.location.line, problem.location.column) if problem.location else (0, 0))
        if len(problems) > MAX_PROBLEMS:
            rest = {"number": str(len(problems) - MAX_PROBLEMS)}
            found.append(Problem(code="more_problems", location=Location(file=self.file), facts=rest))
        return tuple(found)

    def locate(self, path: KeyPath) -> Location:
        """Give the place of one value."""
        return self.locate_all([path])[0]

    def locate_all(self, paths: Iterable[KeyPath]) -> list[Location]:
        """Give the places of values."""
        locator = PositionFinder(self.text)
        found = [(loc, *locator.locate(loc)) for loc in paths]
        return [
            Location(file=self.file, line=line, column=column, path=format_path(loc)) for loc, line, column in found
        ]

    def _locate_problem(self, problem: UnlocatedProblem, locator: PositionFinder) -> Problem:
        line, column = locator.locate(problem.path, is_at_key=problem.is_at_key)
        facts = dict(problem.facts)
        for name, loc in problem.line_facts.items():
            facts[name] = str(locator.locate(loc)[0])
        place = Location(file=self.file, line=line, column=column, path=format_path(problem.path))
        return Problem(code=problem.code, location=place, facts=facts)


def read_toml(path: Path, limits: ReadLimits, error_type: type[InputError] = InputError) -> TomlDocument:
    """Read a regular file of UTF-8 TOML. Raises `refusal` with the one Problem that stands in the way."""
    return parse_toml(read_text(path, limits, error_type), str(path), limits, error_type)


def read_text(path: Path, limits: ReadLimits, error_type: type[InputError] = InputError) -> str:
    """Read the text of such a file without judging it. Raises `refusal` where it cannot be read as one."""
    return _strip_editor_marks(_decode(_read_bytes(path, limits, error_type), str(path), error_type))


def parse_toml(text: str, file: str, limits: ReadLimits, error_type: type[InputError] = InputError) -> TomlDocument:
    """Parse a text whose size, characters and depth are checked first.

    Raises `refusal` with the one Problem in the way, or with every character that must not be in a text.
    """
    text = _strip_editor_marks(text)
    if len(text) > limits.max_bytes:
        raise error_type([_file_problem(file, "file_too_big", most=_megabytes(limits.max_bytes))])
    if not text.strip():
        raise error_type([_file_problem(file, "file_empty")])
    if odd := list(islice(find_forbidden_characters(text), MAX_PROBLEMS)):
        raise error_type([_problem_at(file, text, position, *_forbidden_character(text[position])) for position in odd])
    if excess := find_excess(
        text, max_depth=limits.max_depth, max_key_parts=limits.max_key_parts, max_word_chars=limits.max_word_chars
    ):
        code, offset = excess
        raise error_type(
            [
                _problem_at(
                    file, text, offset, code, {"depth": str(limits.max_depth), "parts": str(limits.max_key_parts)}
                )
            ]
        )
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        trouble = explain_syntax_error(error, text)
        raise error_type([_problem_at(file, text, trouble.offset, trouble.code, trouble.facts)]) from None
    toml = TomlDocument(file=file, text=text, data=data)
    if "\\" in text and (flaws := list(islice(_find_escaped_characters(data), MAX_PROBLEMS))):
        raise error_type(toml.locate_problems(flaws))
    return toml


def _find_escaped_characters(data: Mapping[str, Any]) -> Iterator[UnlocatedProblem]:
    r"""Name what an escape such as \u202e has put into a value."""
    for loc, character in find_forbidden_in_value(data):
        code, facts = _forbidden_character(character)
        yield UnlocatedProblem(path=loc, code=code, facts=facts)


def _forbidden_character(character: str) -> tuple[str, Mapping[str, str]]:
    return "invisible_character", {"character": describe_character(character)}


def _strip_editor_marks(text: str) -> str:
    """Leave out what editors put into a text without changing a word of it."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _read_bytes(path: Path, limits: ReadLimits, error_type: type[InputError]) -> bytes:
    file = str(path)
    try:
        if path.is_symlink():
            raise error_type([_file_problem(file, "file_is_link")])
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as stream:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise error_type([_file_problem(file, "file_not_regular")])
            raw = stream.read(limits.max_bytes + 1)
            after = os.fstat(descriptor)
    except OSError as error:
        raise error_type([_os_problem(file, error)]) from None
    if len(raw) > limits.max_bytes:
        raise error_type([_file_problem(file, "file_too_big", most=_megabytes(limits.max_bytes))])
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(raw) != after.st_size:
        raise error_type([_file_problem(file, "file_changing")])
    return raw


def _os_problem(file: str, error: OSError) -> Problem:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return _file_problem(file, "file_missing")
        case errno.ELOOP:
            return _file_problem(file, "file_is_link")
        case errno.EISDIR | errno.ENXIO:
            return _file_problem(file, "file_not_regular")
        case number:
            return _file_problem(file, "file_unreadable", reason=errno.errorcode.get(number or 0, "?"))


def _decode(raw: bytes, file: str, error_type: type[InputError]) -> str:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise error_type([_file_problem(file, "file_utf16")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = raw[: error.start].decode("utf-8-sig")
    code = "file_gbk" if _is_gbk(raw) else "file_not_utf8"
    raise error_type([_problem_at(file, good, len(good), code, {})])


def _is_gbk(raw: bytes) -> bool:
    try:
        raw.decode("gb18030")
    except UnicodeDecodeError:
        return False
    return True


def _file_problem(file: str, code: str, **facts: str) -> Problem:
    return Problem(code=code, location=Location(file=file), facts={"file": file, **facts})


def _problem_at(file: str, text: str, offset: int, code: str, facts: Mapping[str, str]) -> Problem:
    line, column = to_line_and_column(text, offset)
    return Problem(code=code, location=Location(file=file, line=line, column=column), facts=facts)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:g}"
