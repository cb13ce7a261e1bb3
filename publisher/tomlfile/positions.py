"""Find line and column of values in valid TOML, in one pass over the text."""

import re
import tomllib
from collections.abc import Iterable, Iterator

from publisher.tomlfile.syntax import QUOTED_OR_COMMENT
from publisher.tomlfile.validate import KeyPath

_KEY_PART = re.compile(
    r"[ \t]*(?P<part>[A-Za-z0-9_-]+|\"(?:[^\"\\\n]|\\.)*+\"|'[^'\n]*+')[ \t]*(?P<dot>\.?)"
)
_SCALAR = re.compile(
    rf"{QUOTED_OR_COMMENT.pattern}|[^,\]}}\n#]+", re.DOTALL | re.MULTILINE
)
_BETWEEN = re.compile(r"(?:[\s,]++|#[^\n]*+)*+")
"""White space, commas and comments between keys, values and headers."""


class PositionFinder:
    """Finds the positions of some paths in one text.

    Only these are kept, so that a huge list takes no memory.
    """

    def __init__(self, text: str, paths: Iterable[KeyPath]) -> None:
        self._text = text
        self._wanted = {
            path[:length] for path in paths for length in range(1, len(path) + 1)
        }
        self._found: dict[KeyPath, tuple[int, int]] = {}
        self._elements: dict[KeyPath, int] = {}
        self._spans: dict[KeyPath, tuple[int, int]] = {}
        self._offset = 0
        table: KeyPath = ()
        while (start := self._skip()) < len(text):
            if text[start] == "[":
                table = self._read_header()
            else:
                self._read_pair(table)
            element = table[:2]
            self._spans[element] = (
                self._spans.get(element, (start, start))[0],
                self._offset,
            )

    def locate(self, path: KeyPath, *, is_at_key: bool = False) -> tuple[int, int]:
        """Return line and column of a value, or of its key.

        A missing value is located at the value that encloses it.
        """
        for length in range(len(path), 0, -1):
            if path[:length] in self._found:
                key_offset, value_offset = self._found[path[:length]]
                is_key = is_at_key and length == len(path)
                return to_line_and_column(
                    self._text, key_offset if is_key else value_offset
                )
        return 1, 1

    def spans(self, name: str) -> list[tuple[int, int]]:
        """Return the start and end of each table of the list `name`, its own tables included.

        Text between two tables, such as a comment above a header, belongs to neither.
        """
        return [
            self._spans[name, index]
            for index in range(self._elements.get((name,), -1) + 1)
        ]

    def _skip(self) -> int:
        found = _BETWEEN.match(self._text, self._offset)
        self._offset = found.end() if found else self._offset
        return self._offset

    def _record(self, path: KeyPath, key_offset: int, value_offset: int) -> None:
        if path in self._wanted:
            self._found.setdefault(path, (key_offset, value_offset))

    def _read_header(self) -> KeyPath:
        """Read `[a.b]` or `[[a.b]]`; return the path of the table."""
        start = self._offset
        is_element = self._text.startswith("[[", start)
        self._offset += 1 + is_element
        names = [name for name, _offset in self._read_key()]
        self._offset = self._text.index("]", self._offset) + 1 + is_element
        path: KeyPath = ()
        for number, name in enumerate(names, start=1):
            path = (*path, name)
            self._record(path, start, start)
            if is_element and number == len(names):
                self._elements[path] = self._elements.get(path, -1) + 1
            if path in self._elements:
                path = (*path, self._elements[path])
                self._record(path, start, start)
        return path

    def _read_key(self) -> Iterator[tuple[str, int]]:
        """Yield the parts of a dotted key, each with its position."""
        while found := _KEY_PART.match(self._text, self._offset):
            part, self._offset = found["part"], found.end()
            yield (
                next(iter(tomllib.loads(f"{part}=0")))
                if "\\" in part
                else part.strip("\"'"),
                found.start("part"),
            )
            if not found["dot"]:
                return

    def _read_pair(self, table: KeyPath) -> None:
        """Read `a.b = value` into a table."""
        *parents, (name, key_offset) = self._read_key()
        path = table
        for parent, offset in parents:
            path = (*path, parent)
            self._record(path, offset, offset)
        path = (*path, name)
        self._offset = self._text.index("=", self._offset) + 1
        self._record(path, key_offset, self._skip())
        self._read_value(path)

    def _read_value(self, path: KeyPath) -> None:
        opening = self._text[self._offset]
        if opening not in "[{":
            found = _SCALAR.match(self._text, self._offset)
            self._offset = found.end() if found else len(self._text)
            return
        self._offset += 1
        index = 0
        while self._text[self._skip()] not in "]}":
            if opening == "{":
                self._read_pair(path)
            else:
                self._record((*path, index), self._offset, self._offset)
                self._read_value((*path, index))
                index += 1
        self._offset += 1


def format_path(path: KeyPath) -> str:
    """Return a path as people write it: `post[0].data.summary`."""
    return "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in path
    ).removeprefix(".")


def to_line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Return line and column of an offset, both from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
