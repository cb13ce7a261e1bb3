"""Edit one post in the text of schedule.toml. Every byte outside that post stays as it is."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomlkit
from tomlkit.items import Array, Item

from publisher.domain.differences import compare_sequences
from publisher.schedule.model import PostEntry
from publisher.tomlfile.positions import PositionFinder

Entry = Mapping[str, Any]
"""A post as a table of the file, as `tomllib` reads it."""
TABLE_KEYS = ("text", "data")
REGION_KEY = "region"
"""The keys of a post that are tables: each of their own keys is a field."""
_KEY_ORDER = {
    info.alias or name: number
    for number, (name, info) in enumerate(PostEntry.model_fields.items())
}


_NO_POSTS = re.compile(r"^post\s*=\s*\[\s*\].*\n?", re.MULTILINE)
"""An empty list of posts. TOML allows no `[[post]]` beside it."""

PostSpans = Sequence[tuple[int, int]]
"""Where each post of a text begins and ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostBlock:
    """The place of a post in a text.

    It runs from the start of its header's line to the end of the line of its last value.
    """

    start: int
    end: int
    span: tuple[int, int]
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEdit:
    """The whole new text, and the lines of the edited post before and after."""

    text: str
    before: str
    after: str

    @property
    def diff(self) -> Sequence[str]:
        """The lines that change, with `-` or `+` before each, and the lines next to them.

        A line next to them has a space before it.
        """
        lines: list[str] = []
        before, after = self.before.splitlines(), self.after.splitlines()
        for span in compare_sequences(before, after):
            if span.is_same:
                first, last = span.before.start, span.before.stop - 1
                near = {first} if first > 0 else set()
                near |= {last} if last < len(before) - 1 else set()
                lines += [f" {before[number]}" for number in sorted(near)]
            else:
                lines += [f"-{line}" for line in before[span.before]]
                lines += [f"+{line}" for line in after[span.after]]
        return lines


def find_post_spans(text: str) -> PostSpans:
    """Find the posts of a valid text, each under a `[[post]]` of its own.

    The search takes one pass over the text.
    """
    without_mark = f" {text[1:]}" if text.startswith("\ufeff") else text
    return PositionFinder(without_mark, ()).spans("post")


def find_block(text: str, spans: PostSpans, post: str) -> PostBlock | None:
    """Return where the post of an id stands; None if it is none of these."""
    for first, last in spans:
        if (
            text.find(post, first, last) < 0
        ):  # parsing each one would take most of the time
            continue
        start, newline = text.rfind("\n", 0, first) + 1, text.find("\n", last)
        start += text.startswith("\ufeff", start)
        end = newline + 1 if newline >= 0 else len(text)
        if (entry := _parse_block(text[start:end])).get("id") == post:
            return PostBlock(start=start, end=end, span=(first, last), entry=entry)
    return None


def edit_block(text: str, block: PostBlock, entry: Entry | None) -> TextEdit:
    """Return a valid text with one post changed to `entry`, and nothing else changed.

    The post is removed if `entry` is None. Unchanged parts of the post keep their order, their
    comments and their quotes.
    """
    before, after, end = text[block.start : block.end], "", block.end
    if entry is not None:
        after = _edit_lines(before, entry)
    elif text[: block.start].endswith(
        ("\n\n", "\r\n\r\n")
    ):  # one empty line between the neighbours is enough
        end += len(text[end:]) - len(text[end:].removeprefix("\r\n").removeprefix("\n"))
    return TextEdit(
        text=text[: block.start] + after + text[end:], before=before, after=after
    )


def add_post(text: str, entry: Entry) -> TextEdit:
    """Return a text, valid or without any table yet, with a post added at its end."""
    newline = "\r\n" if "\r\n" in text else "\n"
    table = tomlkit.table()
    _update(
        table,
        {},
        dict(
            sorted(
                entry.items(), key=lambda item: _KEY_ORDER.get(item[0], len(_KEY_ORDER))
            )
        ),
    )
    posts = tomlkit.aot()
    posts.append(table)
    document = tomlkit.document()
    document.append("post", posts)
    after = _require_entry(tomlkit.dumps(document), entry).replace("\n", newline)
    before = remove_empty_list(text)
    if before.strip("\ufeff \t\r\n"):
        before += "" if before.endswith("\n") else newline
        before += "" if before.endswith(("\n\n", "\n\r\n")) else newline
    return TextEdit(text=before + after, before="", after=after)


def remove_empty_list(text: str) -> str:
    """Return a text without `post = []`, which says that there are no posts."""
    if _NO_POSTS.search(text) is None or tomllib.loads(text).get("post"):
        return text
    return _NO_POSTS.sub("", text, count=1)


