"""Error messages and exit codes: 1 failed, 2 wrong usage, 3 refused for safety, 4 no such item."""

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import click

from publisher.cli.framework import LocalizedUsageError, option_name
from publisher.cli.terminal import Terminal, display_path, echo, shorten, text_width
from publisher.domain.characters import escape_forbidden
from publisher.domain.errors import (
    ApprovalError,
    IllegalTransitionError,
    InputError,
    NoSuchItemError,
    Problem,
    PublisherError,
    RefusedError,
    SignInError,
)
from publisher.i18n import Messages, find_post
from publisher.runtime.redaction import redact_text
from publisher.secrets import SecretError

EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_NOT_FOUND = 1, 2, 3, 4
RETRYABLE_REFUSALS = frozenset({
    "large_removal", "settings_removal", "no_removal_waits",
    "no_open_manual_task", "nothing_to_resolve", "clock_skew", "worker_name_taken",
    "sign_in_delayed", "code_wrong",
    "password_too_short", "password_too_long", "password_guessable", "user_name_unusable",
})  # fmt: skip
"""Refusals that may not recur with the same command.

It needs other input, or the clock has to be set, or a wait has to be over.
"""


class CommandFailedError(PublisherError):
    """A command cannot carry out its task; `code` and `facts` make the message."""

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
            terminal.print_error(
                format_problems(error.problems, messages), "", "input_refused"
            )
            return EXIT_FAILED
        case NoSuchItemError():
            close = ", ".join(get_close_matches(error.name, error.known))
            code = f"no_such_{error.what}"
            facts = {"name": error.name, "choices": close}
            exit_code = EXIT_NOT_FOUND
            hint_code = "did_you_mean" if close else ""
        case RefusedError():
            code, facts = error.code, error.facts
            if "state" in facts:
                facts = {
                    **facts,
                    "state": messages.translate(f"state_{facts['state']}"),
                }
            exit_code = EXIT_FAILED if code in RETRYABLE_REFUSALS else EXIT_REFUSED
        case CommandFailedError() | SecretError() | ApprovalError():
            code, facts = error.code, error.facts
        case IllegalTransitionError():
            code = "illegal_transition"
        case OSError():
            code, facts, hint_code = describe_system_error(error, messages)
        case _:
            code, facts = "concurrent_update", {"error": type(error).__name__}
    hint = messages.hint(hint_code or code, **facts)
    # docs/refusals.md has it
    shows_code = exit_code == EXIT_REFUSED and not isinstance(error, SignInError)
    terminal.print_error(
        terminal.translate(code, **facts), hint, code, shows_code=shows_code
    )
    return exit_code


def describe_system_error(
    error: OSError, messages: Messages
) -> tuple[str, Mapping[str, str], str]:
    """Return the code and facts of the message for a system error, and the code of its hint."""
    if isinstance(error, socket.gaierror):
        known = "host_unknown"
    else:
        known = f"errno_{errno.errorcode.get(error.errno or 0, '')}"
    words = messages.first_known(known, error.strerror or type(error).__name__)
    file = display_path(str(error.filename)) if error.filename else ""
    code = "system_error_at" if file else "system_error"
    return code, {"reason": messages.translate(words), "file": file}, known


