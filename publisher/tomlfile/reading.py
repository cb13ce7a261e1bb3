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

from publisher.domain.characters import name_of, odd_characters, odd_within
from publisher.domain.errors import InputError
from publisher.domain.problem import Place, Problem
from publisher.tomlfile.checking import Flaw, Loc
from publisher.tomlfile.guards import find_excess
from publisher.tomlfile.locating import Locator, dotted, line_and_column
from publisher.tomlfile.syntax import explain

MOST_PROBLEMS = 200
"""More would not help anyone who mends a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is taken from a file: `size` in bytes; levels of nesting; parts of a dotted key; letters of a number."""

    size: int
    depth: int = 16
    key_parts: int = 16
    word: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TomlFile:
    """A file that was read. `text` has neither byte-order mark nor CRLF."""

    file: str
    text: str
    data: Mapping[str, Any]

    def problems(self, flaws: Iterable[Flaw]) -> tuple[Problem, ...]:
        """Give each flaw its line and column, in the file's order; beyond the first 200 only their number."""
        flaws = list(flaws)
        locator = Locator(self.text)
        found = [self._problem(flaw, locator) for flaw in flaws[:MOST_PROBLEMS]]
        found.sort(key=lambda problem: (problem.place.line, problem.place.column) if problem.place else (0, 0))
        if len(flaws) > MOST_PROBLEMS:
            rest = {"number": str(len(flaws) - MOST_PROBLEMS)}
            found.append(Problem(code="more_problems", place=Place(file=self.file), facts=rest))
        return tuple(found)

    def place(self, loc: Loc) -> Place:
        """Give the place of one value."""
        return self.places([loc])[0]

    def places(self, locs: Iterable[Loc]) -> list[Place]:
        """Give the places of values."""
        locator = Locator(self.text)
        found = [(loc, *locator.locate(loc)) for loc in locs]
        return [Place(file=self.file, line=line, column=column, path=dotted(loc)) for loc, line, column in found]

    def _problem(self, flaw: Flaw, locator: Locator) -> Problem:
        line, column = locator.locate(flaw.loc, at_key=flaw.at_key)
        facts = dict(flaw.facts)
        for name, loc in flaw.lines.items():
            facts[name] = str(locator.locate(loc)[0])
        place = Place(file=self.file, line=line, column=column, path=dotted(flaw.loc))
        return Problem(code=flaw.code, place=place, facts=facts)


def read_toml(path: Path, limits: Limits, refusal: type[InputError] = InputError) -> TomlFile:
    """Read a regular file of UTF-8 TOML. Raises `refusal` with the one Problem that stands in the way."""
    return parse_toml(read_text(path, limits, refusal), str(path), limits, refusal)


def read_text(path: Path, limits: Limits, refusal: type[InputError] = InputError) -> str:
    """Read the text of such a file without judging it. Raises `refusal` where it cannot be read as one."""
    return _plain(_decode(_read_bytes(path, limits, refusal), str(path), refusal))


def parse_toml(text: str, file: str, limits: Limits, refusal: type[InputError] = InputError) -> TomlFile:
    """Parse a text whose size, characters and depth are checked first.

    Raises `refusal` with the one Problem in the way, or with every character that must not be in a text.
    """
    text = _plain(text)
    if len(text) > limits.size:
        raise refusal([_whole(file, "file_too_big", most=_megabytes(limits.size))])
    if not text.strip():
        raise refusal([_whole(file, "file_empty")])
    if odd := list(islice(odd_characters(text), MOST_PROBLEMS)):
        raise refusal([_at(file, text, position, *_odd(text[position])) for position in odd])
    if excess := find_excess(text, depth=limits.depth, key_parts=limits.key_parts, word=limits.word):
        code, offset = excess
        raise refusal([_at(file, text, offset, code, {"depth": str(limits.depth), "parts": str(limits.key_parts)})])
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        trouble = explain(error, text)
        raise refusal([_at(file, text, trouble.offset, trouble.code, trouble.facts)]) from None
    toml = TomlFile(file=file, text=text, data=data)
    if "\\" in text and (flaws := list(islice(_escaped_flaws(data), MOST_PROBLEMS))):
        raise refusal(toml.problems(flaws))
    return toml


def _escaped_flaws(data: Mapping[str, Any]) -> Iterator[Flaw]:
    r"""Name what an escape such as \u202e has put into a value."""
    for loc, character in odd_within(data):
        code, facts = _odd(character)
        yield Flaw(loc=loc, code=code, facts=facts)


def _odd(character: str) -> tuple[str, Mapping[str, str]]:
    return "odd_character", {"character": name_of(character)}


def _plain(text: str) -> str:
    """Leave out what editors put into a text without changing a word of it."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _read_bytes(path: Path, limits: Limits, refusal: type[InputError]) -> bytes:
    file = str(path)
    try:
        if path.is_symlink():
            raise refusal([_whole(file, "file_is_link")])
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as stream:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise refusal([_whole(file, "file_not_regular")])
            raw = stream.read(limits.size + 1)
            after = os.fstat(descriptor)
    except OSError as error:
        raise refusal([_os_problem(file, error)]) from None
    if len(raw) > limits.size:
        raise refusal([_whole(file, "file_too_big", most=_megabytes(limits.size))])
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(raw) != after.st_size:
        raise refusal([_whole(file, "file_changing")])
    return raw


def _os_problem(file: str, error: OSError) -> Problem:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return _whole(file, "file_missing")
        case errno.ELOOP:
            return _whole(file, "file_is_link")
        case errno.EISDIR | errno.ENXIO:
            return _whole(file, "file_not_regular")
        case number:
            return _whole(file, "file_unreadable", reason=errno.errorcode.get(number or 0, "?"))


def _decode(raw: bytes, file: str, refusal: type[InputError]) -> str:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise refusal([_whole(file, "file_utf16")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = raw[: error.start].decode("utf-8-sig")
    code = "file_gbk" if _is_gbk(raw) else "file_not_utf8"
    raise refusal([_at(file, good, len(good), code, {})])


def _is_gbk(raw: bytes) -> bool:
    try:
        raw.decode("gb18030")
    except UnicodeDecodeError:
        return False
    return True


def _whole(file: str, code: str, **facts: str) -> Problem:
    return Problem(code=code, place=Place(file=file), facts={"file": file, **facts})


def _at(file: str, text: str, offset: int, code: str, facts: Mapping[str, str]) -> Problem:
    line, column = line_and_column(text, offset)
    return Problem(code=code, place=Place(file=file, line=line, column=column), facts=facts)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:g}"
