"""Exceptions for bugs and unsafe situations.

Errors of people, platforms and networks are values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A position in a file.

    Line and column count from 1. `path` is the dotted key, such as `post[0].at`.
    """

    file: str
    line: int = 1
    column: int = 1
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem. `code` is a key of the message catalogue, `facts` fill its placeholders."""

    code: str
    location: Location | None = None
    severity: Severity = Severity.ERROR
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR


class PublisherError(Exception):
    """Base class of all errors of this package."""


class IllegalTransitionError(PublisherError):
    """The transition table does not allow the event in this state or from this role."""


class InputError(PublisherError):
    """A file of the workspace was rejected as a whole; `problems` lists every reason."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(", ".join(sorted({problem.code for problem in problems})))
        self.problems = tuple(problems)


class ScheduleError(InputError):
    """schedule.toml was rejected; the last accepted version stays active."""


class SettingsError(InputError):
    """publisher.toml was rejected; nothing starts."""


class TemplateError(InputError):
    """A template does not load or does not render."""


class RefusedError(PublisherError):
    """Continuing would be unsafe. `code` and `facts` give the reason for the message catalogue."""

    def __init__(self, code: str, **facts: str) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


class ApprovalError(PublisherError):
    """A person's approval does not count, or cannot be ended. `code` and `facts` say why."""

    def __init__(self, code: str, **facts: str) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


class SignInError(RefusedError):
    """Nobody with the right to do this has proved their identity."""


class NoSuchItemError(PublisherError):
    """A named post, account or delivery does not exist.

    `known` are existing names, used to suggest one of them.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str] = ()) -> None:
        super().__init__(f"{kind} {name}")
        self.what = kind
        self.name = name
        self.known = tuple(known)
