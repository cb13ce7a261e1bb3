"""What pydantic finds wrong, in our own codes: nobody is shown its English."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

Loc = tuple[str | int, ...]

_MOST_ERRORS = 1000
"""A table with more mistakes than this is not listed mistake by mistake: the list would be the bomb."""


class Table(BaseModel):
    """A TOML table that allows the declared keys only, and takes no value for another type's."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


TableType = TypeVar("TableType", bound=Table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """A problem before it has a line: `loc` is the way to the value, `at_key` points at the key instead.

    `lines` are facts that name the line of another value.
    """

    loc: Loc
    code: str
    facts: Mapping[str, str] = field(default_factory=dict)
    at_key: bool = False
    lines: Mapping[str, Loc] = field(default_factory=dict)


_EXAMPLES = {
    "string_type": '"…"',
    "int_type": "10",
    "bool_type": "true / false",
    "list_type": '["…"]',
    "dict_type": "[…]",
    "model_type": "[…]",
}
"""How a value of the wanted type is written, by pydantic's name for its absence."""


def check(model: type[TableType], value: object, loc: Loc = ()) -> TableType | list[Flaw]:
    """Read a value as a table, or give everything that is wrong with it."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        if error.error_count() > _MOST_ERRORS:
            return [Flaw(loc=loc, code="more_problems", facts={"number": str(error.error_count())})]
        return [_flaw(model, found, loc) for found in error.errors(include_url=False)]


def close_to(word: str, known: Iterable[str]) -> str:
    """Give what somebody probably meant; all that can be said, when nothing is near."""
    choices = [str(choice) for choice in known]
    return ", ".join(get_close_matches(word, choices, n=1, cutoff=0.6) or choices[:20])


def _flaw(model: type[Table], found: ErrorDetails, outer: Loc) -> Flaw:
    loc = tuple(part for part in found["loc"] if part != "[key]")
    at_key = found["type"] == "extra_forbidden"
    key = str(loc[-1]) if loc else ""
    if at_key:
        code, facts = "unknown_key", {"choices": close_to(key, _keys_at(model, loc))}
    else:
        code, facts = _wrong_type(found) or _wrong_value(found)
    return Flaw(loc=(*outer, *loc), code=code, facts={"key": key, **facts}, at_key=at_key)


def _wrong_type(found: ErrorDetails) -> tuple[str, dict[str, str]] | None:
    kind, value = found["type"], found["input"]
    if kind == "list_type" and isinstance(value, Mapping):
        return "single_brackets", {}
    if kind == "list_type" and isinstance(value, str):
        return "wrong_type", {"example": f'["{_show(value)}"]'}
    return ("wrong_type", {"example": _EXAMPLES[kind]}) if kind in _EXAMPLES else None


def _wrong_value(found: ErrorDetails) -> tuple[str, dict[str, str]]:
    value, context = found["input"], found.get("ctx", {})
    match found["type"]:
        case "missing":
            return "missing_key", {}
        case "literal_error" | "enum":
            choices = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
            return "not_one_of", {"value": _show(value), "choices": ", ".join(choices)}
        case "too_long" if isinstance(value, list):
            return "too_many", {"most": str(context["max_length"]), "number": str(len(value))}
        case "string_too_long" | "too_long":
            return "value_too_long", {"most": str(context["max_length"]), "length": str(len(value))}
        case "too_short":
            return "blank", {}
        case "string_pattern_mismatch":
            return "bad_name", {"value": _show(value)}
        case "greater_than_equal":
            return "too_small", {"least": str(context["ge"])}
        case "less_than_equal":
            return "too_great", {"most": str(context["le"])}
        case kind:
            return kind, {name: str(fact) for name, fact in context.items()}


def _keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """Give the keys that the table around a path's last part allows."""
    for part in loc[:-1]:
        by_key = {info.alias or name: info for name, info in model.model_fields.items()}
        if part in by_key:
            model = _table_in(by_key[str(part)].annotation) or model
    return [info.alias or name for name, info in model.model_fields.items()]


def _table_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((table for inner in get_args(annotation) if (table := _table_in(inner))), None)


def _show(value: object) -> str:
    return str(value)[:40]
