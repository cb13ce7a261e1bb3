"""From a path or a text to plain data, or to the one reason why not."""

import codecs
import errno
import os
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from publisher.domain.characters import describe_character, find_forbidden_characters, find_forbidden_in_value
from publisher.domain.errors import InputError
from publisher.domain.problem import Location, Problem
from publisher.tomlfile.limits import find_excess
from publisher.tomlfile.positions import PositionFinder, format_path, to_line_and_column
from publisher.tomlfile.syntax_errors import explain_syntax_error
from publisher.tomlfile.validate import KeyPath, UnlocatedProblem

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
