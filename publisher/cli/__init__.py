"""The command line. It calls the engine and reads the store; nothing is decided here."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from publisher.cli.errors import report_error, report_usage_error
from publisher.cli.process import harden_process
from publisher.cli.program import build_program
from publisher.cli.terminal import Terminal
from publisher.domain.errors import PublisherError
from publisher.i18n import LANGUAGES, Lang, Messages

EXIT_INTERRUPTED = 130
"""The exit code after ^C, by the convention of shells."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    harden_process()
    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Expected errors become messages, never a traceback."""
    terminal = Terminal(messages=Messages(detect_language(arguments)), workspace=Path())
    try:
        done = build_program().main(list(arguments), prog_name="publisher", standalone_mode=False, obj=terminal)
    except click.UsageError as error:
        return report_usage_error(error, terminal)
    except click.Abort:
        terminal.print_note("interrupted")
        return EXIT_INTERRUPTED
    except (PublisherError, OSError) as error:
        return report_error(error, terminal)
    return done if isinstance(done, int) else 0


def detect_language(arguments: Sequence[str]) -> Lang:
    """Return the language; it is read before parsing, as help and usage errors need it."""
    wanted = os.environ.get("PUBLISHER_LANG", "")
    for position, argument in enumerate(arguments):
        if argument == "--":
            break
        name, separator, value = argument.partition("=")
        if name == "--lang":
            wanted = value if separator else "".join(arguments[position + 1 : position + 2])
    return next((lang for lang in LANGUAGES if lang == wanted), LANGUAGES[0])