def report_usage_error(error: click.UsageError, terminal: Terminal) -> int:
    """Print the error of a command line, and how to get help; return the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and error.ctx:
        echo(error.ctx.get_help(), err=True)
        return EXIT_USAGE
    if error.ctx is not None:
        echo(error.ctx.get_usage(), err=True)
    terminal.print_note(
        "see_help",
        command=error.ctx.command_path if error.ctx else terminal.messages.program,
    )
    match error:
        case LocalizedUsageError():
            message = terminal.translate(
                error.code, param=option_name(error.param), **error.facts
            )
        case click.NoSuchOption():
            code = "unknown_option_close" if error.possibilities else "unknown_option"
            message = terminal.translate(
                code, name=error.option_name, close=", ".join(error.possibilities or ())
            )
        case click.MissingParameter():
            message = terminal.translate(
                "missing_parameter", name=option_name(error.param)
            )
        case click.BadParameter():
            message = terminal.translate(
                "bad_parameter", name=option_name(error.param), message=error.message
            )
        case click.BadOptionUsage():
            code = (
                "option_takes_no_value"
                if "does not take" in error.message
                else "option_needs_value"
            )
            message = terminal.translate(code, name=error.option_name)
        case _:
            message = error.format_message()
    terminal.print_note("usage_error", message=message)
    if isinstance(error, LocalizedUsageError) and (
        hint := terminal.messages.hint(error.code, **error.facts)
    ):
        echo(f"    {hint}", err=True)
    return EXIT_USAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSource:
    """The text of a schedule with its problems, and its post ids in order, `?` for none."""

    file: str
    text: str
    post_ids: Sequence[str] = ()


def format_problems(
    problems: Iterable[Problem],
    messages: Messages,
    source: ScheduleSource | None = None,
) -> str:
    """Format problems, errors first: one line each, then its hint.

    A problem of `source` has its line below it, with a mark under the column, and calls its post by
    number and id.
    """
    lines = []
    source_lines = source.text.split("\n") if source is not None else []
    for problem in sorted_problems(problems):
        at, where = problem.location, ""
        is_quoted = source is not None and at is not None and at.file == source.file
        if at is not None:
            key = messages.name_key(
                at.path, source.post_ids if is_quoted and source is not None else ()
            )
            where = f"{display_path(at.file)}:{at.line}:{at.column}: " + (
                f"{key}: " if key else ""
            )
        mark = "" if problem.is_error else messages.translate("warning_mark")
        lines.append(f"{where}{mark}{messages.describe(problem)}")
        if (
            at is not None
            and is_quoted
            and problem.code not in UNQUOTED_CODES
            and at.line <= len(source_lines)
        ):
            lines += quote_line(source_lines[at.line - 1], at.column)
        if hint := messages.hint(problem.code, **problem.facts):
            lines.append(f"    {hint}")
        if excess := count_excess(problem):
            is_whole_text = "_text_" in problem.code or "_content_" in problem.code
            excess_code = "text_over" if is_whole_text else "over_limit"
            lines.append(f"    {messages.translate(excess_code, number=excess)}")
        if similar := problem.facts.get("similar"):
            lines.append(
                f"    {messages.translate('similar_problems', number=similar)}"
            )
    return "\n".join(lines)


def count_excess(problem: Problem) -> int:
    """Return the number of characters above a text's limit.

    It is 0 for any other problem, and for a text that may go on elsewhere.
    """
    if (
        not problem.code.endswith(("_too_long", "_length"))
        or "_link" in problem.code
        or "more" in problem.facts
    ):
        return 0
    length = problem.facts.get("length", "")
    limit = problem.facts.get("limit") or problem.facts.get("longest", "")
    return (
        max(int(length) - int(limit), 0)
        if length.isdecimal() and limit.isdecimal()
        else 0
    )


UNQUOTED_CODES = frozenset(
    {
        "rendered_with_secret",
        "file_empty",
        "file_too_big",
        "large_removal_ahead",
        "settings_removal_ahead",
        "removal_ahead",
        "more_problems",
    }
)
"""Problems of the whole file, and of a secret. The secret is not shown."""
QUOTE_COLUMNS = 90
"""A longer source line is cut, so that the mark stays below its place."""
SCANNED_CHARACTERS = 1000
"""How far on either side of a place a secret is searched: a line may have megabytes."""


def quote_line(line: str, column: int) -> list[str]:
    """Return an indented source line and a mark below its column; full-width characters count two.

    A line with a possible secret is not shown.
    """
    parts = (
        line[: column - 1][-SCANNED_CHARACTERS:],
        line[column - 1 :][:SCANNED_CHARACTERS],
    )
    if redact_text("".join(parts)) != "".join(parts):
        return []
    before = escape_forbidden(parts[0][-QUOTE_COLUMNS:]).replace("\t", " ")
    after = escape_forbidden(parts[1][:QUOTE_COLUMNS]).replace("\t", " ")
    while text_width(before) > QUOTE_COLUMNS // 2:
        before = f"…{before[2:]}"
    return [
        f"    {shorten(before + after, QUOTE_COLUMNS)}",
        f"    {' ' * text_width(before)}^",
    ]


def sorted_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems: errors first, then by file, line, column and code.

    Problems without a location come first.
    """

    def sort_key(problem: Problem) -> tuple[bool, str, int, int, str]:
        at = problem.location
        place = (display_path(at.file), at.line, at.column) if at else ("", 0, 0)
        return (not problem.is_error, *place, problem.code)

    return sorted(problems, key=sort_key)


def problem_as_json(
    problem: Problem, messages: Messages, source: ScheduleSource | None = None
) -> dict[str, Any]:
    """Return a problem for --json; one of `source` also has the number and the id of its post."""
    at = problem.location
    named = (
        find_post(at.path, source.post_ids)
        if at and source is not None and at.file == source.file
        else None
    )
    return {
        "file": display_path(at.file) if at else None,
        "line": at.line if at else None,
        "column": at.column if at else None,
        "path": at.path if at else None,
        "severity": problem.severity.value,
        "code": problem.code,
        "message": messages.describe(problem),
        "hint": messages.hint(problem.code, **problem.facts),
        **({"post": named[0], "id": named[1]} if named else {}),
        **({"excess": excess} if (excess := count_excess(problem)) else {}),
        **(
            {"similar": int(problem.facts["similar"])}
            if "similar" in problem.facts
            else {}
        ),
    }
