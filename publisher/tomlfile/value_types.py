"""Value types of both files: names, texts, times, durations."""

import re
from datetime import date, datetime, timedelta
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(ms|s|m|h|d)")
_CONTROL = re.compile("[\x00-\x1f\x7f\u2028\u2029]")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_DURATION = timedelta(days=366)
_YEARS = range(2000, 2200)


def parse_duration(value: object) -> timedelta:
    """Parse "30s", "10m", "2h", "1d" or a number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MAX_DURATION.total_seconds():
        return timedelta(seconds=value)
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or float(found[1]) * _UNITS[found[2]] > _MAX_DURATION.total_seconds():
        raise PydanticCustomError("bad_duration", "")
    return timedelta(seconds=float(found[1]) * _UNITS[found[2]])


def parse_datetime(value: object) -> datetime:
    """Validate a TOML date with time. A time without offset stays naive; the caller adds the workspace's zone."""
    if isinstance(value, datetime) and value.year in _YEARS:
        return value
    if isinstance(value, datetime):
        raise PydanticCustomError("year_out_of_range", "", {"year": value.year})
    if isinstance(value, date):
        raise PydanticCustomError("date_without_time", "", {"date": value.isoformat()})
    if isinstance(value, str) and re.match(r"\s*\d{4}-\d\d-\d\d", value):
        raise PydanticCustomError("quoted_time", "", {"value": value.strip()[:25]})
    raise PydanticCustomError("bad_time", "")


def _require_text(value: str) -> str:
    if not value or value.isspace():
        raise PydanticCustomError("blank", "")
    return value


def _require_one_line(value: str) -> str:
    if _CONTROL.search(value):
        raise PydanticCustomError("not_one_line", "")
    return _require_text(value)


DATETIME_SCHEMA = {"anyOf": [{"type": "string", "format": form} for form in ("date-time-local", "date-time")]}

DateTimeValue: TypeAlias = Annotated[datetime, PlainValidator(parse_datetime), WithJsonSchema(DATETIME_SCHEMA)]
DurationValue: TypeAlias = Annotated[
    timedelta,
    PlainValidator(parse_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$"}, {"type": "number", "minimum": 0}]}
    ),
]
Identifier: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")]
NonBlankText: TypeAlias = Annotated[str, AfterValidator(_require_text)]
SingleLine: TypeAlias = Annotated[str, AfterValidator(_require_one_line)]
