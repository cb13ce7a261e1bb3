"""Exceptions are for bugs and broken promises; what people, platforms and networks do wrong is a value."""

from collections.abc import Mapping, Sequence
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


class PublisherError(Exception):
    """Every error of ours descends from this one."""


class IllegalTransitionError(PublisherError):
    """An event met a state that the table does not allow it in, or came from someone who may not bring it."""


class InputError(PublisherError):
    """A file of the workspace was refused as a whole; `problems` names every reason."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(", ".join(sorted({problem.code for problem in problems})))
        self.problems = tuple(problems)


class ScheduleError(InputError):
    """schedule.toml was refused; the last good version stays in force."""


class SettingsError(InputError):
    """publisher.toml was refused; nothing starts."""


class TemplateError(InputError):
    """A template does not load or does not render."""


class RefusedError(PublisherError):
    """Going on would be unsafe. `code` and `facts` say why, in the terms that messages turn into words."""

    def __init__(self, code: str, **facts: str) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


class NoSuchItemError(PublisherError):
    """A post, account or delivery that was named does not exist."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name}")
        self.what = kind
        self.name = name
