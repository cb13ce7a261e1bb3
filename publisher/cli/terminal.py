"""Output to the terminal, and the workspace of a command."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from publisher.domain.characters import escape_forbidden
from publisher.i18n import Messages


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text with control and invisible characters escaped, so that a terminal obeys nothing in it."""
    click.echo(escape_forbidden(text), err=err, nl=nl)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """Results go to standard output; notes and progress to standard error."""

    messages: Messages
    workspace: Path

    def translate(self, code: str, /, **facts: object) -> str:
        return self.messages.translate(code, **facts)

    def print_message(self, code: str, /, **facts: object) -> None:
        echo(self.translate(code, **facts))

    def print_note(self, code: str, /, **facts: object) -> None:
        echo(self.translate(code, **facts), err=True)

    def print_json(self, value: Any) -> None:  # noqa: ANN401 # any JSON value
        echo(json.dumps(value, ensure_ascii=False, indent=2))


@contextmanager
def hidden_input() -> Iterator[None]:
    """Turn off the terminal's echo, as for a password; do nothing on a pipe or on Windows."""
    if not sys.stdin.isatty() or sys.platform == "win32":
        yield
        return
    import termios  # noqa: PLC0415 # there is none on Windows

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    hidden = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(number, termios.TCSAFLUSH, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSAFLUSH, before)
        click.echo(err=True)


def display_path(path: str | Path) -> str:
    """Return a path relative to the current folder where it lies below that, else as it is."""
    full, current = Path(path), Path.cwd()
    return str(full.relative_to(current)) if full.is_relative_to(current) else str(full)
