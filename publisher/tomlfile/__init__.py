"""TOML files that people write: read safely, checked as a whole, every problem with its line and column."""

from publisher.tomlfile.read import ReadLimits, TomlDocument, parse_toml, read_text, read_toml
from publisher.tomlfile.validate import KeyPath, StrictModel, UnlocatedProblem, suggest_closest, validate_table
from publisher.tomlfile.value_types import DateTimeValue, DurationValue, Identifier, NonBlankText, SingleLine

__all__ = [
    "DateTimeValue",
    "DurationValue",
    "Identifier",
    "KeyPath",
    "NonBlankText",
    "ReadLimits",
    "SingleLine",
    "StrictModel",
    "TomlDocument",
    "UnlocatedProblem",
    "parse_toml",
    "read_text",
    "read_toml",
    "suggest_closest",
    "validate_table",
]
