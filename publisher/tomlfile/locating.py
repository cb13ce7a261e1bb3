"""From a key's path to its line and column. Costs time, so it is asked only when there is something to tell."""

import json
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parse_errors.source_map import Entry, SourceMap

from publisher.tomlfile.guards import QUOTED

_KEY = re.compile(r"[A-Za-z0-9_-]+|\"[^\"\n]*\"|'[^'\n]*'")
_HEADER = rf"^[ \t]*\[\[?[ \t]*(?:{_KEY.pattern})(?:[ \t]*\.[ \t]*(?:{_KEY.pattern}))*[ \t]*\]"
_SCAN = re.compile(rf"(?P<quoted>{QUOTED.pattern})|(?P<header>{_HEADER})", re.DOTALL | re.MULTILINE)
_MOST_EXCERPT = 200_000
"""In characters. Nobody writes one table so long; in such a thing the line of its header must do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """The lines from one table header to the next; `opens` when the header adds an element to a list of tables."""

    start: int
    path: tuple[str, ...]
    opens: bool

    def is_about(self, names: tuple[str, ...]) -> bool:
        """Whether values of this path can stand here, or below."""
        shorter = min(len(self.path), len(names))
        return shorter > 0 and self.path[:shorter] == names[:shorter]


class Locator:
    """Finds values in one text. The text must be valid TOML, and `data` what it says."""

    def __init__(self, text: str, data: Mapping[str, Any]) -> None:
        self._text = text
        self._data = data
        self._chunks = _chunks(text)
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._elements: dict[str, list[int]] = {}
        for number, chunk in enumerate(self._chunks):
            if chunk.opens:
                self._elements.setdefault(chunk.path[0], []).append(number)

    def locate(self, loc: tuple[str | int, ...], *, at_key: bool = False) -> tuple[int, int]:
        """Give line and column of a value, or of its key; of what encloses it when it is not there."""
        if not loc:
            return 1, 1
        excerpt, first, pointer = self._excerpt(loc)
        offset = first
        if len(excerpt) <= _MOST_EXCERPT:
            entry = _nearest(SourceMap(excerpt, "toml"), pointer)
            offset += self._position(entry, excerpt, loc, at_key=at_key)
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def _position(self, entry: Entry, excerpt: str, loc: tuple[str | int, ...], *, at_key: bool) -> int:
        if at_key and entry.key_start is not None:
            return entry.key_start.position
        start, end = entry.value_start.position, entry.value_end.position
        value = _value_at(self._data, loc)
        if not isinstance(value, str) or excerpt[start : start + 1] not in {"[", "{"}:
            return start + _blanks(excerpt[start:end])
        spellings = (json.dumps(value, ensure_ascii=False), f"'{value}'")
        found = [spot for spelling in spellings if (spot := excerpt.find(spelling, start, end)) >= 0]
        return min(found, default=start + _blanks(excerpt[start:end]))

    def _excerpt(self, loc: tuple[str | int, ...]) -> tuple[str, int, tuple[str | int, ...]]:
        """Cut out what can hold the value, since the source map's cost grows with the square of the tables."""
        name, index = str(loc[0]), loc[1] if len(loc) > 1 else 0
        elements = self._elements.get(name, [])
        if not isinstance(index, int) or index >= len(elements):
            return *self._kept(range(len(self._chunks)), loc), loc
        after = elements[index + 1] if index + 1 < len(elements) else len(self._chunks)
        pointer = (name, 0, *loc[2:]) if len(loc) > 1 else loc
        return *self._kept(range(elements[index], after), loc), pointer

    def _kept(self, numbers: range, loc: tuple[str | int, ...]) -> tuple[str, int]:
        """Keep the chunks about a path, from the first of them on; the others become blank."""
        names = tuple(part for part in loc if isinstance(part, str))
        own = [number for number in numbers if self._chunks[number].is_about(names)] or [0]
        kept = set(own)
        parts = []
        for number in range(own[0], own[-1] + 1):
            chunk = self._text[self._chunks[number].start : self._end(number)]
            parts.append(chunk if number in kept else re.sub(r"[^\n]", " ", chunk))
        return "".join(parts), self._chunks[own[0]].start

    def _end(self, number: int) -> int:
        return self._chunks[number + 1].start if number + 1 < len(self._chunks) else len(self._text)


def dotted(loc: tuple[str | int, ...]) -> str:
    """Write a path as people do: `post[0].text.weibo`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Count both from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _nearest(source: SourceMap, pointer: tuple[str | int, ...]) -> Entry:
    """Give the entry of a value, or of what encloses it."""
    entry = None
    while entry is None:
        entry = source.locate("".join(f"/{_escape(str(part))}" for part in pointer))
        pointer = pointer[:-1]
    return entry


def _chunks(text: str) -> list[_Chunk]:
    chunks = [_Chunk(start=0, path=(), opens=False)]
    for found in _SCAN.finditer(text):
        if header := found["header"]:
            path = tuple(key.strip("\"'") for key in _KEY.findall(header))
            is_element = len(path) == 1 and header.lstrip().startswith("[[")
            chunks.append(_Chunk(start=found.start(), path=path, opens=is_element))
    return chunks


def _value_at(data: object, loc: tuple[str | int, ...]) -> object:
    for part in loc:
        is_there = part in data if isinstance(data, Mapping) else isinstance(part, int) and part < _length(data)
        if not is_there:
            return None
        data = data[part]  # type: ignore[index]  # it is there
    return data


def _length(data: object) -> int:
    return len(data) if isinstance(data, list) else 0


def _blanks(text: str) -> int:
    return len(text) - len(text.lstrip())


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
