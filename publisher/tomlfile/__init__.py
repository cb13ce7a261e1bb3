"""TOML files that people write: read safely, checked as a whole, every problem with its line and column."""

from publisher.tomlfile.checking import Flaw, Loc, Table, check, close_to
from publisher.tomlfile.reading import Limits, TomlFile, parse_toml, read_text, read_toml
from publisher.tomlfile.values import Duration, Identifier, Line, Moment, Words

__all__ = [
    "Duration",
    "Flaw",
    "Identifier",
    "Limits",
    "Line",
    "Loc",
    "Moment",
    "Table",
    "TomlFile",
    "Words",
    "check",
    "close_to",
    "parse_toml",
    "read_text",
    "read_toml",
]
