"""Validate tables with pydantic, and define the types of values.

Its errors are translated into our problem codes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any, TypeAlias, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from publisher.tomlfile.syntax import EXAMPLE_TIME, suggest_time

KeyPath = tuple[str | int, ...]

_MAX_ERRORS = 1000
"""With more errors than this only their number is reported: listing them would exhaust memory."""


class StrictModel(BaseModel):
    """A TOML table that allows only the declared keys, and converts no types."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True
    )


StrictModelType = TypeVar("StrictModelType", bound=StrictModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlocatedProblem:
    """A problem without line and column: `path` is the path of the value.

    With `is_at_key` it points at the key. `line_facts` are facts that give the line of another
    value.
    """

    path: KeyPath
    code: str
    facts: Mapping[str, str] = field(default_factory=dict)
    is_at_key: bool = False
    line_facts: Mapping[str, KeyPath] = field(default_factory=dict)


PLACEHOLDER = "change-me"
"""The value in a printed sample for staff to replace.

A post with this id is refused.
"""
_EXAMPLE_HOST = re.compile(
    r"(?<![\w-])(?:[\w-]+\.)*example(?:\.[a-z]{2,}){1,2}(?![\w-])"
    r"|(?<![\d.])(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}(?!\d)"
)
"""Hosts and addresses that are reserved for examples (RFC 2606, RFC 5737), or look like one."""


def find_placeholders(value: object, path: KeyPath = ()) -> Iterator[UnlocatedProblem]:
    """Yield each text in tables and lists that is still a sample's.

    It may also have a host that is reserved for examples.
    """
    match value:
        case str():
            facts = {"key": str(path[-1]), "value": value[:80]}
            if PLACEHOLDER in value:
                yield UnlocatedProblem(path=path, code="placeholder_left", facts=facts)
            elif found := _EXAMPLE_HOST.search(value):
                yield UnlocatedProblem(
                    path=path, code="example_host", facts={**facts, "host": found[0]}
                )
        case Mapping():
            for key, item in value.items():
                yield from find_placeholders(item, (*path, key))
        case list():
            for number, item in enumerate(value):
                yield from find_placeholders(item, (*path, number))


_EXAMPLES = {
    "string_type": '"…"',
    "int_type": "10",
    "bool_type": "true / false",
    "list_type": '["…"]',
    "dict_type": "[…]",
    "model_type": "[…]",
}
"""An example of the required type, by pydantic's error type."""


def validate_table(
    model: type[StrictModelType], value: object, base_path: KeyPath = ()
) -> StrictModelType | list[UnlocatedProblem]:
    """Validate a value as a table; return all its problems if it is invalid."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        if error.error_count() > _MAX_ERRORS:
            return [
                UnlocatedProblem(
                    path=base_path,
                    code="more_problems",
                    facts={"number": str(error.error_count())},
                )
            ]
        problems = []
        for details in error.errors(include_url=False):
            path = tuple(part for part in details["loc"] if part != "[key]")
            key = str(path[-1]) if path else ""
            is_at_key = details["type"] == "extra_forbidden"
            if is_at_key:
                code = "unknown_key"
                facts = {"choices": suggest_closest(key, _list_keys(model, path))}
            else:
                code, facts = _translate_error(details)
            facts = {"key": key, "example": f"{key} = …", **facts}
            problems.append(
                UnlocatedProblem(
                    path=(*base_path, *path),
                    code=code,
                    facts=facts,
                    is_at_key=is_at_key,
                )
            )
        return problems


def suggest_closest(word: str, known: Iterable[str]) -> str:
    """Return the known word most similar to `word`, ignoring case.

    Return the first 20 if none is similar.
    """
    choices = {str(choice).casefold(): str(choice) for choice in known}
    closest = get_close_matches(word.casefold(), choices, n=1, cutoff=0.6)
    return ", ".join([choices[found] for found in closest] or [*choices.values()][:20])


def _translate_error(details: ErrorDetails) -> tuple[str, dict[str, str]]:  # noqa: C901, PLR0912 # one flat match
    """Return our code and facts for a pydantic error."""
    value, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "list_type" if isinstance(value, Mapping):
            return "single_brackets", {}
        case "bool_type" if isinstance(value, str) and value.strip().lower() in {
            "true",
            "false",
        }:
            return "quoted_bool", {"value": value.strip().lower()}
        case "list_type" if isinstance(value, str):
            return "wrong_type", {"example": f'["{_shorten(value)}"]'}
        case kind if kind in _EXAMPLES:
            return "wrong_type", {"example": _EXAMPLES[kind]}
        case "missing":
            return "missing_key", {}
        case "literal_error" | "enum":
            choices = (
                context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
            )
            closest = get_close_matches(str(value).lower(), choices, n=1)
            return "not_one_of", {
                "value": _shorten(value),
                "choices": ", ".join(dict.fromkeys([*closest, *choices])),
            }
        case "too_long" if isinstance(value, list):
            return "too_many", {
                "most": str(context["max_length"]),
                "number": str(len(value)),
            }
        case "string_too_long" | "too_long":
            return "value_too_long", {
                "most": str(context["max_length"]),
                "length": str(len(value)),
            }
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
    """Return the keys that are allowed beside the last part of a path."""
    for part in path[:-1]:
        by_key = {info.alias or name: info for name, info in model.model_fields.items()}
        if part in by_key:
            model = _find_model(by_key[str(part)].annotation) or model
    return [info.alias or name for name, info in model.model_fields.items()]


def _find_model(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(
        (table for inner in get_args(annotation) if (table := _find_model(inner))), None
    )


def _shorten(value: object) -> str:
    return str(value)[:40]


_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(ms|s|m|h|d)")
_CONTROL = re.compile("[\x00-\x1f\x7f\u2028\u2029]")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_DURATION = timedelta(days=366)
_YEARS = range(2000, 2200)


def parse_duration(value: object) -> timedelta:
    """Parse "30s", "10m", "2h", "1d" or a number of seconds; accept a duration from code."""
    if isinstance(value, timedelta):
        return value
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= _MAX_DURATION.total_seconds()
    ):
        return timedelta(seconds=value)
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if (
        found is None
        or float(found[1]) * _UNITS[found[2]] > _MAX_DURATION.total_seconds()
    ):
        raise PydanticCustomError("bad_duration", "")
    return timedelta(seconds=float(found[1]) * _UNITS[found[2]])


def format_duration(value: timedelta) -> str:
    """Return a duration as it is written in a file, in the largest unit without a fraction."""
    seconds = value.total_seconds()
    return next(
        f"{seconds / size:.0f}{unit}"
        for unit, size in reversed(_UNITS.items())
        if (seconds / size).is_integer() or unit == "ms"
    )


class FileSchema(GenerateJsonSchema):
    """Makes the JSON Schema of a file, with defaults as the file has them."""

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401 # as pydantic calls it
        return (
            format_duration(dft)
            if isinstance(dft, timedelta)
            else super().encode_default(dft)
        )


def parse_datetime(value: object) -> datetime:
    """Validate a TOML date with time.

    A time without offset stays naive; the caller adds the workspace's zone.
    """
    if isinstance(value, datetime) and value.year in _YEARS:
        return value
    if isinstance(value, datetime):
        raise PydanticCustomError("year_out_of_range", "", {"year": value.year})
    if isinstance(value, date):
        raise PydanticCustomError("date_without_time", "", {"date": value.isoformat()})
    if isinstance(value, str) and re.match(r"\s*\d{4}-\d\d-\d\d", value):
        raise PydanticCustomError("quoted_time", "", {"example": suggest_time(value)})
    raise PydanticCustomError(
        "bad_time",
        "",
        {"example": suggest_time(value) if isinstance(value, str) else EXAMPLE_TIME},
    )


def require_text(value: str) -> str:
    if not value or value.isspace():
        raise PydanticCustomError("blank", "")
    return value


def require_one_line(value: str) -> str:
    if _CONTROL.search(value):
        raise PydanticCustomError("not_one_line", "")
    return require_text(value)


DATETIME_SCHEMA = {
    "anyOf": [
        {"type": "string", "format": form} for form in ("date-time-local", "date-time")
    ]
}

DateTimeValue: TypeAlias = Annotated[
    datetime, PlainValidator(parse_datetime), WithJsonSchema(DATETIME_SCHEMA)
]
DurationValue: TypeAlias = Annotated[
    timedelta,
    PlainValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$"},
                {"type": "number", "minimum": 0},
            ]
        }
    ),
]
Identifier: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")]
NonBlankText: TypeAlias = Annotated[str, AfterValidator(require_text)]
SingleLine: TypeAlias = Annotated[str, AfterValidator(require_one_line)]
