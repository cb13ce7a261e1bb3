"""From a key's path to its line and column. Costs time, so it is asked only when there is something to tell."""

import re
from bisect import bisect_right
from dataclasses import dataclass

from parse_errors.source_map import Entry, SourceMap

from publisher.tomlfile.checking import Loc
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
    """Finds values in one text. The text must be valid TOML."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._chunks = _chunks(text)
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._elements: dict[str, list[int]] = {}
        for number, chunk in enumerate(self._chunks):
            if chunk.opens:
                self._elements.setdefault(chunk.path[0], []).append(number)

    def locate(self, loc: Loc, *, at_key: bool = False) -> tuple[int, int]:
        """Give line and column of a value, or of its key; of what encloses it when it is not there."""
        if not loc:
            return 1, 1
        excerpt, first, pointer = self._excerpt(loc)
        offset = first
        if len(excerpt) <= _MOST_EXCERPT:
            entry, rest = _nearest(SourceMap(excerpt, "toml"), pointer)
            offset += _position(entry, rest, excerpt, at_key=at_key)
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def _excerpt(self, loc: Loc) -> tuple[str, int, Loc]:
        """Cut out what can hold the value, since the source map's cost grows with the square of the tables."""
        name, index = str(loc[0]), loc[1] if len(loc) > 1 else 0
        elements = self._elements.get(name, [])
        if not isinstance(index, int) or index >= len(elements):
            return *self._kept(range(len(self._chunks)), loc), loc
        after = elements[index + 1] if index + 1 < len(elements) else len(self._chunks)
        pointer = (name, 0, *loc[2:]) if len(loc) > 1 else loc
        return *self._kept(range(elements[index], after), loc), pointer

    def _kept(self, numbers: range, loc: Loc) -> tuple[str, int]:
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


def dotted(loc: Loc) -> str:
    """Write a path as people do: `post[0].text.weibo`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Count both from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _nearest(source: SourceMap, pointer: Loc) -> tuple[Entry, Loc]:
    """Give the entry of a value, or of what encloses it, and the rest of the way.

    The map gives all that is inside a list the list's own entry, so the way to a member is always a part of the rest.
    """
    entries = [
        source.locate("".join(f"/{_escape(str(part))}" for part in pointer[:n])) for n in range(len(pointer) + 1)
    ]
    length = max(n for n, entry in enumerate(entries) if entry is not None)
    entry = entries[length]
    while entry and entry.key_start and length and _is_same(entry, entries[length - 1]):
        length -= 1
    if entry is None:
        raise LookupError(pointer)
    return entry, pointer[length:]


def _is_same(entry: Entry, other: Entry | None) -> bool:
    return other is not None and (entry.value_start, entry.key_start) == (other.value_start, other.key_start)


def _position(entry: Entry, rest: Loc, excerpt: str, *, at_key: bool) -> int:
    if at_key and not rest and entry.key_start is not None:
        return entry.key_start.position
    start, end = entry.value_start.position, entry.value_end.position
    start += len(excerpt[start:end]) - len(excerpt[start:end].lstrip())
    return _descend(excerpt, start, rest, at_key=at_key)


def _descend(text: str, offset: int, rest: Loc, *, at_key: bool) -> int:
    """Go on where the source map ends, into lists and inline tables; stop where the way is not written."""
    bare = _veiled(text) if rest else text
    for number, part in enumerate(rest, start=1):
        found = _parts(bare, offset)
        if bare[offset] == "[" and isinstance(part, int) and part < len(found):
            offset = found[part]
            continue
        keys = {text[start : _sign(bare, start)].strip(" \t\"'"): start for start in found if bare[offset] == "{"}
        if part not in keys:
            break
        offset = keys[str(part)]
        if at_key and number == len(rest):
            break
        offset = _solid(bare, _sign(bare, offset) + 1)
    return offset


def _parts(bare: str, offset: int) -> list[int]:
    """Give where the members of a list or inline table begin."""
    level = 0
    starts = [_solid(bare, offset + 1)]
    for found in re.finditer(r"[\[\]{},]", bare[offset:]):
        level += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if level == 0:
            break
        if level == 1 and found[0] == ",":
            starts.append(_solid(bare, offset + found.end()))
    return starts


def _veiled(text: str) -> str:
    """Blank comments, and hide what stands in texts."""
    return QUOTED.sub(lambda found: (" " if found[0].startswith("#") else "x") * len(found[0]), text)


def _sign(bare: str, start: int) -> int:
    return bare.find("=", start)


def _solid(bare: str, start: int) -> int:
    """Give the next position that is not blank."""
    return start + len(bare[start:]) - len(bare[start:].lstrip())


def _chunks(text: str) -> list[_Chunk]:
    chunks = [_Chunk(start=0, path=(), opens=False)]
    for found in _SCAN.finditer(text):
        if header := found["header"]:
            path = tuple(key.strip("\"'") for key in _KEY.findall(header))
            is_element = len(path) == 1 and header.lstrip().startswith("[[")
            chunks.append(_Chunk(start=found.start(), path=path, opens=is_element))
    return chunks


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
