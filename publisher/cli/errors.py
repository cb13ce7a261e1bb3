"""From trouble to words and an exit code: 1 something failed, 2 wrong usage, 3 refused for safety, 4 no such thing."""

import errno
from collections.abc import Iterable, Mapping
from typing import Any

import click

from publisher.cli.framework import LocalizedUsageError, option_name
from publisher.cli.terminal import Terminal, display_path, echo
from publisher.domain.errors import (
    IllegalTransitionError,
    InputError,
    Location,
    NoSuchItemError,
    Problem,
    PublisherError,
    RefusedError,
)
from publisher.i18n import Messages
from publisher.secrets import SecretError

EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_NOT_FOUND = 1, 2, 3, 4
RETRYABLE_REFUSALS = frozenset({"large_removal", "no_open_manual_task", "nothing_to_resolve", "clock_skew"})
"""Refusals after which trying again may do: with another word from the user, or once the clock has been set."""


class CommandFailedError(PublisherError):
    """A command cannot do what was asked, and says why in words."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


def report_error(error: PublisherError | OSError, terminal: Terminal) -> int:
    """Put an error into words on standard error; give the exit code."""
    messages = terminal.messages
    match error:
        case InputError():
            echo(format_problems(error.problems, messages), err=True)
            return EXIT_FAILED
        case NoSuchItemError():
            _print_error(terminal, f"no_such_{error.what}", name=error.name)
            return EXIT_NOT_FOUND
        case RefusedError():
            _print_error(terminal, error.code, **_localize_facts(error.facts, messages))
            return EXIT_FAILED if error.code in RETRYABLE_REFUSALS else EXIT_REFUSED
        case CommandFailedError() | SecretError():
            _print_error(terminal, error.code, **error.facts)
        case IllegalTransitionError():
            _print_error(terminal, "illegal_transition")
        case OSError():
            _print_error(terminal, "system_error", reason=_format_os_error(error, messages), file=error.filename or "")
        case _:
            _print_error(terminal, "concurrent_update", error=type(error).__name__)
    return EXIT_FAILED


def report_usage_error(error: click.UsageError, terminal: Terminal) -> int:
    """Tell what was wrong with a command line, and where its help stands."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and error.ctx:
        echo(error.ctx.get_help(), err=True)
        return EXIT_USAGE
    if error.ctx is not None:
        echo(error.ctx.get_usage(), err=True)
    terminal.print_note("see_help", command=error.ctx.command_path if error.ctx else "publisher")
    terminal.print_note("usage_error", message=_format_usage_error(error, terminal.messages))
    return EXIT_USAGE


def _format_usage_error(error: click.UsageError, messages: Messages) -> str:
    match error:
        case LocalizedUsageError():
            return messages.translate(error.code, **error.facts)
        case click.NoSuchOption():
            code = "unknown_option_close" if error.possibilities else "unknown_option"
            return messages.translate(code, name=error.option_name, close=", ".join(error.possibilities or ()))
        case click.MissingParameter():
            return messages.translate("missing_parameter", name=option_name(error.param))
        case click.BadParameter():
            return messages.translate("bad_parameter", name=option_name(error.param), message=error.message)
        case click.BadOptionUsage():
            wants_value = "does not take" not in error.message
            code = "option_needs_value" if wants_value else "option_takes_no_value"
            return messages.translate(code, name=error.option_name)
        case _:
            return error.format_message()


def _format_os_error(error: OSError, messages: Messages) -> str:
    """Put the errors that people meet into words; the rest in the system's own."""
    code = f"errno_{errno.errorcode.get(error.errno or 0, '')}"
    return messages.translate(code) if code in messages.entries else error.strerror or type(error).__name__


def _localize_facts(facts: Mapping[str, str], messages: Messages) -> dict[str, str]:
    """Put a delivery's state into words."""
    return {name: messages.translate(f"state_{fact}") if name == "state" else fact for name, fact in facts.items()}


def _print_error(terminal: Terminal, code: str, /, **facts: object) -> None:
    terminal.print_note(code, **facts)
    if hint := terminal.messages.hint(code, **facts):
        echo(f"    {hint}", err=True)


def format_problems(problems: Iterable[Problem], messages: Messages) -> str:
    """Write problems one a line, sorted by place, each with its hint on a line of its own."""
    lines = []
    for problem in sorted_problems(problems):
        mark = "" if problem.is_error else messages.translate("warning_mark")
        lines.append(f"{_format_location(problem.location)}{mark}{messages.translate(problem.code, **problem.facts)}")
        if hint := messages.hint(problem.code, **problem.facts):
            lines.append(f"    {hint}")
    return "\n".join(lines)


def _format_location(place: Location | None) -> str:
    if place is None:
        return ""
    path = f"{place.path}: " if place.path else ""
    return f"{display_path(place.file)}:{place.line}:{place.column}: {path}"


def sorted_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems as they stand in the files."""
    return sorted(problems, key=lambda problem: (_sort_key(problem.location), problem.code))


def _sort_key(place: Location | None) -> tuple[str, int, int]:
    return (display_path(place.file), place.line, place.column) if place else ("", 0, 0)


def problem_as_json(problem: Problem, messages: Messages) -> dict[str, Any]:
    """Give a problem for machines."""
    place = problem.location
    return {
        "file": display_path(place.file) if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "path": place.path if place else None,
        "severity": problem.severity.value,
        "code": problem.code,
        "message": messages.translate(problem.code, **problem.facts),
        "hint": messages.hint(problem.code, **problem.facts),
    }