def _parse_block(block: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(block)["post"][0]
    return found


def _edit_lines(written: str, entry: Entry) -> str:
    newline = "\r\n" if "\r\n" in written else "\n"
    lines = written.replace("\r\n", "\n")
    document = tomlkit.parse(lines)
    _update(document["post"][0], _parse_block(lines), entry)
    # a table that went may leave the empty line above it
    edited = tomlkit.dumps(document).rstrip("\n")
    return _require_entry(edited + lines[len(lines.rstrip("\n")) :], entry).replace(
        "\n", newline
    )


def _require_entry(block: str, entry: Entry) -> str:
    """Return the text of a post once it is read back as meant.

    The library must never change a word.
    """
    if not _is_same(tomllib.loads(block), {"post": [entry]}):
        raise AssertionError("the edited post reads differently")
    return block


def _update(
    table: Any,  # noqa: ANN401 # tomlkit's tables have no common type
    current: Entry,
    wanted: Entry,
    *,
    is_region: bool = False,
) -> None:
    """Change a table to the wanted one, key by key.

    An unchanged key keeps how it is written. `is_region`: each key is a region, with a table.
    """
    for key in [key for key in current if key not in wanted]:
        del table[key]
    for key, value in wanted.items():
        old = current.get(key)
        if key in current and _is_same(old, value):
            continue
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            _update(table[key], old, value, is_region=key == REGION_KEY)
        elif (
            isinstance(value, list)
            and isinstance(old, list)
            and isinstance(table[key], Array)
        ):
            _update_array(table[key], old, value)
        elif isinstance(value, Mapping) and (key in TABLE_KEYS or is_region):
            table[key] = tomlkit.table()
            _update(table[key], {}, value)
        elif isinstance(value, Mapping) and key == REGION_KEY:
            table[key] = tomlkit.table(is_super_table=True)
            _update(table[key], {}, value, is_region=True)
        else:
            table[key] = _to_item(value)


def _update_array(
    array: Array, current: Sequence[object], wanted: Sequence[object]
) -> None:
    """Change the items of a list that differ; the others keep the comments beside them."""
    for span in reversed(
        list(compare_sequences(list(map(repr, current)), list(map(repr, wanted))))
    ):
        if span.is_same:
            continue
        for position in reversed(range(span.before.start, span.before.stop)):
            del array[position]
        for offset, value in enumerate(wanted[span.after]):
            array.insert(span.before.start + offset, _to_item(value))


def _to_item(value: Any) -> Item:  # noqa: ANN401 # any value of TOML
    if isinstance(value, str):
        if "\n" not in value:
            return tomlkit.string(value)
        quoted = tomlkit.string(value, multiline=True).as_string()
        # the first line below the quotes, where people look for it; a text that begins with an
        # empty line has that
        item: Item = tomlkit.value(
            quoted if value.startswith("\n") else f'"""\n{quoted[3:]}'
        )
        return item
    if isinstance(value, Mapping):
        inline = tomlkit.inline_table()
        for key, item in value.items():
            # a multi-line text may not stand in an inline table of older TOML readers
            inline.append(
                key, tomlkit.string(item) if isinstance(item, str) else _to_item(item)
            )
        return inline
    if isinstance(value, list):
        array = tomlkit.array()
        for item in value:
            array.append(_to_item(item))
        return array
    other: Item = tomlkit.item(value)
    return other


def _is_same(one: object, other: object) -> bool:
    """True if two values of TOML are of the same types and equal: 1 is neither true nor 1.0."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(
            _is_same(one[key], other[key]) for key in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    # the second for "not a number"
    return type(one) is type(other) and (one == other or repr(one) == repr(other))


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDifference:
    """A field that two persons want differently; None stands for a field that is left out.

    `base` is the common starting value.
    """

    key: str
    base: object
    theirs: object
    mine: object

    @property
    def is_mine_unchanged(self) -> bool:
        """True if only the other person has changed it."""
        return _is_same(self.base, self.mine)


def list_fields(entry: Entry) -> dict[str, object]:
    """Return the values of a post by field: `title`, `data.summary`, `region.CODE.title`."""
    fields: dict[str, object] = {}
    for key, value in entry.items():
        if key in TABLE_KEYS and isinstance(value, Mapping):
            fields |= {f"{key}.{name}": item for name, item in value.items()}
        elif key == REGION_KEY and isinstance(value, Mapping):
            for code, words in value.items():
                fields |= {
                    f"{key}.{code}.{name}": item
                    for name, item in list_fields(words).items()
                } or {f"{key}.{code}": words}
        else:
            fields[key] = value
    return fields


def make_entry(fields: Mapping[str, object]) -> dict[str, Any]:
    """Return the post that has these fields: the inverse of `list_fields`."""
    entry: dict[str, Any] = {}
    regions: dict[str, dict[str, object]] = {}
    for field, value in fields.items():
        table, dot, name = field.partition(".")
        if dot and table in TABLE_KEYS:
            entry.setdefault(table, {})[name] = value
        elif dot and table == REGION_KEY:
            code, dot, key = name.partition(".")
            regions.setdefault(code, {}).update({key: value} if dot else {})
        else:
            entry[field] = value
    if regions:
        entry[REGION_KEY] = {code: make_entry(words) for code, words in regions.items()}
    return entry


def find_differences(
    base: Entry, theirs: Entry, mine: Entry
) -> Iterator[FieldDifference]:
    """Yield the fields that two edits of a post set differently, in the order of its keys."""
    fields = [list_fields(entry) for entry in (base, theirs, mine)]
    keys = sorted(
        {*fields[1], *fields[2]},
        key=lambda key: (_KEY_ORDER.get(key.partition(".")[0], 0), key),
    )
    for key in keys:
        values = [found.get(key) for found in fields]
        if not _is_same(values[1], values[2]):
            yield FieldDifference(
                key=key, base=values[0], theirs=values[1], mine=values[2]
            )


def is_same_entry(one: Entry, other: Entry) -> bool:
    """True if two posts say the same in every key."""
    return _is_same(one, other)
