"""Read and parse TOML files, with one precise problem if a file cannot be parsed."""

import codecs
import errno
import os
import re
import stat
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
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

_TIME_WITHOUT_SECONDS = re.compile(r"=\s*(?P<year>\d{4})-\d\d-\d\d[T ]\d\d:\d\d(?![\d:])")
_TIME_LIKE = re.compile(r"=\s*(?P<year>\d{4})\s?[-/.年]\s?\d")


def explain_syntax_error(error: ValueError | RecursionError, text: str) -> SyntaxProblem:
    """Find the character that a person must correct, and the code of the problem.

    The parser often stops far from the error, so the likely causes are tried in order.
    """
    code = next((code for prefix, code in _CODES if str(error).startswith(prefix)), "toml_syntax")
    stop = locate_decode_error(error)
    start = sum(len(line) + 1 for line in text.split("\n")[: stop.line]) if stop else text.rfind("\n") + 1
    column = stop.column if stop else len(text) - start
    line = text[start:].partition("\n")[0]
    if stop is None and code == "unclosed_text":
        *_, last = [None, *QUOTED_OR_COMMENT.finditer(text)]
        if last is not None and last.end() == len(text) and last[0].startswith(('"""', "'''")):
            return SyntaxProblem(code="unclosed_text", offset=last.start())
    if problem := _find_full_width(line, start, column) or _find_unclosed_text(line, start, column, code):
        return problem
    if code in {"text_after_value", "bad_value", "bad_time"}:
        for better, pattern in (("time_without_seconds", _TIME_WITHOUT_SECONDS), ("bad_time", _TIME_LIKE)):
            if found := pattern.search(line):
                return SyntaxProblem(code=better, offset=start + found.start("year"))
    if problem := _find_duplicate(text, start + column, code):
        return problem
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


def _find_unclosed_text(line: str, start: int, column: int, code: str) -> SyntaxProblem | None:
    if column < len(line) or code != "unclosed_text":
        return None
    ended = line.rstrip()
    if ended and ended[-1] in _QUOTES:
        return SyntaxProblem(code="fullwidth_quote", offset=start + len(ended) - 1, facts={"char": ended[-1]})
    *_, last = [None, *QUOTED_OR_COMMENT.finditer(line)]
    return SyntaxProblem(code="unclosed_text", offset=start + (last.start() if last else column))


def _find_duplicate(text: str, offset: int, code: str) -> SyntaxProblem | None:
    """Find the second of two keys, or of two headers, of the same name."""
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


