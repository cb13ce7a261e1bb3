"""The inputs of a template's fields by their types: filled from a value, read into one. Pure.

An input holds one text. A person, a period or a figure has an input for each part, and a list of
them repeats these inputs, a row for each item.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import zip_longest
from typing import Final

from publisher.domain.values import FieldForm
from publisher.rendering.templates import TemplateSample

Fields = Mapping[str, Sequence[str]]
"""The content of a form: the values of each field, in order."""
_PERSON: Final = ("name", "sex", "age", "alias")
_PERIOD: Final = ("from", "to")
_FIGURE: Final = ("value", "before", "compare", "unit")
_PARTS: Final[Mapping[str, Sequence[str]]] = {
    "person": _PERSON,
    "persons": _PERSON,
    "period": _PERIOD,
    "week": _PERIOD,
    "half-year": _PERIOD,
    "count": ("value", "unit"),
    "figure": _FIGURE,
    "figures": ("name", *_FIGURE),
}
_ROWS: Final = frozenset({"persons", "figures", "table"})
_NUMBERS: Final = frozenset({"value", "before", "age"})
_DAYS: Final = frozenset({"from", "to"})
_CHOSEN: Final = frozenset({"alias", "compare", "unit"})
"""Parts that make no item by themselves."""
_FLAGS: Final = {"true": True, "是": True, "false": False, "否": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedField:
    """A field of a template as inputs. A field without a form has the type of its example."""

    key: str
    form: FieldForm
    parts: Sequence[str] = ()
    """The names of its inputs; none for a field of one input."""

    @property
    def has_rows(self) -> bool:
        return self.form.type in _ROWS

    @property
    def names(self) -> Sequence[str]:
        """The names of its inputs in the form."""
        field = f"data.{self.key}"
        return [f"{field}.{part}" for part in self.parts] or [field]

    def fill(self, value: object) -> dict[str, list[str]]:
        """Return the contents of its inputs. A value of another shape stands in the first one."""
        rows = value if self.has_rows and isinstance(value, list) else [value]
        if not self.parts:
            return {self.names[0]: [format_value(value)]}
        first = "value" if "value" in self.parts else self.parts[0]
        tables = [row if isinstance(row, Mapping) else {first: row} for row in rows]
        return {
            name: [format_value(table.get(part, "")) for table in tables]
            for name, part in zip(self.names, self.parts, strict=True)
        }

    def read(self, fields: Fields) -> object:
        """Return the value of its inputs, None if all are blank.

        What cannot be read stays a text, for the check to refuse.
        """
        columns = [
            [text.strip() for text in fields.get(name, ())] for name in self.names
        ]
        if not self.parts:
            return read_single("".join(columns[0][:1]), self.form.type)
        rows = [
            self.read_parts(dict(zip(self.parts, row, strict=True)))
            for row in zip_longest(*columns, fillvalue="")
            if any(
                text
                for part, text in zip(self.parts, row, strict=True)
                if part not in _CHOSEN
            )
        ]
        if self.has_rows:
            return rows or None
        return rows[0] if rows else None

    def read_parts(self, texts: Mapping[str, str]) -> object:
        if self.form.type == "table":
            return dict(texts)
        given = {part: text for part, text in texts.items() if text}
        if self.form.type in {"count", "figure"} and given.keys() == {"value"}:
            number = read_number(given["value"])
            return number if self.form.type == "count" else {"value": number}
        return {part: read_part(part, text) for part, text in given.items()}


def read_part(part: str, text: str) -> object:
    if part in _NUMBERS:
        return read_number(text.removesuffix("岁").strip() if part == "age" else text)
    if part in _DAYS:
        return read_iso(date.fromisoformat, text)
    return _FLAGS.get(text, text) if part == "alias" else text


def read_single(text: str, kind: str) -> object:
    """Return the value of a field of one input, None for a blank one."""
    if not text:
        return None
    match kind:
        case "lines":
            return [line.strip() for line in text.split("\n") if line.strip()] or None
        case "money" | "number":
            return read_number(text)
        case "day" | "coming-day":
            return read_iso(date.fromisoformat, text)
        case "time":
            return read_iso(datetime.fromisoformat, text)
        case "flag":
            return _FLAGS.get(text.lower(), text)
        case _:
            return text


def read_number(text: str) -> int | str:
    digits = text.replace(",", "").replace("，", "")
    number = digits.removeprefix("-")
    is_number = number.isascii() and number.isdecimal() and len(number) < 20
    return int(digits) if is_number else text


def read_iso(read: Callable[[str], date], text: str) -> date | str:
    try:
        return read(text)
    except ValueError:
        return text


def format_value(value: object) -> str:
    """Return a single value as an input holds it; a list has a line for each item."""
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return "\n".join(map(format_value, value))
        case Mapping():
            return " = ".join(map(format_value, value.values()))
        case datetime():
            return value.isoformat(timespec="seconds" if value.second else "minutes")
        case _:
            return str(value)


def list_template_fields(sample: TemplateSample) -> Sequence[TypedField]:
    """Return the fields of a template, the needed ones first."""
    return [make_field(sample, key) for key in (*sample.needs, *sample.offers)]


def make_field(sample: TemplateSample, key: str) -> TypedField:
    example = sample.example(key)
    form = sample.forms.get(key) or FieldForm(type=find_type(key, example))
    parts = _PARTS.get(form.type, ())
    if form.type == "table" and isinstance(example, list):
        parts = tuple(example[0])
    return TypedField(key=key, form=form, parts=parts)


def find_type(key: str, example: object) -> str:
    """Return the type of a field without a form."""
    match example:
        case [Mapping(), *_]:
            return "table"
        case list():
            return "lines"
        case bool():
            return "flag"
        case int():
            return "number"
        case datetime():
            return "time"
        case date():
            return "day"
        case _:
            return "text" if key == "summary" else "line"
