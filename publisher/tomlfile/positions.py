"""From a key's path to its line and column. Costs time, so it is asked only when there is something to tell."""

import re
from bisect import bisect_right
from dataclasses import dataclass

from parse_errors.source_map import Entry, SourceMap

from publisher.tomlfile.limits import QUOTED_OR_COMMENT
from publisher.tomlfile.validate import KeyPath

_KEY = re.compile(r"[A-Za-z0-9_-]+|\"[^\"\n]*\"|'[^'\n]*'")
_HEADER = rf"^[ \t]*\[\[?[ \t]*(?:{_KEY.pattern})(?:[ \t]*\.[ \t]*(?:{_KEY.pattern}))*[ \t]*\]"
_SCAN = re.compile(rf"(?P<quoted>{QUOTED_OR_COMMENT.pattern})|(?P<header>{_HEADER})", re.DOTALL | re.MULTILINE)
_MAX_SNIPPET_CHARS = 200_000
"""In characters. Nobody writes one table so long; in such a thing the line of its header must do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """The lines from one table header to the next; `opens` when the header adds an element to a list of tables."""

    start: int
    path: tuple[str, ...]
    is_new_element: bool

    def can_contain(self, names: tuple[str, ...]) -> bool:
        """Whether values of this path can stand here, or below."""
        shorter = min(len(self.path), len(names))
        return shorter > 0 and self.path[:shorter] == names[:shorter]


class PositionFinder:
    """Finds values in one text. The text must be valid TOML."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._chunks = _split_chunks(text)
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._elements: dict[str, list[int]] = {}
        for number, chunk in enumerate(self._chunks):
            if chunk.is_new_element:
                self._elements.setdefault(chunk.path[0], []).append(number)

    def locate(self, path: KeyPath, *, is_at_key: bool = False) -> tuple[int, int]:
        """Give line and column of a value, or of its key; of what encloses it when it is not there."""
        if not path:
            return 1, 1
        excerpt, first, pointer = self._cut_snippet(path)
        offset = first
        if len(excerpt) <= _MAX_SNIPPET_CHARS:
            entry, rest = _find_nearest_entry(SourceMap(excerpt, "toml"), pointer)
            offset += _find_position(entry, rest, excerpt, is_at_key=is_at_key)
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def _cut_snippet(self, path: KeyPath) -> tuple[str, int, KeyPath]:
        """Cut out what can hold the value, since the source map's cost grows with the square of the tables."""
        name, index = str(path[0]), path[1] if len(path) > 1 else 0
        elements = self._elements.get(name, [])
        if not isinstance(index, int) or index >= len(elements):
            return *self._join_chunks(range(len(self._chunks)), path), path
        after = elements[index + 1] if index + 1 < len(elements) else len(self._chunks)
        pointer = (name, 0, *path[2:]) if len(path) > 1 else path
        return *self._join_chunks(range(elements[index], after), path), pointer

    def _join_chunks(self, numbers: range, path: KeyPath) -> tuple[str, int]:
        """Keep the chunks about a path, from the first of them on; the others become blank."""
        names = tuple(part for part in path if isinstance(part, str))
        own = [number for number in numbers if self._chunks[number].can_contain(names)] or [0]
        kept = set(own)
        parts = []
        for number in range(own[0], own[-1] + 1):
            chunk = self._text[self._chunks[number].start : self._chunk_end(number)]
            parts.append(chunk if number in kept else re.sub(r"[^\n]", " ", chunk))
        return "".join(parts), self._chunks[own[0]].start

    def _chunk_end(self, number: int) -> int:
        return self._chunks[number + 1].start if number + 1 < len(self._chunks) else len(self._text)


def format_path(path: KeyPath) -> str:
    """Write a path as people do: `post[0].text.weibo`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def to_line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Count both from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _find_nearest_entry(source: SourceMap, pointer: KeyPath) -> tuple[Entry, KeyPath]:
    """Give the entry of a value, or of what encloses it, and the rest of the way.

    The map gives all that is inside a list the list's own entry, so the way to a member is always a part of the rest.
    """
    entries = [
        source.locate("".join(f"/{_escape_pointer(str(part))}" for part in pointer[:n]))
        for n in range(len(pointer) + 1)
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


def _find_position(entry: Entry, rest: KeyPath, snippet: str, *, is_at_key: bool) -> int:
    if is_at_key and not rest and entry.key_start is not None:
        return entry.key_start.position
    start, end = entry.value_start.position, entry.value_end.position
    start += len(snippet[start:end]) - len(snippet[start:end].lstrip())
    return _descend(snippet, start, rest, is_at_key=is_at_key)


def _descend(text: str, offset: int, rest: KeyPath, *, is_at_key: bool) -> int:
    """Go on where the source map ends, into lists and inline tables; stop where the way is not written."""
    bare = _mask_quoted(text) if rest else text
    for number, part in enumerate(rest, start=1):
        found = _find_member_starts(bare, offset)
        if bare[offset] == "[" and isinstance(part, int) and part < len(found):
            offset = found[part]
            continue
        keys = {
            text[start : _find_equals(bare, start)].strip(" \t\"'"): start for start in found if bare[offset] == "{"
        }
        if part not in keys:
            break
        offset = keys[str(part)]
        if is_at_key and number == len(rest):
            break
        offset = _skip_blanks(bare, _find_equals(bare, offset) + 1)
    return offset


def _find_member_starts(bare: str, offset: int) -> list[int]:
    """Give where the members of a list or inline table begin."""
    level = 0
    starts = [_skip_blanks(bare, offset + 1)]
    for found in re.finditer(r"[\[\]{},]", bare[offset:]):
        level += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if level == 0:
            break
        if level == 1 and found[0] == ",":
            starts.append(_skip_blanks(bare, offset + found.end()))
    return starts


def _mask_quoted(text: str) -> str:
    """Blank comments, and hide what stands in texts."""
    return QUOTED_OR_COMMENT.sub(lambda found: (" " if found[0].startswith("#") else "x") * len(found[0]), text)


def _find_equals(bare: str, start: int) -> int:
    return bare.find("=", start)


def _skip_blanks(bare: str, start: int) -> int:
    """Give the next position that is not blank."""
    return start + len(bare[start:]) - len(bare[start:].lstrip())


def _split_chunks(text: str) -> list[_Chunk]:
    chunks = [_Chunk(start=0, path=(), is_new_element=False)]
    for found in _SCAN.finditer(text):
        if header := found["header"]:
            path = tuple(key.strip("\"'") for key in _KEY.findall(header))
            is_element = len(path) == 1 and header.lstrip().startswith("[[")
            chunks.append(_Chunk(start=found.start(), path=path, is_new_element=is_element))
    return chunks


def _escape_pointer(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
