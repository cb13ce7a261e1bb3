"""From trouble to words and an exit code: 1 something failed, 2 wrong usage, 3 refused for safety, 4 no such thing."""

import errno
from collections.abc import Iterable, Mapping

import click

from publisher.cli.shape import WordedUsageError, called
from publisher.cli.terminal import Terminal, echo, shown_path
from publisher.domain.errors import IllegalStepError, InputError, NoSuchError, PublisherError, RefusedError
from publisher.domain.problem import Place, Problem
from publisher.messages import Messages
from publisher.vault import SecretError

FAILED, WRONG_USAGE, REFUSED, NO_SUCH = 1, 2, 3, 4
JUST_FAILED = frozenset({"large_removal", "no_open_task", "not_held", "clock_apart"})
"""Refusals after which trying again may do: with another word from the user, or once the clock has been set."""


class FailedError(PublisherError):
    """A command cannot do what was asked, and says why in words."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


def explain(error: PublisherError | OSError, terminal: Terminal) -> int:
    """Put an error into words on standard error; give the exit code."""
    messages = terminal.messages
    match error:
        case InputError():
            echo(told(error.problems, messages), err=True)
            return FAILED
        case NoSuchError():
            _tell(terminal, f"no_such_{error.what}", name=error.name)
            return NO_SUCH
        case RefusedError():
            _tell(terminal, error.code, **_in_words(error.facts, messages))
            return FAILED if error.code in JUST_FAILED else REFUSED
        case FailedError() | SecretError():
            _tell(terminal, error.code, **error.facts)
        case IllegalStepError():
            _tell(terminal, "illegal_step")
        case OSError():
            _tell(terminal, "system_trouble", reason=_system_words(error, messages), file=error.filename or "")
        case _:
            _tell(terminal, "overtaken", error=type(error).__name__)
    return FAILED


def explain_usage(error: click.UsageError, terminal: Terminal) -> int:
    """Tell what was wrong with a command line, and where its help stands."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and error.ctx:
        echo(error.ctx.get_help(), err=True)
        return WRONG_USAGE
    if error.ctx is not None:
        echo(error.ctx.get_usage(), err=True)
    terminal.note("see_help", command=error.ctx.command_path if error.ctx else "publisher")
    terminal.note("usage_error", message=_usage_words(error, terminal.messages))
    return WRONG_USAGE


def _usage_words(error: click.UsageError, messages: Messages) -> str:
    match error:
        case WordedUsageError():
            return messages.say(error.code, **error.facts)
        case click.NoSuchOption():
            code = "unknown_option_close" if error.possibilities else "unknown_option"
            return messages.say(code, name=error.option_name, close=", ".join(error.possibilities or ()))
        case click.MissingParameter():
            return messages.say("missing_parameter", name=called(error.param))
        case click.BadParameter():
            return messages.say("bad_parameter", name=called(error.param), message=error.message)
        case click.BadOptionUsage():
            wants_value = "does not take" not in error.message
            code = "option_wants_value" if wants_value else "option_wants_no_value"
            return messages.say(code, name=error.option_name)
        case _:
            return error.format_message()


def _system_words(error: OSError, messages: Messages) -> str:
    """Put the errors that people meet into words; the rest in the system's own."""
    code = f"errno_{errno.errorcode.get(error.errno or 0, '')}"
    return messages.say(code) if code in messages.entries else error.strerror or type(error).__name__


def _in_words(facts: Mapping[str, str], messages: Messages) -> dict[str, str]:
    """Put a delivery's state into words."""
    return {name: messages.say(f"state_{fact}") if name == "state" else fact for name, fact in facts.items()}


def _tell(terminal: Terminal, code: str, /, **facts: object) -> None:
    terminal.note(code, **facts)
    if hint := terminal.messages.hint(code, **facts):
        echo(f"    {hint}", err=True)


def told(problems: Iterable[Problem], messages: Messages) -> str:
    """Write problems one a line, sorted by place, each with its hint on a line of its own."""
    lines = []
    for problem in in_order(problems):
        mark = "" if problem.is_error else messages.say("warning_mark")
        lines.append(f"{_spot(problem.place)}{mark}{messages.say(problem.code, **problem.facts)}")
        if hint := messages.hint(problem.code, **problem.facts):
            lines.append(f"    {hint}")
    return "\n".join(lines)


def _spot(place: Place | None) -> str:
    if place is None:
        return ""
    path = f"{place.path}: " if place.path else ""
    return f"{shown_path(place.file)}:{place.line}:{place.column}: {path}"


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems as they stand in the files."""
    return sorted(problems, key=lambda problem: (_position(problem.place), problem.code))


def _position(place: Place | None) -> tuple[str, int, int]:
    return (shown_path(place.file), place.line, place.column) if place else ("", 0, 0)
