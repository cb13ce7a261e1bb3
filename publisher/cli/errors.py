"""Errors become messages and an exit code: 1 failed, 2 wrong usage, 3 refused for safety, 4 no such item."""

import errno
import socket
from collections.abc import Iterable, Mapping
from typing import Any

import click

from publisher.cli.framework import LocalizedUsageError, option_name
from publisher.cli.terminal import Terminal, display_path, echo
from publisher.domain.errors import (
    IllegalTransitionError,
    InputError,
    NoSuchItemError,
    Problem,
    PublisherError,
    RefusedError,
)
from publisher.i18n import Messages
from publisher.secrets import SecretError

EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_NOT_FOUND = 1, 2, 3, 4
RETRYABLE_REFUSALS = frozenset({"large_removal", "no_open_manual_task", "nothing_to_resolve", "clock_skew"})
"""Refusals after which the same command may work: with another option, or once the clock is set."""


class CommandFailedError(PublisherError):
    """A command cannot do what was asked; `code` and `facts` make the message."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


def report_error(error: PublisherError | OSError, terminal: Terminal) -> int:
    """Print an error with its hint to standard error; return the exit code."""
    messages, exit_code = terminal.messages, EXIT_FAILED
    code: str
    hint_code = ""
    facts: Mapping[str, object] = {}
    match error:
        case InputError():
            echo(format_problems(error.problems, messages), err=True)
            return EXIT_FAILED
        case NoSuchItemError():
            code, facts, exit_code = f"no_such_{error.what}", {"name": error.name}, EXIT_NOT_FOUND
        case RefusedError():
            code, facts = error.code, error.facts
            if "state" in facts:
                facts = {**facts, "state": messages.translate(f"state_{facts['state']}")}
            exit_code = EXIT_FAILED if code in RETRYABLE_REFUSALS else EXIT_REFUSED
        case CommandFailedError() | SecretError():
            code, facts = error.code, error.facts
        case IllegalTransitionError():
            code = "illegal_transition"
        case OSError():
            known = f"errno_{errno.errorcode.get(error.errno or 0, '')}"  # common errors have a text of ours
            known = "host_unknown" if isinstance(error, socket.gaierror) else known
            reason = messages.translate(messages.first_known(known, error.strerror or type(error).__name__))
            file = display_path(str(error.filename)) if error.filename else ""
            code, facts = "system_error_at" if file else "system_error", {"reason": reason, "file": file}
            hint_code = known
        case _:
            code, facts = "concurrent_update", {"error": type(error).__name__}
    terminal.print_note(code, **facts)
    if hint := messages.hint(hint_code or code, **facts):
        echo(f"    {hint}", err=True)
    return exit_code


def report_usage_error(error: click.UsageError, terminal: Terminal) -> int:
    """Print what is wrong with a command line, and how to get help; return the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and error.ctx:
        echo(error.ctx.get_help(), err=True)
        return EXIT_USAGE
    if error.ctx is not None:
        echo(error.ctx.get_usage(), err=True)
    terminal.print_note("see_help", command=error.ctx.command_path if error.ctx else terminal.messages.program)
    match error:
        case LocalizedUsageError():
            message = terminal.translate(error.code, param=option_name(error.param), **error.facts)
        case click.NoSuchOption():
            code = "unknown_option_close" if error.possibilities else "unknown_option"
            message = terminal.translate(code, name=error.option_name, close=", ".join(error.possibilities or ()))
        case click.MissingParameter():
            message = terminal.translate("missing_parameter", name=option_name(error.param))
        case click.BadParameter():
            message = terminal.translate("bad_parameter", name=option_name(error.param), message=error.message)
        case click.BadOptionUsage():
            code = "option_takes_no_value" if "does not take" in error.message else "option_needs_value"
            message = terminal.translate(code, name=error.option_name)
        case _:
            message = error.format_message()
    terminal.print_note("usage_error", message=message)
    return EXIT_USAGE


def format_problems(problems: Iterable[Problem], messages: Messages) -> str:
    """Format problems one a line, sorted by location, each followed by its hint on a line of its own."""
    lines = []
    for problem in sorted_problems(problems):
        at, where = problem.location, ""
        if at is not None:
            where = f"{display_path(at.file)}:{at.line}:{at.column}: " + (f"{at.path}: " if at.path else "")
        mark = "" if problem.is_error else messages.translate("warning_mark")
        lines.append(f"{where}{mark}{messages.translate(problem.code, **problem.facts)}")
        if hint := messages.hint(problem.code, **problem.facts):
            lines.append(f"    {hint}")
    return "\n".join(lines)


def sorted_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems by file, line, column and code; those without a location come first."""

    def sort_key(problem: Problem) -> tuple[str, int, int, str]:
        at = problem.location
        return (display_path(at.file), at.line, at.column, problem.code) if at else ("", 0, 0, problem.code)

    return sorted(problems, key=sort_key)


def problem_as_json(problem: Problem, messages: Messages) -> dict[str, Any]:
    at = problem.location
    return {
        "file": display_path(at.file) if at else None,
        "line": at.line if at else None,
        "column": at.column if at else None,
        "path": at.path if at else None,
        "severity": problem.severity.value,
        "code": problem.code,
        "message": messages.translate(problem.code, **problem.facts),
        "hint": messages.hint(problem.code, **problem.facts),
    }
