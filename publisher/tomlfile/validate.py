"""What pydantic finds wrong, in our own codes: nobody is shown its English."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]

_MAX_ERRORS = 1000
"""A table with more mistakes than this is not listed mistake by mistake: the list would be the bomb."""


class StrictModel(BaseModel):
    """A TOML table that allows the declared keys only, and takes no value for another type's."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


StrictModelType = TypeVar("StrictModelType", bound=StrictModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlocatedProblem:
    """A problem before it has a line: `loc` is the way to the value, `at_key` points at the key instead.

    `lines` are facts that name the line of another value.
    """

    path: KeyPath
    code: str
    facts: Mapping[str, str] = field(default_factory=dict)
    is_at_key: bool = False
    line_facts: Mapping[str, KeyPath] = field(default_factory=dict)


_EXAMPLES = {
    "string_type": '"…"',
    "int_type": "10",
    "bool_type": "true / false",
    "list_type": '["…"]',
    "dict_type": "[…]",
    "model_type": "[…]",
}
"""How a value of the wanted type is written, by pydantic's name for its absence."""


def validate_table(
    model: type[StrictModelType], value: object, base_path: KeyPath = ()
) -> StrictModelType | list[UnlocatedProblem]:
    """Read a value as a table, or give everything that is wrong with it."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        if error.error_count() > _MAX_ERRORS:
            return [UnlocatedProblem(path=base_path, code="more_problems", facts={"number": str(error.error_count())})]
        return [_to_problem(model, found, base_path) for found in error.errors(include_url=False)]


def suggest_closest(word: str, known: Iterable[str]) -> str:
    """Give what somebody probably meant; all that can be said, when nothing is near."""
    choices = [str(choice) for choice in known]
    return ", ".join(get_close_matches(word, choices, n=1, cutoff=0.6) or choices[:20])


def _to_problem(model: type[StrictModel], found: ErrorDetails, base_path: KeyPath) -> UnlocatedProblem:
    loc = tuple(part for part in found["loc"] if part != "[key]")
    at_key = found["type"] == "extra_forbidden"
    key = str(loc[-1]) if loc else ""
    if at_key:
        code, facts = "unknown_key", {"choices": suggest_closest(key, _list_keys(model, loc))}
    else:
        code, facts = _wrong_type(found) or _wrong_value(found)
    return UnlocatedProblem(path=(*base_path, *loc), code=code, facts={"key": key, **facts}, is_at_key=at_key)


def _wrong_type(found: ErrorDetails) -> tuple[str, dict[str, str]] | None:
    kind, value = found["type"], found["input"]
    if kind == "list_type" and isinstance(value, Mapping):
        return "single_brackets", {}
    if kind == "list_type" and isinstance(value, str):
        return "wrong_type", {"example": f'["{_shorten(value)}"]'}
    return ("wrong_type", {"example": _EXAMPLES[kind]}) if kind in _EXAMPLES else None


def _wrong_value(found: ErrorDetails) -> tuple[str, dict[str, str]]:
    value, context = found["input"], found.get("ctx", {})
    match found["type"]:
        case "missing":
            return "missing_key", {}
        case "literal_error" | "enum":
            choices = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
            return "not_one_of", {"value": _shorten(value), "choices": ", ".join(choices)}
        case "too_long" if isinstance(value, list):
            return "too_many", {"most": str(context["max_length"]), "number": str(len(value))}
        case "string_too_long" | "too_long":
            return "value_too_long", {"most": str(context["max_length"]), "length": str(len(value))}
        case "too_short":
            return "blank", {}
        case "string_pattern_mismatch":
            return "bad_name", {"value": _shorten(value)}
        case "greater_than_equal":
            return "too_small", {"least": str(context["ge"])}
        case "less_than_equal":
            return "too_great", {"most": str(context["le"])}
        case kind:
            return kind, {name: str(fact) for name, fact in context.items()}


def _list_keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """Give the keys that the table around a path's last part allows."""
    for part in path[:-1]:
        by_key = {info.alias or name: info for name, info in model.model_fields.items()}
        if part in by_key:
            model = _find_model(by_key[str(part)].annotation) or model
    return [info.alias or name for name, info in model.model_fields.items()]


def _find_model(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((table for inner in get_args(annotation) if (table := _find_model(inner))), None)


def _shorten(value: object) -> str:
    return str(value)[:40]