MAX_PROBLEMS = 200
"""The number of problems that are listed; a longer list helps nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """Limits of a file: its size, levels of nesting, parts of a dotted key, characters of a bare word."""

    max_bytes: int
    max_depth: int = 16
    max_key_parts: int = 16
    max_word_chars: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TomlDocument:
    """A parsed file. `text` has no byte-order mark and no CRLF."""

    file: str
    text: str
    data: Mapping[str, Any]

    def locate_problems(self, problems: Iterable[UnlocatedProblem]) -> tuple[Problem, ...]:
        """Return problems with line and column, in file order; beyond MAX_PROBLEMS only their number."""
        problems = list(problems)
        paths = [path for problem in problems[:MAX_PROBLEMS] for path in (problem.path, *problem.line_facts.values())]
        finder = PositionFinder(self.text, paths)
        located: list[tuple[int, int, Problem]] = []
        for problem in problems[:MAX_PROBLEMS]:
            line, column = finder.locate(problem.path, is_at_key=problem.is_at_key)
            location = Location(file=self.file, line=line, column=column, path=format_path(problem.path))
            lines = {name: str(finder.locate(path)[0]) for name, path in problem.line_facts.items()}
            facts = {**problem.facts, **lines}
            located.append((line, column, Problem(code=problem.code, location=location, facts=facts)))
        result = [problem for _line, _column, problem in sorted(located, key=lambda item: item[:2])]
        if len(problems) > MAX_PROBLEMS:
            rest = {"number": str(len(problems) - MAX_PROBLEMS)}
            result.append(Problem(code="more_problems", location=Location(file=self.file), facts=rest))
        return tuple(result)

    def locate(self, path: KeyPath) -> Location:
        """Return the location of a value."""
        return self.locate_all([path])[0]

    def locate_all(self, paths: Iterable[KeyPath]) -> list[Location]:
        """Return the locations of values."""
        paths = list(paths)
        finder = PositionFinder(self.text, paths)
        found = [(path, *finder.locate(path)) for path in paths]
        return [
            Location(file=self.file, line=line, column=column, path=format_path(path)) for path, line, column in found
        ]


def read_toml(path: Path, limits: ReadLimits, error_type: type[InputError] = InputError) -> TomlDocument:
    """Read and parse a regular file of UTF-8 TOML. Raises `error_type` with its problems."""
    return parse_toml(read_text(path, limits, error_type), str(path), limits, error_type)


def read_text(path: Path, limits: ReadLimits, error_type: type[InputError] = InputError) -> str:
    """Read the text of a file without parsing it. Raises `error_type` if it is no regular UTF-8 file."""
    file = str(path)
    raw = _read_bytes(path, limits, error_type)
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise error_type([_file_problem(file, "file_utf16")])
    try:
        return _strip_editor_marks(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        valid = raw[: error.start].decode("utf-8-sig")
    code = "file_gbk"
    try:
        raw.decode("gb18030")
    except UnicodeDecodeError:
        code = "file_not_utf8"
    raise error_type([_problem_at(file, valid, len(valid), code, {})])


def parse_toml(text: str, file: str, limits: ReadLimits, error_type: type[InputError] = InputError) -> TomlDocument:
    """Parse a text, after checks of its size, characters and depth.

    Raises `error_type` with the one problem that prevents parsing, or with every forbidden character.
    """
    text = _strip_editor_marks(text)
    if len(text) > limits.max_bytes:
        raise error_type([_file_problem(file, "file_too_big", most=_megabytes(limits.max_bytes))])
    if not text.strip():
        raise error_type([_file_problem(file, "file_empty")])
    if forbidden := list(islice(find_forbidden_characters(text), MAX_PROBLEMS)):
        described = [(position, {"character": describe_character(text[position])}) for position in forbidden]
        raise error_type([_problem_at(file, text, at, "invisible_character", facts) for at, facts in described])
    if excess := find_excess(
        text, max_depth=limits.max_depth, max_key_parts=limits.max_key_parts, max_word_chars=limits.max_word_chars
    ):
        code, offset = excess
        facts = {"depth": str(limits.max_depth), "parts": str(limits.max_key_parts)}
        raise error_type([_problem_at(file, text, offset, code, facts)])
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        syntax = explain_syntax_error(error, text)
        raise error_type([_problem_at(file, text, syntax.offset, syntax.code, syntax.facts)]) from None
    document = TomlDocument(file=file, text=text, data=data)
    if "\\" in text:  # an escape such as \u202e may have put a forbidden character into a value
        escaped = list(islice(find_forbidden_in_value(data), MAX_PROBLEMS))
        if escaped:
            raise error_type(
                document.locate_problems(
                    UnlocatedProblem(
                        path=path, code="invisible_character", facts={"character": describe_character(character)}
                    )
                    for path, character in escaped
                )
            )
    return document


def _strip_editor_marks(text: str) -> str:
    """Remove the byte-order mark and CRLF that editors add."""
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
        match error.errno:
            case errno.ENOENT | errno.ENOTDIR:
                problem = _file_problem(file, "file_missing")
            case errno.ELOOP:
                problem = _file_problem(file, "file_is_link")
            case errno.EISDIR | errno.ENXIO:
                problem = _file_problem(file, "file_not_regular")
            case number:
                problem = _file_problem(file, "file_unreadable", reason=errno.errorcode.get(number or 0, "?"))
        raise error_type([problem]) from None
    if len(raw) > limits.max_bytes:
        raise error_type([_file_problem(file, "file_too_big", most=_megabytes(limits.max_bytes))])
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(raw) != after.st_size:
        raise error_type([_file_problem(file, "file_changing")])
    return raw


def _file_problem(file: str, code: str, **facts: str) -> Problem:
    return Problem(code=code, location=Location(file=file), facts={"file": file, **facts})


def _problem_at(file: str, text: str, offset: int, code: str, facts: Mapping[str, str]) -> Problem:
    line, column = to_line_and_column(text, offset)
    return Problem(code=code, location=Location(file=file, line=line, column=column), facts=facts)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:g}"
