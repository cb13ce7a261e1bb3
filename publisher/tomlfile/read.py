"""Read and parse TOML files, with one precise problem if a file cannot be parsed."""

import codecs
import errno
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from publisher.domain.characters import (
    describe_character,
    find_forbidden_characters,
    find_forbidden_in_value,
)
from publisher.domain.errors import InputError, Location, Problem
from publisher.tomlfile.positions import PositionFinder, format_path, to_line_and_column
from publisher.tomlfile.syntax import blank_quoted, explain_syntax_error
from publisher.tomlfile.validate import KeyPath, UnlocatedProblem

MAX_PROBLEMS = 200
"""The number of problems that are listed; a longer list helps nobody."""
_CODES_BY_ERRNO = {
    errno.ENOENT: "file_missing",
    errno.ENOTDIR: "file_missing",
    errno.ELOOP: "file_is_link",
    errno.EISDIR: "file_not_regular",
    errno.ENXIO: "file_not_regular",
}
_LETTER = "[A-Za-z0-9_+-]"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVersion:
    """Distinguishes one state of a file from the next."""

    modified_at: datetime
    size: int
    inode: int

    @classmethod
    def read(cls, file: Path) -> "FileVersion | None":
        """Return the present version of a file; None while it cannot be read."""
        try:
            found = file.stat()
        except OSError:
            return None
        return cls(
            modified_at=datetime.fromtimestamp(found.st_mtime, UTC),
            size=found.st_size,
            inode=found.st_ino,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """Limits of a file: size, levels of nesting, parts of a dotted key, characters of a word.

    The word is a bare one.
    """

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

    def locate_problems(
        self, problems: Iterable[UnlocatedProblem]
    ) -> tuple[Problem, ...]:
        """Return problems with line and column, in file order.

        Beyond MAX_PROBLEMS return only their number.
        """
        problems = list(problems)
        paths = [
            path
            for problem in problems[:MAX_PROBLEMS]
            for path in (problem.path, *problem.line_facts.values())
        ]
        finder = PositionFinder(self.text, paths)
        located: list[tuple[int, int, Problem]] = []
        for problem in problems[:MAX_PROBLEMS]:
            line, column = finder.locate(problem.path, is_at_key=problem.is_at_key)
            location = Location(
                file=self.file, line=line, column=column, path=format_path(problem.path)
            )
            lines = {
                name: str(finder.locate(path)[0])
                for name, path in problem.line_facts.items()
            }
            facts = {**problem.facts, **lines}
            located.append(
                (
                    line,
                    column,
                    Problem(code=problem.code, location=location, facts=facts),
                )
            )
        result = [
            problem
            for _line, _column, problem in sorted(located, key=lambda item: item[:2])
        ]
        if len(problems) > MAX_PROBLEMS:
            rest = {"number": str(len(problems) - MAX_PROBLEMS)}
            result.append(
                Problem(
                    code="more_problems", location=Location(file=self.file), facts=rest
                )
            )
        return tuple(result)

    def locate_all(self, paths: Iterable[KeyPath]) -> list[Location]:
        """Return the locations of values."""
        paths = list(paths)
        finder = PositionFinder(self.text, paths)
        found = [(path, *finder.locate(path)) for path in paths]
        return [
            Location(file=self.file, line=line, column=column, path=format_path(path))
            for path, line, column in found
        ]


def read_toml(
    path: Path, limits: ReadLimits, error_type: type[InputError] = InputError
) -> TomlDocument:
    """Read and parse a regular file of UTF-8 TOML. Raises `error_type` with its problems."""
    return parse_toml(
        read_text(path, limits, error_type), str(path), limits, error_type
    )


def read_text(
    path: Path, limits: ReadLimits, error_type: type[InputError] = InputError
) -> str:
    """Read the text of a file without parsing it.

    Raises `error_type` if it is no regular UTF-8 file.
    """
    return strip_editor_marks(read_unchanged(path, limits, error_type))


def read_unchanged(
    path: Path, limits: ReadLimits, error_type: type[InputError] = InputError
) -> str:
    """Read a file as `read_text` does, but with its byte-order mark and line ends."""
    file = str(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            before = os.fstat(descriptor)
            raw = (
                stream.read(limits.max_bytes + 1)
                if stat.S_ISREG(before.st_mode)
                else b""
            )
            after = os.fstat(descriptor)
    except OSError as error:
        code = _CODES_BY_ERRNO.get(error.errno or 0, "file_unreadable")
        facts = (
            {"reason": errno.errorcode.get(error.errno or 0, "?")}
            if code == "file_unreadable"
            else {}
        )
        raise error_type([_file_problem(file, code, **facts)]) from None
    if not stat.S_ISREG(before.st_mode):
        raise error_type([_file_problem(file, "file_not_regular")])
    if len(raw) > limits.max_bytes:
        raise error_type(
            [_file_problem(file, "file_too_big", most=_megabytes(limits.max_bytes))]
        )
    if (before.st_size, before.st_mtime_ns) != (
        after.st_size,
        after.st_mtime_ns,
    ) or len(raw) != after.st_size:
        raise error_type([_file_problem(file, "file_changing")])
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise error_type([_file_problem(file, "file_utf16")])
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        valid = strip_editor_marks(raw[: error.start].decode("utf-8"))
    code = "file_gbk"
    try:
        raw.decode("gb18030")
    except UnicodeDecodeError:
        code = "file_not_utf8"
    raise error_type([_problem_at(file, valid, len(valid), code, {})])


def count_bytes(text: str) -> int:
    """Return how many bytes a text has as a file."""
    return len(text.encode("utf-8", "surrogatepass"))


def parse_toml(
    text: str, file: str, limits: ReadLimits, error_type: type[InputError] = InputError
) -> TomlDocument:
    """Parse a text, after checks of its size, characters and depth.

    Raises `error_type` with the one problem that prevents parsing, or with every forbidden
    character.
    """
    text = strip_editor_marks(text)
    if count_bytes(text) > limits.max_bytes:
        raise error_type(
            [_file_problem(file, "file_too_big", most=_megabytes(limits.max_bytes))]
        )
    if not text.strip():
        raise error_type([_file_problem(file, "file_empty")])
    if forbidden := list(islice(find_forbidden_characters(text), MAX_PROBLEMS)):
        described = [
            (position, {"character": describe_character(text[position])})
            for position in forbidden
        ]
        raise error_type(
            [
                _problem_at(file, text, at, "invisible_character", facts)
                for at, facts in described
            ]
        )
    if excess := find_excess(text, limits):
        code, offset = excess
        facts = {"depth": str(limits.max_depth), "parts": str(limits.max_key_parts)}
        raise error_type([_problem_at(file, text, offset, code, facts)])
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        syntax = explain_syntax_error(error, text)
        raise error_type(
            [_problem_at(file, text, syntax.offset, syntax.code, syntax.facts)]
        ) from None
    document = TomlDocument(file=file, text=text, data=data)
    if (
        "\\" in text
    ):  # an escape such as \u202e may have put a forbidden character into a value
        escaped = [
            UnlocatedProblem(
                path=path,
                code="invisible_character",
                facts={"character": describe_character(character)},
            )
            for path, character in islice(find_forbidden_in_value(data), MAX_PROBLEMS)
        ]
        if escaped:
            raise error_type(document.locate_problems(escaped))
    return document


def find_excess(text: str, limits: ReadLimits) -> tuple[str, int] | None:
    """Return the code and position of an excess that would exhaust the parser, or None.

    It takes linear time.
    """
    bare = blank_quoted(text)
    if dots := re.search(
        rf"\.(?:[^.=,\n\[\]{{}}]*+\.){{{limits.max_key_parts - 1}}}", bare
    ):
        return "key_too_long", dots.start()
    if long := re.search(
        rf"(?<!{_LETTER}){_LETTER}{{{limits.max_word_chars + 1}}}", bare
    ):
        return "word_too_long", long.start()
    depth = 0
    for bracket in re.finditer(r"[\[\]{}]", bare):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > limits.max_depth:
            return "too_deep", bracket.start()
    return None


def strip_editor_marks(text: str) -> str:
    """Remove the byte-order mark and CRLF that editors add."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _file_problem(file: str, code: str, **facts: str) -> Problem:
    return Problem(
        code=code, location=Location(file=file), facts={"file": file, **facts}
    )


def _problem_at(
    file: str, text: str, offset: int, code: str, facts: Mapping[str, str]
) -> Problem:
    line, column = to_line_and_column(text, offset)
    return Problem(
        code=code, location=Location(file=file, line=line, column=column), facts=facts
    )


def _megabytes(size: int) -> str:
    return f"{size / 2**20:g}"
