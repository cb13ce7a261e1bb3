"""What is wrong with somebody's input, in codes and facts; `messages` finds the words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where in a file: line and column count from 1; `path` is the dotted key, such as `post[0].at`."""

    file: str
    line: int = 1
    column: int = 1
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong. `code` is a key of the message catalogue, `facts` fill its blanks."""

    code: str
    location: Location | None = None
    severity: Severity = Severity.ERROR
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR
